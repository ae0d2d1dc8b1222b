"""The whole agent beside a kubelet and virt-handler: real gRPC on unix sockets, and a real API server."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_node_agent.kubelet import hook
from mdev_node_agent.seeing.in_use import InUse, Source, Use
from tests.agent.node import Node, ensure_namespace
from tests.agent.reservations import entry, value
from tests.controlplane.control_plane import ControlPlane
from tests.kubelet.fake import FakeKubelet
from tests.kubelet.virt_handler import call_hook, vmi
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

GPU = "vendor.com/gpu"
MIGRATION = "7d6e0c3a"
POD = "virt-launcher-vm-target"
UNKNOWN = Use(state=InUse.UNKNOWN, source=Source.NONE)
VMI = vmi("vm", resource=GPU, migration=MIGRATION, pod=POD)


@dataclass(kw_only=True)
class Place:
    """A node with its kubelet, and the hook's socket."""

    node: Node
    kubelet: FakeKubelet
    hook: Path

    def gpu(self, *, type_id: str = "gfx-varGB") -> str:
        """A device that somebody else has made; returns its UUID."""
        device = str(uuid.uuid4())
        self.node.kernel.write(f"class/mdev_bus/gfx0/mdev_supported_types/{type_id}/create", device)
        return device

    def group(self, device: str) -> str:
        """The number of its IOMMU group."""
        with self.node.kernel.open(f"bus/mdev/devices/{device}") as directory:
            return directory.link("iommu_group")

    def memory(self, device: str) -> str:
        """What the device has now."""
        return self.node.kernel.read(f"bus/mdev/devices/{device}/migration/memory")

    async def shown(self, what: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the status of NodeDevices is as wanted."""

        async def look() -> dict[str, Any] | None:
            status = await self.node.status()
            return status if wanted(status) else None

        return await eventually(look, timeout=15, what=what)

    async def free(self, *devices: str) -> None:
        """Wait until these are the free devices of the resource."""
        expected = [{"resource": GPU, "free": len(devices)} | ({"instances": sorted(devices)} if devices else {})]
        await self.shown(f"free slots {devices}", lambda status: status.get("slots") == expected)

    async def slot(self, entry_id: str = "move-1", *, memory: str = "4096", migration: str = MIGRATION) -> None:
        """Reserve a slot for the migration."""
        profile = await self.node.profile("gfx0", "gfx-varGB")
        device = {"slot": {"resource": GPU}, "profile": profile}
        content = entry(entry_id, boot_id=self.node.kernel.boot_id(), device=device, values=[value("memory", memory)])
        owner = {
            "kind": "DeviceMigration",
            "namespace": "default",
            "name": f"vmim-{migration}",
            "uid": f"u-{migration}",
        }
        await self.node.reserve({**content, "group": f"g-{entry_id}", "owner": owner})


@pytest_asyncio.fixture
async def place(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Place]:
    short = Path(tempfile.mkdtemp(prefix="kl"))
    async with Client(load(control_plane.kubeconfig)) as client:
        await ensure_namespace(client)
        kubelet = FakeKubelet(short / "kubelet")
        hook_socket = short / "kubevirt" / "hook.sock"
        node = Node(
            name=f"node-{uuid.uuid4().hex[:8]}",
            kernel=MemoryKernel(drivers=[Gfx()]),
            client=client,
            kubeconfig=control_plane.kubeconfig,
            state_dir=tmp_path / "state",
            kubelet_dir=kubelet.directory,
            hook_socket=hook_socket,
        )
        with kubelet.running():
            yield Place(node=node, kubelet=kubelet, hook=hook_socket)
    shutil.rmtree(short)


async def test_a_nodes_free_devices_and_those_of_pods_are_published(place: Place) -> None:
    one, two = place.gpu(), place.gpu()
    place.kubelet.offer(GPU, one, two)
    place.kubelet.give("default", "launcher", GPU, one)
    async with place.node.agent():
        await place.free(two)
        status = await place.node.status()
        assert status["serving"] == [
            {"instance": one, "resource": GPU, "podNamespace": "default", "podName": "launcher"}
        ]


async def test_devices_that_kubevirt_calls_by_their_iommu_group_are_known(place: Place) -> None:
    one, two = place.gpu(), place.gpu()
    groups = {device: place.group(device) for device in (one, two)}
    place.kubelet.offer(GPU, *groups.values())
    place.kubelet.give("default", "launcher", GPU, groups[two])
    async with place.node.agent():
        await place.free(one)
        assert (await place.node.status())["serving"][0]["instance"] == two


async def test_what_the_kubelet_gives_away_shows_within_seconds_and_without_any_event(place: Place) -> None:
    one = place.gpu()
    place.kubelet.offer(GPU, one)
    async with place.node.agent():
        await place.free(one)
        place.kubelet.give("default", "launcher", GPU, one)
        await place.free()
        assert (await place.node.status())["serving"][0]["podName"] == "launcher"


async def test_pod_resources_say_whether_a_device_is_in_use(place: Place) -> None:
    one, two, three = place.gpu(), place.gpu(), place.gpu()
    place.kubelet.offer(GPU, one, two)
    place.kubelet.give("default", "launcher", GPU, one)
    place.node.kernel.look = lambda instances: {i.id: UNKNOWN for i in instances}  # type: ignore[method-assign]
    async with place.node.agent():
        await place.free(two)
        shown = await place.node.instances()
        said = {device: (shown[device]["inUse"], shown[device]["inUseSource"]) for device in (one, two, three)}
        assert said == {one: ("Yes", "PodResources"), two: ("No", "PodResources"), three: ("Unknown", "None")}


async def test_a_kubelet_that_is_not_there_is_told_and_holds_nothing_up(place: Place) -> None:
    place.kubelet.stop()
    async with place.node.agent():

        def unhealthy(status: dict[str, Any]) -> bool:
            return any("the kubelet does not answer" in c.get("message", "") for c in status.get("conditions", ()))

        await place.shown("a silent kubelet told", unhealthy)
        await place.slot()
        await place.node.answered("move-1", "Pending")
        one = place.gpu()
        place.kubelet.start()
        place.kubelet.offer(GPU, one)
        await place.node.answered("move-1", "Prepared")


async def test_a_kubelet_that_restarts_takes_nothing_from_its_pods(place: Place) -> None:
    one, two = place.gpu(), place.gpu()
    place.kubelet.offer(GPU, one, two)
    place.kubelet.give("default", "launcher", GPU, one)
    async with place.node.agent(rescan_seconds=0.2):
        await place.free(two)
        place.kubelet.stop()
        third = place.gpu()
        await place.shown("a look since", lambda s: third in {i["id"] for i in s["instances"]})
        assert (await place.node.status())["serving"][0]["instance"] == one
        place.kubelet.start()
        place.kubelet.offer(GPU, one, two, third)
        await place.free(two, third)


async def test_a_kubelet_that_hangs_does_not_hold_up_a_preparation(place: Place) -> None:
    place.kubelet.hangs = True
    async with place.node.agent():
        profile = await place.node.profile("gfx0", "gfx-varGB")
        create = {"create": {"parent": "gfx0", "type": "gfx-varGB", "profile": profile}}
        await place.node.reserve(entry("new-1", boot_id=place.node.kernel.boot_id(), device=create))
        await place.node.answered("new-1", "Prepared", timeout=6)


async def test_the_hook_binds_a_slot_to_what_the_kubelet_has_picked_and_writes_it(place: Place) -> None:
    one, two = place.gpu(), place.gpu()
    place.kubelet.offer(GPU, one, two)
    async with place.node.agent():
        await place.slot()
        promised = await place.node.answered("move-1", "Prepared", "Failed")
        assert promised == {"id": "move-1", "state": "Prepared"}
        assert place.memory(one) == place.memory(two) == "1024"
        place.kubelet.give("default", POD, GPU, two)

        assert await call_hook(place.hook, VMI) is None

        assert (place.memory(one), place.memory(two)) == ("1024", "4096")
        answer = await bound(place, "move-1")
        assert answer["state"] == "Prepared" and answer["instance"] == two
        assert answer["writes"] == [
            {"name": "memory", "type": "int", "attribute": "migration/memory", "from": "1024", "to": "4096"}
        ]
        assert answer["values"] == [{"name": "memory", "type": "int", "value": "4096"}]


async def test_calls_of_the_hook_that_come_again_write_nothing_again(place: Place) -> None:
    one = place.gpu()
    place.kubelet.offer(GPU, one)
    async with place.node.agent():
        await place.slot()
        await place.node.answered("move-1", "Prepared")
        place.kubelet.give("default", POD, GPU, one)
        together = await asyncio.gather(*(call_hook(place.hook, VMI) for _ in range(3)))
        await place.node.tell("HandOver")
        await place.node.answered("move-1", "HandedOver")
        place.node.kernel.open_device(one)
        assert [*together, await call_hook(place.hook, VMI)] == [None] * 4
        assert place.node.kernel.read("module/gfx/parameters/write_count") == "1"
        assert (await place.node.answered("move-1", "HandedOver"))["instance"] == one


async def test_a_device_that_does_not_fit_fails_the_hook_with_the_reason(place: Place) -> None:
    one = place.gpu()
    place.kubelet.offer(GPU, one)
    async with place.node.agent():
        await place.slot()
        await place.node.answered("move-1", "Prepared")
        other = place.gpu(type_id="gfx-4GB")
        place.kubelet.offer(GPU, one, other)
        place.kubelet.give("default", POD, GPU, other)

        refused = await call_hook(place.hook, VMI)

        assert refused is not None and refused.startswith("FAILED_PRECONDITION: ")
        assert "ProfileChanged" in refused and other in refused
        failed = await place.node.answered("move-1", "Failed")
        assert failed["failure"]["reason"] == "ProfileChanged"
        assert await call_hook(place.hook, VMI) == refused
        assert place.node.kernel.read("module/gfx/parameters/write_count") == "0"


async def test_a_write_that_the_driver_refuses_fails_the_hook_and_the_undo_restores(place: Place) -> None:
    one = place.gpu()
    place.kubelet.offer(GPU, one)
    place.node.kernel.write("module/gfx/parameters/clamp_write", "memory\n")
    async with place.node.agent():
        await place.slot()
        await place.node.answered("move-1", "Prepared")
        place.kubelet.give("default", POD, GPU, one)
        refused = await call_hook(place.hook, VMI)
        assert refused is not None and "ReadbackMismatch" in refused
        place.node.kernel.write("module/gfx/parameters/clamp_write", "\n")
        await place.node.tell("Undo")
        await place.node.answered("move-1", "InUse")
        place.kubelet.end("default", POD)
        await place.node.answered("move-1", "Undone")
        assert place.memory(one) == "1024" and place.node.kernel.devices() == [one]


async def test_a_pod_whose_gate_was_bypassed_does_not_get_its_migration(place: Place) -> None:
    one = place.gpu()
    place.kubelet.offer(GPU, one)
    async with place.node.agent():
        await place.slot(migration="another")
        await place.node.answered("move-1", "Prepared")
        place.kubelet.give("default", POD, GPU, one)
        refused = await call_hook(place.hook, VMI)
        assert refused is not None and refused.startswith("FAILED_PRECONDITION: ")
        assert "nothing is reserved on this node for migration 7d6e0c3a" in refused
        assert place.memory(one) == "1024"


async def test_a_pod_on_a_node_where_nothing_was_ever_reserved_does_not_get_its_migration(place: Place) -> None:
    one = place.gpu()
    place.kubelet.offer(GPU, one)
    place.kubelet.give("default", POD, GPU, one)
    async with place.node.agent():
        await place.free()

        async def settled() -> str | None:
            said = await call_hook(place.hook, VMI)
            return None if said is not None and "has not told" in said else said

        refused = await eventually(settled, timeout=5, what="an answer of the hook")
        assert "the pod's scheduling gate was bypassed" in refused


async def test_a_vm_without_a_device_of_this_node_passes(place: Place) -> None:
    place.kubelet.offer(GPU, place.gpu())
    place.kubelet.offer("other.com/nic", "eth1")
    place.kubelet.give("default", POD, "other.com/nic", "eth1")
    async with place.node.agent():
        await place.node.profile("gfx0", "gfx-varGB")
        plain = vmi("vm", resource=None, migration=MIGRATION, pod=POD)
        other = vmi("vm", resource="other.com/nic", migration=MIGRATION, pod=POD)
        said = [await call_hook(place.hook, content) for content in (plain, other)]
        assert [*said, await call_hook(place.hook, VMI, point="PreVMStop")] == [None, None, None]


async def test_a_device_that_the_kubelet_does_not_name_yet_is_waited_for(place: Place) -> None:
    one = place.gpu()
    place.kubelet.offer(GPU, one)
    async with place.node.agent():
        await place.slot()
        await place.node.answered("move-1", "Prepared")
        refused = await call_hook(place.hook, VMI)
        assert refused is not None and refused.startswith("UNAVAILABLE: ")
        place.kubelet.give("default", POD, GPU, one)
        assert await call_hook(place.hook, VMI) is None


async def test_what_is_no_vmi_is_refused_with_what_is_wrong(place: Place) -> None:
    async with place.node.agent():
        refused = await call_hook(place.hook, b"{}")
        assert refused is not None and refused.startswith("INVALID_ARGUMENT: ") and "metadata" in refused


async def test_an_agent_that_dies_between_write_and_answer_finishes_and_writes_once(place: Place) -> None:
    one = place.gpu()
    place.kubelet.offer(GPU, one)
    async with place.node.agent():
        await place.slot()
        await place.node.answered("move-1", "Prepared")
        place.kubelet.give("default", POD, GPU, one)
        place.node.kernel.write("module/gfx/parameters/hang_write", "memory\n")
        call = asyncio.create_task(call_hook(place.hook, VMI))

        async def hangs() -> bool:
            return place.node.kernel.read("module/gfx/parameters/write_count") == "1"

        await eventually(hangs, timeout=5, what="a write that hangs")
    refused = await call
    assert refused is not None and refused.startswith(("UNAVAILABLE: ", "CANCELLED: "))
    place.node.kernel.write("module/gfx/parameters/hang_write", "\n")
    await eventually(returned(place, one), timeout=5, what="the write to return")
    async with place.node.agent():
        answer = await bound(place, "move-1")
        assert await call_hook(place.hook, VMI) is None
        assert [(w["from"], w["to"]) for w in answer["writes"]] == [("1024", "4096")]
        assert place.node.kernel.read("module/gfx/parameters/write_count") == "1"


async def test_slots_are_promised_only_as_often_as_devices_are_free(place: Place) -> None:
    place.kubelet.offer(GPU, place.gpu(), place.gpu())
    async with place.node.agent():
        for name in ("a", "b", "c"):
            await place.slot(name, migration=name)
        states = [(await place.node.answered(name, "Prepared", "Failed"))["state"] for name in ("a", "b", "c")]
        assert sorted(states) == ["Failed", "Prepared", "Prepared"]
        answers = [await place.node.answer(name) for name in ("a", "b", "c")]
        [failed] = [answer for answer in answers if answer is not None and answer["state"] == "Failed"]
        assert failed["failure"]["reason"] == "NoCapacity"


async def test_a_slot_that_is_given_up_before_it_is_bound_touches_nothing(place: Place) -> None:
    one = place.gpu()
    place.kubelet.offer(GPU, one)
    async with place.node.agent():
        await place.slot()
        await place.node.answered("move-1", "Prepared")
        await place.node.tell("Undo")
        await place.node.answered("move-1", "Undone")
        place.kubelet.give("default", POD, GPU, one)
        refused = await call_hook(place.hook, VMI)
        assert refused is not None and "given up" in refused
        assert place.memory(one) == "1024"


async def test_the_hook_is_served_again_when_somebody_takes_its_socket_away(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "CHECK_SECONDS", 0.2)
    async with place.node.agent():
        await eventually(_exists(place.hook), timeout=5, what="the hook's socket")
        place.hook.unlink()
        await eventually(_exists(place.hook), timeout=10, what="the hook's socket again")
        plain = vmi("vm", resource=None, migration=MIGRATION, pod=POD)
        assert await call_hook(place.hook, plain) is None
        assert place.hook.stat().st_mode & 0o777 == 0o600


async def bound(place: Place, entry_id: str) -> dict[str, Any]:
    """The answer when it names an instance."""

    async def look() -> dict[str, Any] | None:
        answer = await place.node.answer(entry_id)
        return answer if answer is not None and "instance" in answer else None

    return await eventually(look, timeout=5, what="an instance in the answer")


def returned(place: Place, device: str) -> Callable[[], Awaitable[bool]]:
    """Has the write that hung come through?"""

    async def look() -> bool:
        return place.memory(device) == "4096"

    return look


def _exists(path: Path) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return path.exists()

    return look
