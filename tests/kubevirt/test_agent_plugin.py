"""Our own device plugin: the whole agent beside a kubelet's device manager, on unix sockets, and a real API server."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import json_patch
from mdev_api.kube.resources import NODE_RESERVATIONS
from mdev_node_agent.deciding import collection
from mdev_node_agent.kubelet import desk, plugin, slots
from mdev_node_agent.seeing.in_use import InUse, Source, Use
from tests.agent.node import Node, ensure_namespace
from tests.agent.reservations import entry, value
from tests.controlplane.control_plane import ControlPlane
from tests.kubelet.device_manager import AdmissionError, Container, DeviceManager
from tests.kubelet.fake import FakeKubelet
from tests.kubelet.virt_handler import call_hook, vmi
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

SMALL, VAR = "vendor.com/gpu-4gb", "vendor.com/gpu.var"
SERVE = (f"{SMALL}=GPU_with_4_GB", f"{VAR}=gfx-varGB")
SMALL_ENV, VAR_ENV = "MDEV_PCI_RESOURCE_VENDOR_COM_GPU-4GB", "MDEV_PCI_RESOURCE_VENDOR_COM_GPU_VAR"
UNKNOWN = Use(state=InUse.UNKNOWN, source=Source.NONE)
MOVE = {"kind": "DeviceMigration", "namespace": "default", "name": "vmim-1", "uid": "u-1"}


@dataclass(kw_only=True)
class Place:
    """A node whose agent serves two resources, with its kubelet."""

    node: Node
    kubelet: FakeKubelet
    manager: DeviceManager

    async def offered(self, resource: str, count: int) -> set[str]:
        """Wait until the plugin offers so many healthy slots."""

        async def look() -> set[str] | None:
            healthy = self.manager.healthy(resource)
            return healthy if resource in self.manager.plugins and len(healthy) == count else None

        return await eventually(look, timeout=15, what=f"{count} slots of {resource}")

    async def admit(self, pod: str, resource: str = SMALL, count: int = 1, *, namespace: str = "default") -> Container:
        """The kubelet admits a pod and starts it."""
        return await asyncio.to_thread(self.manager.admit, namespace, pod, resource, count)

    async def arm(self, entry_id: str, *, type_id: str = "gfx-varGB", memory: str = "8192") -> str:
        """A reservation has a device prepared; returns its UUID."""
        profile = await self.node.profile("gfx0", type_id)
        device = {"create": {"parent": "gfx0", "type": type_id, "profile": profile}}
        content = entry(entry_id, boot_id=self.node.kernel.boot_id(), device=device, values=[value("memory", memory)])
        await self.node.reserve({**content, "group": f"g-{entry_id}", "owner": MOVE})
        return str((await self.node.answered(entry_id, "Prepared"))["instance"])

    async def shown(self, what: str, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until the status of NodeDevices is as wanted."""

        async def look() -> dict[str, Any] | None:
            status = await self.node.status()
            return status if wanted(status) else None

        return await eventually(look, timeout=15, what=what)

    async def has(self, pod: str, instance: str) -> None:
        """Wait until NodeDevices says that the pod has the instance."""
        await self.shown(
            f"{pod} served",
            lambda s: any(v["podName"] == pod and v["instance"] == instance for v in s.get("serving", ())),
        )

    async def hook(self, pod: str) -> str | None:
        """virt-handler is about to let the migration into the pod."""
        assert self.node.hook_socket is not None
        return await call_hook(self.node.hook_socket, vmi("vm", resource=VAR, migration="1", pod=pod))

    def group(self, device: str) -> str:
        """Number of the device's VFIO group."""
        with self.node.kernel.open(f"bus/mdev/devices/{device}") as directory:
            return directory.link("iommu_group")

    def make(self, type_id: str = "gfx-4GB") -> str:
        """Somebody else makes a device; returns its UUID."""
        device = str(uuid.uuid4())
        self.node.kernel.write(f"class/mdev_bus/gfx0/mdev_supported_types/{type_id}/create", device)
        return device

    @contextmanager
    def nobody_sees_processes(self) -> Iterator[None]:
        """As in a pod without the host's pid namespace."""
        look = self.node.kernel.look
        self.node.kernel.look = lambda instances: {i.id: UNKNOWN for i in instances}  # type: ignore[method-assign]
        try:
            yield
        finally:
            self.node.kernel.look = look  # type: ignore[method-assign]


@pytest_asyncio.fixture
async def place(control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(plugin, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(plugin, "PAUSE_SECONDS", 0.2)
    short = Path(tempfile.mkdtemp(prefix="dp"))
    async with Client(load(control_plane.kubeconfig)) as client:
        await ensure_namespace(client)
        kubelet = FakeKubelet(short)
        node = Node(
            name=f"node-{uuid.uuid4().hex[:8]}",
            kernel=MemoryKernel(drivers=[Gfx()]),
            client=client,
            kubeconfig=control_plane.kubeconfig,
            state_dir=tmp_path / "state",
            kubelet_dir=short,
            hook_socket=short / "hook.sock",
            serve=SERVE,
        )
        manager = DeviceManager(kubelet)
        with kubelet.running(), manager.running():
            yield Place(node=node, kubelet=kubelet, manager=manager)
    shutil.rmtree(short)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots of pods that have ended are released at once."""
    monkeypatch.setattr(slots, "GONE_SECONDS", 0.2)
    monkeypatch.setattr(desk, "GONE_SECONDS", 0.2)


async def test_as_many_slots_are_offered_as_devices_can_be_made(place: Place) -> None:
    async with place.node.agent():
        await place.offered(SMALL, 4)
        await place.offered(VAR, 16)
        expected = [
            {"resource": SMALL, "free": 4, "types": ["gfx-4GB"]},
            {"resource": VAR, "free": 16, "types": ["gfx-varGB"]},
        ]
        await place.shown("free slots", lambda status: status.get("slots") == expected)
        assert place.node.kernel.devices() == []


async def test_a_pod_gets_a_device_of_its_own_made_for_it(place: Place) -> None:
    async with place.node.agent():
        await place.offered(SMALL, 4)
        given = await place.admit("vm")
        (device,) = place.node.kernel.devices()
        assert given.environment == {SMALL_ENV: device}
        assert given.files == ("/dev/vfio/vfio", f"/dev/vfio/{place.group(device)}")
        await place.has("vm", device)
        shown = (await place.node.instances())[device]
        assert shown["managed"] and (shown["inUse"], shown["inUseSource"]) == ("Yes", "PodResources")
        assert len(place.manager.healthy(SMALL)) == 4 and len(place.manager.free(SMALL)) == 3


async def test_a_container_that_asks_for_two_gets_two(place: Place) -> None:
    async with place.node.agent():
        await place.offered(SMALL, 4)
        given = await place.admit("vm", count=2)
        assert sorted(given.environment[SMALL_ENV].split(",")) == sorted(place.node.kernel.devices())
        assert len(given.files) == 3


async def test_the_target_of_a_migration_gets_the_device_that_was_prepared(place: Place) -> None:
    async with place.node.agent():
        armed = await place.arm("move-1")
        await place.offered(VAR, 9)
        given = await place.admit("target", VAR)
        assert given.environment == {VAR_ENV: armed}
        assert place.node.kernel.devices() == [armed]
        await place.has("target", armed)
        assert (await place.node.answered("move-1", "Prepared", "Lost"))["state"] == "Prepared"
        other = await place.admit("fresh", VAR)
        assert armed not in other.environment[VAR_ENV]


async def test_a_device_prepared_for_one_resource_is_not_handed_out_for_another(place: Place) -> None:
    async with place.node.agent():
        armed = await place.arm("move-1")
        await place.offered(SMALL, 2)
        given = await place.admit("vm", SMALL)
        assert given.environment[SMALL_ENV] != armed


async def test_of_two_prepared_devices_none_is_handed_out(place: Place) -> None:
    async with place.node.agent():
        one, two = await place.arm("move-1", memory="2048"), await place.arm("move-2", memory="2048")
        await place.offered(VAR, 14)
        with pytest.raises(AdmissionError, match=r"FAILED_PRECONDITION: 2 devices of vendor\.com/gpu\.var are"):
            await place.admit("target", VAR)
        assert sorted(place.node.kernel.devices()) == sorted((one, two))


async def test_a_foreign_pod_that_takes_the_prepared_device_makes_the_reservation_lost(place: Place) -> None:
    async with place.node.agent():
        armed = await place.arm("move-1", memory="2048")
        await place.offered(VAR, 15)
        await place.admit("intruder", VAR, namespace="elsewhere")
        lost = await place.node.answered("move-1", "Lost")
        assert lost["failure"]["reason"] == "Conflict" and "pod elsewhere/intruder" in lost["failure"]["message"]
        assert place.node.kernel.devices() == [armed]
        again = await place.arm("move-2", memory="2048")
        assert (await place.admit("target", VAR)).environment == {VAR_ENV: again}


async def test_the_hook_lets_a_migration_into_the_pod_that_has_the_prepared_device(place: Place) -> None:
    async with place.node.agent():
        await place.arm("move-1")
        await place.offered(VAR, 9)
        await place.admit("target", VAR)
        assert await place.hook("target") is None


async def test_the_hook_lets_no_migration_into_a_pod_whose_device_a_foreign_pod_has_taken(place: Place) -> None:
    async with place.node.agent():
        armed = await place.arm("move-1", memory="2048")
        await place.offered(VAR, 15)
        await place.admit("intruder", VAR)
        await place.admit("target", VAR)
        said = await place.hook("target")
        assert said is not None and said.startswith("FAILED_PRECONDITION: ")
        assert f"is not what is reserved for this migration: device {armed}" in said


async def test_offers_shrink_and_grow_with_the_room_on_the_parent(place: Place) -> None:
    async with place.node.agent():
        before = await place.offered(SMALL, 4)
        foreign = place.make("gfx-8GB")
        less = await place.offered(SMALL, 2)
        assert less < before
        await place.offered(VAR, 8)
        place.node.kernel.write(f"bus/mdev/devices/{foreign}/remove", "1")
        assert await place.offered(SMALL, 4) > less


async def test_nothing_can_be_made_when_somebody_else_has_taken_the_room(place: Place) -> None:
    async with place.node.agent():
        await place.offered(SMALL, 4)
        place.node.kernel.write("module/gfx/parameters/fail_create", "28")
        with pytest.raises(AdmissionError, match=r"RESOURCE_EXHAUSTED: the driver makes no device of .*: gfx-4GB on"):
            await place.admit("vm")
        place.node.kernel.write("module/gfx/parameters/fail_create", "0")
        given = await place.admit("vm")
        assert place.node.kernel.devices() == [given.environment[SMALL_ENV]]


async def test_a_kubelet_that_restarts_gets_the_same_slots_again(place: Place) -> None:
    async with place.node.agent():
        before = await place.offered(SMALL, 4)
        given = await place.admit("vm")
        place.manager.stop()
        place.manager.start()
        assert await place.offered(SMALL, 4) == before
        assert sorted(place.manager.registered) == sorted([SMALL, VAR] * 2)
        await asyncio.to_thread(place.manager.start_container, SMALL, given)
        await place.admit("another")
        assert len(place.node.kernel.devices()) == 2


async def test_a_kubelet_that_comes_later_finds_the_plugin(place: Place) -> None:
    place.manager.stop()
    async with place.node.agent():
        await place.shown("the node", lambda status: status.get("parents"))
        place.manager.start()
        await place.offered(SMALL, 4)


async def test_an_agent_that_restarts_between_allocate_and_start_knows_the_device(place: Place) -> None:
    async with place.node.agent():
        await place.offered(SMALL, 4)
        given = await asyncio.to_thread(place.manager.allocate, "default", "vm", SMALL)
    place.manager.plugins.clear()
    async with place.node.agent():
        assert set(given.devices) < await place.offered(SMALL, 4)
        await asyncio.to_thread(place.manager.start_container, SMALL, given)
        await place.has("vm", given.environment[SMALL_ENV])


async def test_a_container_does_not_start_without_its_device(place: Place) -> None:
    async with place.node.agent():
        await place.offered(SMALL, 4)
        given = await place.admit("vm")
        device = given.environment[SMALL_ENV]
        await asyncio.to_thread(place.node.kernel.write, f"bus/mdev/devices/{device}/remove", "1")
        with pytest.raises(AdmissionError, match=f"FAILED_PRECONDITION: device {device} .* is not there any more"):
            await asyncio.to_thread(place.manager.start_container, SMALL, given)

        async def told() -> bool:
            return place.manager.plugins[SMALL].devices[given.devices[0]] == "Unhealthy"

        await eventually(told, timeout=5, what="its slot to be unhealthy")
        await place.offered(SMALL, 4)


@pytest.mark.usefixtures("quick")
async def test_what_a_pod_has_left_behind_goes_to_the_next_one(place: Place) -> None:
    async with place.node.agent(rescan_seconds=0.3):
        await place.offered(SMALL, 4)
        first = await place.admit("vm", count=4)
        place.manager.end("default", "vm")

        async def released() -> bool:
            return not set(first.devices) & place.manager.healthy(SMALL) and len(place.manager.healthy(SMALL)) == 4

        await eventually(released, timeout=15, what="new slots in place of the old ones")
        second = await place.admit("next", count=4)
        assert sorted(second.environment[SMALL_ENV].split(",")) == sorted(first.environment[SMALL_ENV].split(","))


@pytest.mark.usefixtures("quick")
async def test_a_device_that_is_still_open_is_not_handed_out_again(place: Place) -> None:
    async with place.node.agent(rescan_seconds=0.3):
        await place.offered(SMALL, 4)
        first = await place.admit("vm")
        device = first.environment[SMALL_ENV]
        place.node.kernel.open_device(device)
        place.manager.end("default", "vm")
        await place.offered(SMALL, 3)
        second = await place.admit("next")
        assert second.environment[SMALL_ENV] != device
        place.node.kernel.close_device(device)
        await place.offered(SMALL, 4)


@pytest.mark.usefixtures("quick")
async def test_a_device_that_was_handed_over_goes_when_its_pod_has_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "UNUSED_SECONDS", 1.0)
    with place.nobody_sees_processes():
        async with place.node.agent(rescan_seconds=0.3):
            armed = await place.arm("move-1")
            await place.offered(VAR, 9)
            await place.admit("target", VAR)
            await place.node.tell("HandOver")
            await place.node.answered("move-1", "HandedOver")
            remove = [{"op": "remove", "path": "/spec/reservations/0"}]
            await place.node.client.send(json_patch(NODE_RESERVATIONS, place.node.name, remove))
            await place.has("target", armed)
            await asyncio.sleep(2)
            assert place.node.kernel.devices() == [armed]

            place.manager.end("default", "target")
            await place.offered(VAR, 16)
            assert place.node.kernel.devices() == []


@pytest.mark.usefixtures("quick")
async def test_a_device_that_was_written_is_not_handed_to_a_pod_that_wants_a_new_one(place: Place) -> None:
    async with place.node.agent(rescan_seconds=0.3):
        armed = await place.arm("move-1")
        await place.offered(VAR, 9)
        await place.admit("target", VAR)
        await place.node.tell("HandOver")
        await place.node.answered("move-1", "HandedOver")
        place.manager.end("default", "target")
        await place.offered(VAR, 8)
        given = await place.admit("next", VAR)
        assert given.environment[VAR_ENV] != armed


@pytest.mark.usefixtures("quick")
async def test_a_pod_that_fails_its_admission_gives_its_device_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "UNSEEN_SECONDS", 0.5)
    async with place.node.agent():
        armed = await place.arm("move-1")
        await place.offered(VAR, 9)
        refused = await asyncio.to_thread(place.manager.allocate, "default", "target", VAR)
        place.manager.end("default", "target")

        async def released() -> bool:
            return not set(refused.devices) & place.manager.healthy(VAR) and len(place.manager.healthy(VAR)) == 9

        await eventually(released, timeout=15, what="a new slot in place of the old one")
        assert (await place.admit("second", VAR)).environment == {VAR_ENV: armed}
