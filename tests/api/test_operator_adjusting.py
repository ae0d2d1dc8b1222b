"""A running source is changed first where nothing else will do, on the real API server with real agents."""

from __future__ import annotations

import asyncio
import uuid

from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.simulated.cluster import SimulatedCluster, instance, rejections


def running_nic(kernel: MemoryKernel, limit: str) -> str:
    """A NIC that an administrator made, with its receive limit set, and that a VM has open."""
    device = str(uuid.uuid4())
    kernel.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-nic/create", device)
    kernel.write(f"bus/mdev/devices/{device}/migration/rx-limit", f"{limit}\n")
    kernel.open_device(device)
    return device


def limit_of(kernel: MemoryKernel, device: str) -> str:
    return kernel.read(f"bus/mdev/devices/{device}/migration/rx-limit").strip()


async def older_and_newer(cluster: SimulatedCluster) -> tuple[MemoryKernel, MemoryKernel]:
    """A node whose NICs take any limit, and one whose NICs take at most 1000."""
    newer, older = await asyncio.gather(
        cluster.add_node("a", Gfx(types=["nic"])), cluster.add_node("b", Gfx(types=["nic"], rx_limit_max=1000))
    )
    return newer, older


async def test_what_was_changed_on_the_running_source_is_put_back_when_the_outcome_is_failed(
    cluster: SimulatedCluster,
) -> None:
    a, b = await older_and_newer(cluster)
    source = running_nic(a, "8000")
    await cluster.migrate("never", cluster.of_node("a", source), mode="Plan")
    never = await cluster.shows("never", "Planned", "False", "NoDestination")
    assert rejections(never)["ValueNotAllowed"][0]["parameter"] == "rx-limit" and limit_of(a, source) == "8000"

    await cluster.migrate("move", cluster.of_node("a", source), sourceAdjustment="IfNeeded")
    ready = await cluster.ready("move")
    made = instance(ready)
    changed = limit_of(a, source)
    assert int(changed) <= 1000 and limit_of(b, made) == changed
    (change,) = ready["status"]["devices"][0]["adjustments"]
    assert change == {"name": "rx-limit", "from": "8000", "to": changed}

    await cluster.tell("move", started=True, outcome="Failed")
    await cluster.shows("move", "Finished", "True", "Failed")
    await cluster.holds("the source to be as it was", lambda: limit_of(a, source) == "8000")
    await asyncio.gather(cluster.no_entries("a"), cluster.no_entries("b"))
    assert a.devices() == [source] and b.devices() == []


async def test_what_was_changed_stays_when_the_outcome_is_succeeded(cluster: SimulatedCluster) -> None:
    a, b = await older_and_newer(cluster)
    source = running_nic(a, "8000")
    await cluster.migrate("move", cluster.of_node("a", source), sourceAdjustment="IfNeeded")
    made = instance(await cluster.ready("move"))
    changed = limit_of(a, source)
    await cluster.tell("move", started=True, outcome="Succeeded")
    await cluster.shows("move", "Finished", "True", "Succeeded")
    await asyncio.gather(cluster.no_entries("a"), cluster.no_entries("b"))
    assert limit_of(a, source) == changed == limit_of(b, made)


async def test_what_was_changed_for_a_destination_that_fails_is_put_back_for_the_next(
    cluster: SimulatedCluster,
) -> None:
    a, b = await older_and_newer(cluster)
    source = running_nic(a, "8000")
    b.write("module/gfx/parameters/fail_create", "28\n")
    await cluster.migrate("move", cluster.of_node("a", source), sourceAdjustment="IfNeeded")
    nowhere = await cluster.shows("move", "Ready", "False", "NoDestination")
    assert nowhere["status"]["attempts"][0]["node"] == cluster.full("b")

    c = await cluster.add_node("c", Gfx(types=["nic"]))
    ready = await cluster.ready("move")
    assert ready["status"]["node"] == cluster.full("c") and "adjustments" not in ready["status"]["devices"][0]
    assert limit_of(a, source) == "8000" == limit_of(c, instance(ready))
