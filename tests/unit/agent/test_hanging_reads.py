"""A driver that answers no read of a device, as one whose show() waits for the mutex that its hung store() holds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import FailureReason, State, Waiting
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.blocking import start
from mdev_node_agent.publishing.inventory import take_stock
from mdev_node_agent.seeing.scanner import Scanner
from mdev_node_agent.seeing.sight import Eye
from mdev_node_agent.settings import Deadlines
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.unit.agent.test_preparer import bench
from tests.waiting import eventually

DEVICE, OTHER = instance_uuid("move-1"), instance_uuid("move-2")
HASTY = Deadlines(call=2.0, remove=0.5, look=2.0)


def locked() -> MemoryKernel:
    return MemoryKernel(drivers=[Gfx(parents=2, locked=True)])


def hang(kernel: MemoryKernel, name: str) -> None:
    kernel.write("module/gfx/parameters/hang_write", f"{name}\n")


def hang_up(kernel: MemoryKernel, device: str) -> asyncio.Future[None]:
    """Somebody's write to the device hangs."""
    hang(kernel, "memory")
    begun = kernel.read("module/gfx/parameters/write_count")
    write = start(lambda: kernel.write(f"bus/mdev/devices/{device}/migration/memory", "2048\n"), name="somebody")
    while kernel.read("module/gfx/parameters/write_count") == begun:
        pass
    return write


def make_both(kernel: MemoryKernel) -> None:
    for parent, device in (("gfx0", DEVICE), ("gfx1", OTHER)):
        kernel.write(f"class/mdev_bus/{parent}/mdev_supported_types/gfx-varGB/create", f"{device}\n")


def eye_on(kernel: MemoryKernel) -> Eye:
    return Eye(kernel, [MdevBackend()], kernel, patience=HASTY.look)


async def values(eye: Eye, device: str) -> dict[str, str]:
    seen = (await asyncio.wait_for(eye.look(), 60)).observation.instance(device)
    assert seen is not None
    return dict(seen.values)


def looks() -> int:
    return sum(thread.name == "look" for thread in threading.enumerate())


@asynccontextmanager
async def hanging(kernel: MemoryKernel, device: str = DEVICE) -> AsyncIterator[None]:
    make_both(kernel)
    write = hang_up(kernel, device)
    try:
        yield
    finally:
        hang(kernel, "")
        await write


async def test_a_look_shows_the_other_devices_and_says_what_the_driver_does_not_answer() -> None:
    kernel = locked()
    eye = eye_on(kernel)
    async with hanging(kernel):
        assert (await values(eye, OTHER))["memory"] == "1024"
        assert await values(eye, DEVICE) == {}
        assert eye.latest is not None
        stock = take_stock(eye.latest)
        shown = next(instance for instance in stock.status.instances if instance.id == DEVICE)
        assert {"memory"} <= {unreadable.name for unreadable in shown.unreadable if unreadable.errno == "ETIMEDOUT"}
        path = f"bus/mdev/devices/{DEVICE}/migration/"
        assert any(path in told and "the driver does not answer" in told for told in stock.told)


async def test_what_hangs_costs_one_thread_however_often_the_node_is_looked_at() -> None:
    kernel = locked()
    eye = eye_on(kernel)
    before = looks()
    async with hanging(kernel):
        for _ in range(5):
            await asyncio.wait_for(eye.look(), 60)

        async def one() -> bool:
            return looks() - before == 1

        await eventually(one, timeout=20, what="the looks that are over to end")


async def test_what_the_driver_answers_again_is_seen_without_a_rescan() -> None:
    kernel = locked()
    eye = eye_on(kernel)
    scanner = Scanner(eye=eye, rescan_seconds=3600, hurry=lambda: False, on_rescan=lambda: None)
    work = asyncio.create_task(scanner.run(kernel))

    async def read() -> bool:
        seen = None if eye.latest is None else eye.latest.observation.instance(DEVICE)
        return seen is not None and "memory" in seen.values

    try:
        async with hanging(kernel):
            await asyncio.wait_for(eye.look(), 60)
            assert not await read()
        assert await eventually(read, timeout=30, what="the values that were unreadable")
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_an_entry_of_another_parent_is_prepared_while_a_device_answers_neither_write_nor_read(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, locked(), HASTY) as one:
        one.fault("hang_write", "memory")
        one.told(one.new())
        await one.fails()
        one.told(one.new(), {**one.new("move-2", parent="gfx1"), "values": []})
        await one.settles(State.PREPARED, "move-2")


async def test_a_device_that_cannot_be_read_fails_with_a_deadline_and_frees_its_parent(tmp_path: Path) -> None:
    kernel = locked()
    async with bench(tmp_path, kernel, HASTY) as one:
        make = "class/mdev_bus/gfx0/mdev_supported_types/gfx-varGB/create"
        kernel.write(make, f"{DEVICE}\n")
        write = hang_up(kernel, DEVICE)
        one.told(one.new())
        failure = await one.fails()
        assert (failure.reason, failure.step, failure.parameter) == (
            FailureReason.DEADLINE,
            StepName.READ_BACK,
            "memory",
        )
        one.told(one.new(), {**one.new("move-2"), "values": []})
        await one.settles(State.PREPARED, "move-2")
        one.told(one.new(intent="Undo"))
        await one.comes(lambda answer: answer.waiting is Waiting.REMOVE_BLOCKED)
        one.fault("hang_write", "")
        await write
        await one.settles(State.UNDONE)
