"""Uevents of the in-memory kernel: which, in which order, and what is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from mdev_node_agent.sysfs.port import EventsLost, Uevent
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty

FIRST = "00000000-0000-4000-8000-000000000001"
CREATE = "class/mdev_bus/mtty/mdev_supported_types/mtty-1/create"


async def take(events: AsyncIterator[Uevent | EventsLost], count: int) -> list[tuple[str, str] | EventsLost]:
    """The next events as (action, subsystem)."""
    taken: list[tuple[str, str] | EventsLost] = []
    async with asyncio.timeout(5):
        while len(taken) < count:
            event = await anext(events)
            taken.append((event.action, event.subsystem) if isinstance(event, Uevent) else event)
    return taken


async def test_a_device_sends_four_events_when_made_and_four_when_removed() -> None:
    kernel = MemoryKernel(drivers=[Mtty()])
    events = kernel.events()
    await asyncio.to_thread(kernel.write, CREATE, FIRST)
    made = await take(events, 4)
    await asyncio.to_thread(kernel.write, f"bus/mdev/devices/{FIRST}/remove", "1")
    removed = await take(events, 4)
    assert made == [("add", "mdev"), ("add", "vfio"), ("add", "vfio-dev"), ("bind", "mdev")]
    assert removed == [("remove", "vfio-dev"), ("remove", "vfio"), ("unbind", "mdev"), ("remove", "mdev")]


async def test_a_parent_is_announced_before_and_after_its_metadata() -> None:
    kernel = MemoryKernel(drivers=[])
    events = kernel.events()
    kernel.load(Gfx())
    assert await take(events, 3) == [("add", "gfx"), ("change", "gfx"), ("change", "gfx")]


async def test_a_subscription_hears_what_comes_before_the_first_look() -> None:
    kernel = MemoryKernel(drivers=[Mtty()])
    events = kernel.events()
    kernel.write(CREATE, FIRST)
    async with asyncio.timeout(5):
        event = await anext(events)
    assert isinstance(event, Uevent)
    assert event.devpath == f"/devices/virtual/mtty/mtty/{FIRST}"


async def test_a_write_of_a_value_sends_no_event() -> None:
    kernel = MemoryKernel(drivers=[Gfx(), Mtty()])
    kernel.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-varGB/create", FIRST)
    events = kernel.events()
    kernel.write(f"bus/mdev/devices/{FIRST}/migration/memory", "2048")
    kernel.write(CREATE, FIRST.replace("1", "2"))
    assert await take(events, 1) == [("add", "mdev")]


async def test_what_is_beyond_the_buffer_is_lost_and_said_so_once() -> None:
    kernel = MemoryKernel(drivers=[Mtty()])
    events = kernel.events()
    for _ in range(30):
        kernel.write(CREATE, FIRST)
        kernel.write(f"bus/mdev/devices/{FIRST}/remove", "1")
    taken = await take(events, 197)
    assert taken[0] == EventsLost()
    assert EventsLost() not in taken[1:]


async def test_a_test_can_lose_events_on_purpose() -> None:
    kernel = MemoryKernel(drivers=[Mtty()])
    events = kernel.events()
    kernel.lose_events()
    assert await take(events, 1) == [EventsLost()]
