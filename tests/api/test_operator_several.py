"""Migrations of several devices, by the real operator on the real API server, with real agents on kernels in memory."""

from __future__ import annotations

import asyncio
import errno

from tests.memkernel.core import Device
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.kstrto import fault
from tests.simulated.cluster import Object, SimulatedCluster, rejections


class OneOnly(Gfx):
    """A driver that says it has room for many, and makes one."""

    def probe(self, device: Device) -> None:
        """ENOSPC from the second on."""
        if self.record.creates:
            self.record.note(device.uuid, "create", device.type.id, -errno.ENOSPC)
            raise fault(errno.ENOSPC)
        super().probe(device)


def gpus(*memory: int) -> Object:
    """Explicit GPUs of the sample driver gfx, gpu0, gpu1 and so on."""
    return {
        "explicit": [
            {"name": f"gpu{n}", "model": "com.gfx/GPU", "values": [{"name": "memory", "type": "int", "value": str(mb)}]}
            for n, mb in enumerate(memory)
        ]
    }


def make_by_hand(kernel: MemoryKernel, type_id: str, number: int) -> str:
    """Create a device as an administrator does; returns its UUID."""
    device = f"{number:08}-1111-4111-8111-111111111111"
    kernel.write(f"class/mdev_bus/gfx0/mdev_supported_types/{type_id}/create", device)
    return device


def instances(migration: Object) -> list[str]:
    """The destination devices, in the order of the migration's devices."""
    return [device["instance"] for device in migration["status"]["devices"]]


async def test_two_devices_of_a_node_move_together_and_are_handed_over_together(cluster: SimulatedCluster) -> None:
    a, b = await asyncio.gather(cluster.add_node("a", Gfx()), cluster.add_node("b", Gfx()))
    sources = [make_by_hand(a, "gfx-8GB", 1), make_by_hand(a, "gfx-4GB", 2)]
    source = {"node": {"name": cluster.full("a"), "devices": sources}}
    await cluster.migrate("move", source)

    ready = await cluster.ready("move")
    made = instances(ready)
    assert [(d["source"], d["type"]) for d in ready["status"]["devices"]] == [
        (sources[0], "gfx-8GB"),
        (sources[1], "gfx-4GB"),
    ]
    assert sorted(b.devices()) == sorted(made)
    pins, there = await cluster.entries("a"), await cluster.entries("b")
    assert [p["id"][-9:] for p in pins] == ["-source-0", "-source-1"]
    assert len({e["group"] for e in there}) == 1 and [e["id"][-4:] for e in there] == ["-1-0", "-1-1"]

    await cluster.tell("move", started=True, outcome="Succeeded")
    await cluster.shows("move", "Finished", "True", "Succeeded")
    await asyncio.gather(cluster.no_entries("a"), cluster.no_entries("b"))
    assert sorted(b.devices()) == sorted(made) and sorted(a.devices()) == sorted(sources)


async def test_where_only_one_of_two_has_room_nothing_is_reserved_and_nothing_made(cluster: SimulatedCluster) -> None:
    kernel = await cluster.add_node("a", Gfx(types=["8GB", "4GB"], pool_mb=8192))
    await cluster.migrate("move", gpus(8192, 8192))
    nowhere = await cluster.shows("move", "Ready", "False", "NoDestination")
    (example,) = rejections(nowhere)["NoCapacity"]
    assert "gpu1" in example["message"] and "1 of the 2 devices" in example["message"]
    assert await cluster.entries("a") == [] and kernel.devices() == []
    assert kernel.read("module/gfx/parameters/create_count") == "0"


async def test_when_the_second_cannot_be_made_the_first_is_undone_and_both_go_elsewhere(
    cluster: SimulatedCluster,
) -> None:
    kernel = await cluster.add_node("a", OneOnly())
    await cluster.migrate("move", gpus(8192, 4096))
    await cluster.shows("move", "Ready", "False", "NoDestination")
    await cluster.no_entries("a")
    assert kernel.devices() == []

    other = await cluster.add_node("b", Gfx())
    ready = await cluster.ready("move")
    first = ready["status"]["attempts"][0]
    assert first["node"] == cluster.full("a") and first["message"].startswith(("gpu0: NoCapacity", "gpu1: NoCapacity"))
    assert sorted(other.devices()) == sorted(instances(ready)) and len(set(instances(ready))) == 2
    assert kernel.devices() == []

    await cluster.tell("move", started=True, outcome="Failed")
    await cluster.shows("move", "Finished", "True", "Failed")
    await cluster.no_entries("b")
    assert other.devices() == []
