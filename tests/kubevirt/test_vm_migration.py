"""A VM's migration planned, reserved and carried through by the real operator, on the real API server and scheduler.

Played are KubeVirt (tests/kubevirt) and the node agents with their kubelets. No Plugin is there that has virt-handler
call the agents, so what is planned is uniform pre-configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdev_api.kube.client import Client
from mdev_api.kube.requests import create, delete, get, list_page, merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS, NODE_DEVICES, NODE_RESERVATIONS, NODES
from mdev_operator.kubevirt.objects import KUBEVIRTS
from tests.controlplane.control_plane import ControlPlane
from tests.kubevirt.cluster import RESOURCE, VirtualCluster, abolish, administrator, establish, playing, virtual_cluster
from tests.kubevirt.played_agent import MODEL, PlayedAgent, gfx
from tests.kubevirt.virt_controller import VMIMS
from tests.waiting import eventually

Object = dict[str, Any]


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane of the session, with KubeVirt's kinds for this module."""
    establish(control_plane)
    yield control_plane
    abolish(control_plane)


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[Client]:
    async with administrator(plane) as client:
        yield client


@contextlib.asynccontextmanager
async def operator(plane: ControlPlane, cluster: VirtualCluster, log: Path, **options: str) -> AsyncIterator[None]:
    """The real operator as its own process; its Lease and those of the agents are in the test's namespace."""
    command = [
        *(sys.executable, "-m", "mdev_operator", "run", f"--kubeconfig={plane.kubeconfig}"),
        *(f"--namespace={cluster.namespace}", f"--agent-namespace={cluster.namespace}"),
        *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()),
    ]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), timeout=20)
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def agents(cluster: VirtualCluster, **memory: int) -> AsyncIterator[dict[str, PlayedAgent]]:
    """A node and its agent for each name, with two free devices of that much memory; by name.

    Their objects go with them, so that no later test finds devices that nobody publishes any more.
    """
    made = {}
    for name, size in memory.items():
        node = await cluster.add_node(name)
        profile = gfx(size, cluster.namespace)
        made[name] = PlayedAgent(
            client=cluster.client, namespace=cluster.namespace, node=node, resource=RESOURCE, profile=profile
        )
    async with playing(*(agent.run for agent in made.values())):
        try:
            yield made
        finally:
            listed = (await cluster.client.send(list_page(NODE_RESERVATIONS)))["items"]
            reserved = {r["metadata"]["name"] for r in listed}
            for node in (agent.node for agent in made.values()):
                await cluster.client.send(delete(NODE_DEVICES, node))
                if node in reserved:
                    await cluster.client.send(delete(NODE_RESERVATIONS, node))


async def taint(cluster: VirtualCluster, node: str) -> None:
    taints = [{"key": "gpu", "value": "reserved", "effect": "NoSchedule"}]
    await cluster.client.send(merge_patch(NODES, node, {"spec": {"taints": taints}}))


async def nothing_reserved(cluster: VirtualCluster, *nodes: str) -> None:
    async def look() -> bool:
        found = [await cluster.client.send(get(NODE_RESERVATIONS, node)) for node in nodes]
        return not any(r["spec"].get("reservations") for r in found)

    await eventually(look, timeout=20, what=f"no reservation to be left on {', '.join(nodes)}")


def rejected(migration: Object) -> dict[str, str]:
    return {r["code"]: r["examples"][0]["node"] for r in migration["status"]["rejected"]}


async def test_a_vm_moves_to_the_node_whose_free_devices_are_right_and_that_its_pod_may_go_to(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    async with (
        virtual_cluster(admin) as cluster,
        agents(cluster, a=8192, b=4096, c=8192, d=8192) as nodes,
        operator(plane, cluster, tmp_path / "operator.log"),
    ):
        await taint(cluster, nodes["c"].node)
        await cluster.player.start_vm("vm", nodes["a"].node, RESOURCE)
        vmim = await cluster.player.submit("move", "vm")
        await cluster.phase("move", "Succeeded")
        done = await cluster.finished(vmim, "Succeeded")

        assert await cluster.where("vm") == nodes["d"].node
        (device,) = done["status"]["devices"]
        assert device["source"] in nodes["a"].ids() and device["instance"] in nodes["d"].ids()
        assert (done["status"]["node"], device["type"]) == (nodes["d"].node, "gfx-8192")
        assert rejected(done) == {
            "SourceNode": nodes["a"].node,
            "ValueNotAllowed": nodes["b"].node,
            "Taint": nodes["c"].node,
        }
        planned = next(c for c in done["status"]["conditions"] if c["type"] == "Planned")
        assert "uniform pre-configuration" in planned["message"]
        await nothing_reserved(cluster, nodes["a"].node, nodes["d"].node)


async def test_a_vm_that_no_node_can_take_stays_and_people_read_why(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    async with (
        virtual_cluster(admin) as cluster,
        agents(cluster, a=8192, b=4096) as nodes,
        operator(plane, cluster, tmp_path / "operator.log", gate_deadline="4"),
    ):
        await cluster.player.start_vm("vm", nodes["a"].node, RESOURCE)
        vmim = await cluster.player.submit("move", "vm")
        await cluster.phase("move", "Failed")
        done = await cluster.find(DEVICE_MIGRATIONS, f"vmim-{vmim['metadata']['uid']}")

        assert await cluster.where("vm") == nodes["a"].node
        assert done is not None and set(rejected(done)) == {"SourceNode", "ValueNotAllowed"}
        for kind in ("VirtualMachineInstance", "VirtualMachineInstanceMigration"):
            notes = "\n".join(await cluster.notes(kind))
            assert "parameter memory" in notes and nodes["b"].node in notes


async def test_two_vms_that_race_for_the_last_free_device_do_not_both_get_it(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    async with (
        virtual_cluster(admin) as cluster,
        agents(cluster, a=8192, b=8192) as nodes,
        operator(plane, cluster, tmp_path / "operator.log", gate_deadline="10"),
    ):
        nodes["b"].devices = 1
        for vm in ("vm1", "vm2"):
            await cluster.player.start_vm(vm, nodes["a"].node, RESOURCE)
        vmims = [await cluster.player.submit(f"move-{vm}", vm) for vm in ("vm1", "vm2")]
        ends = [await cluster.phase(m["metadata"]["name"], "Succeeded", "Failed") for m in vmims]
        assert sorted(m["status"]["phase"] for m in ends) == ["Failed", "Succeeded"]
        (lost,) = [m for m in ends if m["status"]["phase"] == "Failed"]
        done = await cluster.find(DEVICE_MIGRATIONS, f"vmim-{lost['metadata']['uid']}")
        assert done is not None and rejected(done)["NoSlot"] == nodes["b"].node
        notes = "\n".join(await cluster.notes("VirtualMachineInstance"))
        assert f"free devices of {RESOURCE}" in notes
        assert (await cluster.find(VMIMS, lost["metadata"]["name"])) is not None


async def test_what_virt_handler_would_delete_is_not_made_until_the_line_that_was_told_is_added(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    async with (
        virtual_cluster(admin) as cluster,
        agents(cluster, b=8192) as nodes,
        operator(plane, cluster, tmp_path / "operator.log"),
    ):
        nodes["b"].available, nodes["b"].devices = 2, 0
        await admin.send(create(KUBEVIRTS, {"metadata": {"name": "kubevirt"}, "spec": {}}, cluster.namespace))
        values = [{"name": "memory", "type": "int", "value": "8192"}]
        source = {"explicit": [{"name": "gpu", "model": MODEL, "values": values}]}
        move = {"metadata": {"name": "move"}, "spec": {"mode": "Prepare", "source": source}}

        def conditions(obj: Object | None) -> dict[str, Object]:
            return {c["type"]: c for c in ((obj or {}).get("status") or {}).get("conditions", ())}

        def conflicts(obj: Object | None) -> bool:
            return conditions(obj).get("ConflictingManager", {}).get("status") == "True"

        try:
            await admin.send(create(DEVICE_MIGRATIONS, move, cluster.namespace))
            told = await cluster.until(DEVICE_MIGRATIONS, "move", "told of the conflict", conflicts)
            assert rejected(told) == {"ConflictingManager": nodes["b"].node}
            message = conditions(told)["ConflictingManager"]["message"]
            permitted = {"mediatedDevices": yaml.safe_load(message.partition("mediatedDevices: ")[2])}
            spec = {"spec": {"configuration": {"permittedHostDevices": permitted}}}
            await admin.send(merge_patch(KUBEVIRTS, "kubevirt", spec, cluster.namespace))
            ready = await cluster.until(
                DEVICE_MIGRATIONS,
                "move",
                "Ready",
                lambda obj: conditions(obj).get("Ready", {}).get("status") == "True",
            )
            assert ready["status"]["node"] == nodes["b"].node and not conflicts(ready)
        finally:
            await admin.send(delete(KUBEVIRTS, "kubevirt", cluster.namespace))
