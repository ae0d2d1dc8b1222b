"""KubeVirt's migrations on a real API server and scheduler; KubeVirt is played, and planning is a double."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kube.client import Client
from mdev_api.kube.requests import delete, merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS, PODS
from mdev_operator.kubevirt.decide import Patience
from mdev_operator.kubevirt.manager import Declared, KubeVirtConfig
from tests.conftest import establish_crds
from tests.controlplane.control_plane import ControlPlane
from tests.kubevirt.adapter_run import Death, Planner, adapter
from tests.kubevirt.cluster import RESOURCE, VirtualCluster, abolish, administrator, establish, playing, virtual_cluster
from tests.kubevirt.virt_controller import VMIMS
from tests.waiting import eventually

Object = dict[str, Any]

USUAL = Patience(deadline=30.0, keep=600.0)
HASTY = Patience(deadline=3.0, keep=600.0)
REJECTED = [
    {"code": "NoCapacity", "nodes": 1, "examples": [{"node": "node-b", "message": "gfx-8GB on gfx0 is full"}]},
    {
        "code": "ValueNotAllowed",
        "nodes": 1,
        "examples": [{"node": "node-c", "parameter": "memory", "message": "needs 8192, takes 4096"}],
    },
]


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """The control plane of the session, with KubeVirt's kinds from now on."""
    establish(control_plane)
    return control_plane


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[Client]:
    async with administrator(plane) as client:
        yield client


def planner(cluster: VirtualCluster, destination: str | None = None, **options: Any) -> Planner:
    return Planner(
        client=cluster.client, namespace=cluster.namespace, destination=destination, rejected=REJECTED, **options
    )


async def two_nodes(cluster: VirtualCluster, **vm: Any) -> tuple[str, str]:
    """A node with the VM ``vm`` on it, and another."""
    a, b = await cluster.add_node("a"), await cluster.add_node("b")
    await cluster.player.start_vm("vm", a, RESOURCE, **vm)
    return a, b


async def nothing_waits(cluster: VirtualCluster) -> None:
    async def look() -> bool:
        return not await cluster.gated()

    await eventually(look, timeout=20, what="no pod to wait for its gate")


async def test_an_ordinary_migration_lands_on_the_prepared_node_and_nowhere_else(admin: Client) -> None:
    async with virtual_cluster(admin) as cluster, adapter(admin, USUAL):
        await two_nodes(cluster)
        c = await cluster.add_node("c")
        async with playing(planner(cluster, c).run):
            vmim = await cluster.player.submit("move", "vm", addedNodeSelector={"kubernetes.io/hostname": c})
            await cluster.phase("move", "Succeeded")
            done = await cluster.finished(vmim, "Succeeded")

        assert await cluster.where("vm") == c
        assert done["spec"]["started"] and done["spec"]["outcome"] == "Succeeded"
        assert done["spec"]["nodeSelector"] == {"kubernetes.io/hostname": c}
        assert done["metadata"]["labels"]["mdev-operator.io/vmim"] == "move"
        (pod,) = await cluster.target_pods()
        (term,) = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": [c]}]
        assert [e["key"] for e in term["matchExpressions"]] == ["node-labeller.kubevirt.io/obsolete-host-model"]


async def test_a_vm_that_moved_once_moves_again_although_its_pod_names_the_first_migration(admin: Client) -> None:
    async with virtual_cluster(admin) as cluster, adapter(admin, USUAL):
        a, b = await two_nodes(cluster)
        doing = planner(cluster, b)
        async with playing(doing.run):
            first = await cluster.player.submit("first", "vm")
            await cluster.finished(first, "Succeeded")
            doing.destination = a
            second = await cluster.player.submit("second", "vm")
            await cluster.finished(second, "Succeeded")
        assert await cluster.where("vm") == a
        assert len(await cluster.all(DEVICE_MIGRATIONS)) == 2


async def test_when_no_node_can_take_it_people_read_why_and_the_vm_stays(admin: Client) -> None:
    async with virtual_cluster(admin) as cluster, adapter(admin, HASTY), playing(planner(cluster).run):
        a, _ = await two_nodes(cluster)
        vmim = await cluster.player.submit("move", "vm")
        await cluster.phase("move", "Scheduling")
        assert await cluster.gated()

        await cluster.phase("move", "Failed", timeout=10)

        for kind in ("VirtualMachineInstanceMigration", "VirtualMachineInstance"):
            first, *others = sorted(await cluster.notes(kind), key=lambda n: not n.startswith("the VM cannot move"))
            assert "no node takes it" in first
            assert sorted(others) == [
                "NoCapacity on 1 node: node node-b: gfx-8GB on gfx0 is full",
                "ValueNotAllowed on 1 node: node node-c, parameter memory: needs 8192, takes 4096",
            ]
        done = await cluster.finished(vmim, "Deadline")
        assert not done["spec"].get("started")
        assert await cluster.where("vm") == a and await cluster.target_pods() == []


async def test_a_vm_with_an_empty_affinity_term_is_refused_at_once_with_that_reason(admin: Client) -> None:
    empty: Object = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}}
    async with virtual_cluster(admin) as cluster, adapter(admin, USUAL):
        _, b = await two_nodes(cluster, affinity=empty)
        async with playing(planner(cluster, b).run):
            vmim = await cluster.player.submit("move", "vm")
            await cluster.phase("move", "Failed", timeout=10)
        (note,) = await cluster.notes("VirtualMachineInstance")
        assert "nodeSelectorTerms[0]" in note and "is empty" in note
        assert await cluster.target_pods() == [] and await cluster.reservation(vmim) is None


async def test_the_operator_was_away_when_the_pod_came(admin: Client) -> None:
    async with virtual_cluster(admin) as cluster:
        _, b = await two_nodes(cluster)
        vmim = await cluster.player.submit("move", "vm")
        await cluster.phase("move", "Scheduling")
        async with adapter(admin, USUAL), playing(planner(cluster, b).run):
            await cluster.finished(vmim, "Succeeded")
        assert await cluster.where("vm") == b


@pytest.mark.parametrize("ending", ["Succeeded", "Failed"])
async def test_the_operator_was_away_until_all_was_over(admin: Client, ending: str) -> None:
    async with virtual_cluster(admin, stays_in="Scheduling", guest_fails=ending == "Failed") as cluster:
        a, b = await two_nodes(cluster)
        async with playing(planner(cluster, b).run):
            async with adapter(admin, USUAL):
                vmim = await cluster.player.submit("move", "vm")
                await cluster.phase("move", "Scheduling")
                await _started(cluster, vmim)
                await nothing_waits(cluster)
            cluster.player.stays_in = None
            await cluster.phase("move", ending)
            await admin.send(delete(VMIMS, "move", cluster.namespace))
            await cluster.until(VMIMS, "move", "gone", lambda obj: obj is None)
            async with adapter(admin, USUAL):
                await cluster.finished(vmim, ending)
        assert await cluster.where("vm") == (b if ending == "Succeeded" else a)


async def _started(cluster: VirtualCluster, vmim: Object) -> None:
    name = f"vmim-{vmim['metadata']['uid']}"
    await cluster.until(DEVICE_MIGRATIONS, name, "started", lambda o: bool(o and o["spec"].get("started")))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(4), ids=["create", "start", "ungate", "outcome"])
async def test_an_operator_killed_at_any_write_is_no_reason_not_to_arrive(
    admin: Client, number: int, after: bool
) -> None:
    async with virtual_cluster(admin) as cluster:
        _, b = await two_nodes(cluster)
        async with playing(planner(cluster, b).run):
            async with adapter(admin, USUAL, death=Death(number=number, after=after)) as process:
                vmim = await cluster.player.submit("move", "vm")
                await asyncio.wait([process], timeout=20)
                assert process.done(), await cluster.everything()
            async with adapter(admin, USUAL):
                await cluster.finished(vmim, "Succeeded")
        assert await cluster.where("vm") == b and await cluster.gated() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [0, 3, 7], ids=["create", "event", "delete"])
async def test_an_operator_killed_while_it_refuses_still_tells_each_reason_once(
    admin: Client, number: int, after: bool
) -> None:
    async with virtual_cluster(admin) as cluster, playing(planner(cluster).run):
        a, _ = await two_nodes(cluster)
        async with adapter(admin, HASTY, death=Death(number=number, after=after)) as process:
            vmim = await cluster.player.submit("move", "vm")
            await asyncio.wait([process], timeout=20)
            assert process.done(), await cluster.everything()
        async with adapter(admin, HASTY):
            await cluster.phase("move", "Failed")
            await cluster.finished(vmim, "Deadline")
        assert await cluster.where("vm") == a and await cluster.target_pods() == []
        assert len(await cluster.notes("VirtualMachineInstance")) == 3


async def test_a_migration_deleted_while_gated_leaves_nothing_behind(admin: Client) -> None:
    async with virtual_cluster(admin) as cluster, adapter(admin, USUAL), playing(planner(cluster).run):
        a, _ = await two_nodes(cluster)
        vmim = await cluster.player.submit("move", "vm")
        await cluster.phase("move", "Scheduling")
        await admin.send(delete(VMIMS, "move", cluster.namespace))
        await cluster.finished(vmim, "Failed")
        await cluster.until(VMIMS, "move", "gone", lambda obj: obj is None)
        assert await cluster.where("vm") == a and await cluster.target_pods() == []


async def test_a_migration_deleted_while_virt_controller_is_down_ends_all_the_same(admin: Client) -> None:
    async with virtual_cluster(admin) as cluster, adapter(admin, USUAL), playing(planner(cluster).run):
        await two_nodes(cluster)
        vmim = await cluster.player.submit("move", "vm")
        await cluster.phase("move", "Scheduling")
        async with cluster.player.working:
            await admin.send(delete(VMIMS, "move", cluster.namespace))
            await cluster.finished(vmim, "Failed")
            left = await cluster.find(VMIMS, "move")
            assert left is not None and left["status"]["phase"] == "Scheduling" and await cluster.target_pods() == []


async def test_a_pod_that_vanishes_while_gated_ends_the_migration(admin: Client) -> None:
    async with virtual_cluster(admin) as cluster, adapter(admin, USUAL), playing(planner(cluster).run):
        await two_nodes(cluster)
        vmim = await cluster.player.submit("move", "vm")
        await cluster.phase("move", "Scheduling")
        await _reserved(cluster, vmim)
        (pod,) = await cluster.target_pods()
        await admin.send(delete(PODS, pod["metadata"]["name"], cluster.namespace))
        await cluster.finished(vmim, "Failed")
        await cluster.phase("move", "Failed")


async def _reserved(cluster: VirtualCluster, vmim: Object) -> None:
    name = f"vmim-{vmim['metadata']['uid']}"
    await cluster.until(DEVICE_MIGRATIONS, name, "there", lambda obj: obj is not None)


async def test_a_migration_that_was_superseded_while_the_operator_was_away(admin: Client) -> None:
    async with virtual_cluster(admin) as cluster:
        _, b = await two_nodes(cluster)
        doing = planner(cluster)
        async with playing(doing.run):
            async with adapter(admin, USUAL):
                old = await cluster.player.submit("old", "vm")
                await cluster.phase("old", "Scheduling")
                await _reserved(cluster, old)
            # The object goes without virt-controller: the finalizer is taken off by hand, the gated pod stays.
            await admin.send(delete(VMIMS, "old", cluster.namespace))
            await admin.send(merge_patch(VMIMS, "old", {"metadata": {"finalizers": None}}, cluster.namespace))
            new = await cluster.player.submit("new", "vm")
            await cluster.phase("new", "Scheduling")
            doing.destination = b
            async with adapter(admin, USUAL):
                done = await cluster.finished(old, "Superseded")
                await cluster.finished(new, "Succeeded")
        assert done["metadata"]["annotations"]["mdev-operator.io/superseded-by"] == "new"
        assert await cluster.where("vm") == b and await cluster.gated() == []


async def test_an_evacuation_tries_again_until_a_node_can_take_it(admin: Client) -> None:
    async with virtual_cluster(admin, backoff=0.2) as cluster, adapter(admin, HASTY):
        a, b = await two_nodes(cluster)
        doing = planner(cluster)
        async with playing(doing.run):
            first = await cluster.player.evacuate("vm", a)
            await cluster.finished(first, "Deadline")
            doing.destination = b
            await cluster.phase("kubevirt-evacuation-vm-1", "Succeeded")
        assert await cluster.where("vm") == b


async def test_a_pod_that_the_kubelet_refuses_ends_the_migration_and_the_vm_stays(admin: Client) -> None:
    async with virtual_cluster(admin) as cluster, adapter(admin, USUAL):
        a, b = await two_nodes(cluster)
        cluster.player.kubelet_refuses.add(b)
        async with playing(planner(cluster, b).run):
            vmim = await cluster.player.submit("move", "vm")
            await cluster.finished(vmim, "Failed")
        assert await cluster.where("vm") == a


async def test_a_target_whose_device_is_refused_is_deleted_instead_of_waiting_for_ever(admin: Client) -> None:
    async with virtual_cluster(admin, stays_in="PreparingTarget") as cluster, adapter(admin, USUAL):
        a, b = await two_nodes(cluster)
        doing = planner(cluster, b)
        async with playing(doing.run):
            vmim = await cluster.player.submit("move", "vm")
            await cluster.phase("move", "PreparingTarget")
            doing.lost = True
            await cluster.phase("move", "Failed")
            await cluster.finished(vmim, "Failed")
        assert await cluster.where("vm") == a
        assert any("it was 4096 and not 8192" in note for note in await cluster.notes("VirtualMachineInstance"))


async def test_what_is_finished_is_forgotten_after_a_while(admin: Client) -> None:
    patience = Patience(deadline=30.0, keep=1.0)
    async with virtual_cluster(admin) as cluster, adapter(admin, patience):
        _, b = await two_nodes(cluster)
        async with playing(planner(cluster, b).run):
            vmim = await cluster.player.submit("move", "vm")
            await cluster.phase("move", "Succeeded")
            name = f"vmim-{vmim['metadata']['uid']}"
            await cluster.until(DEVICE_MIGRATIONS, name, "gone", lambda obj: obj is None)
        assert await cluster.where("vm") == b


async def test_of_two_pods_bound_early_to_one_node_the_second_waits_for_the_first(admin: Client) -> None:
    slot = {"resource": RESOURCE, "free": 2, "types": ["gfx-8GB"]}
    served = NodeDevices.model_validate({"metadata": {"name": "x"}, "status": {"slots": [slot]}})
    declared = Declared(selector="gfx-8GB", resource=RESOURCE, external=True)
    kubevirt = KubeVirtConfig(name="kubevirt/kubevirt", declared=(declared,))
    async with virtual_cluster(admin) as cluster, adapter(admin, USUAL, devices=[served], kubevirt=kubevirt):
        a, b = await two_nodes(cluster)
        await cluster.player.start_vm("other", a, RESOURCE)
        cluster.player.kubelet_holds.add(b)
        async with playing(planner(cluster, b).run):
            vmims = [await cluster.player.submit(f"move-{vm}", vm) for vm in ("vm", "other")]
            first = await _one_is_bound(cluster)
            # Long enough for the second to have looked several times.
            with pytest.raises(TimeoutError):
                await eventually(lambda: _all_bound(cluster), timeout=2, what="both")
            assert {m["spec"]["binding"] for m in await cluster.all(DEVICE_MIGRATIONS)} == {"Early"}
            cluster.player.kubelet_holds.clear()
            for vmim in vmims:
                await cluster.finished(vmim, "Succeeded")
        assert first and await cluster.where("vm") == await cluster.where("other") == b


async def _all_bound(cluster: VirtualCluster) -> bool:
    return not await cluster.gated()


async def _one_is_bound(cluster: VirtualCluster) -> Object:
    async def look() -> Object | None:
        return next((p for p in await cluster.target_pods() if p["spec"].get("nodeName")), None)

    return await eventually(look, timeout=20, what="one of the pods to be bound")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without KubeVirt."""
    with ControlPlane.start(tmp_path_factory.mktemp("bare"), controllers=False, scheduler=False) as plane:
        establish_crds(plane)
        yield plane


async def test_without_kubevirt_the_adapter_is_off_and_says_so_once(bare: ControlPlane) -> None:
    with capture_logs() as logs:
        async with administrator(bare) as client, adapter(client, USUAL) as process:
            await _said(logs, "KubeVirt: it is not installed, so nothing of it is followed")
            # Several looks later.
            await asyncio.wait([process], timeout=2)
            assert not process.done()
            assert len([e for e in logs if e["log_level"] != "debug"]) == 1, logs
            await asyncio.to_thread(establish, bare)
            await _said(logs, "KubeVirt: following its migrations")
            await asyncio.to_thread(abolish, bare)
            await eventually(lambda: _count(logs, 2), timeout=30, what="the adapter to be off again")


async def _said(logs: list[Any], words: str) -> None:
    async def look() -> bool:
        return any(entry["event"] == words for entry in logs)

    await eventually(look, timeout=20, what=words)


async def _count(logs: list[Any], times: int) -> bool:
    return len([entry for entry in logs if entry["event"].startswith("KubeVirt: it is not installed")]) == times
