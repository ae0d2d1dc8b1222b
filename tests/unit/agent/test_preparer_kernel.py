"""A kernel that misbehaves under a reservation: no room, a name that is taken, a device or its driver that goes."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import FailureReason, State
from mdev_api.kinds.node_reservations import Step as StepName
from tests.agent.preparing import Bench, Lifeline, preparing
from tests.agent.reservations import value
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel

MINE = instance_uuid("move-1")
EIGHT = [value("memory", "8192")]


class Meddler(Lifeline):
    """mdevctl at work beside us: it removes our device as soon as there is one, once."""

    def __init__(self, kernel: MemoryKernel) -> None:
        super().__init__()
        self._kernel = kernel
        self.removed = False

    def act(self) -> None:
        super().act()
        if not self.removed and MINE in self._kernel.devices():
            self.removed = True
            self._kernel.write(f"bus/mdev/devices/{MINE}/remove", "1")


def by_hand(kernel: MemoryKernel, type_id: str) -> None:
    kernel.write(f"class/mdev_bus/gfx0/mdev_supported_types/{type_id}/create", MINE)


async def undone(one: Bench, content: dict[str, object]) -> None:
    one.told({**content, "intent": "Undo"})
    await one.settles(State.UNDONE)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EUSERS, errno.ENOMEM])
async def test_a_driver_without_room_is_told_as_no_capacity(tmp_path: Path, number: int) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    kernel.write("module/gfx/parameters/fail_create", str(number))
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new("gfx0", "gfx-varGB"))
        failure = await one.fails()
    assert (failure.reason, failure.step, failure.errno) == (
        FailureReason.NO_CAPACITY,
        StepName.CREATE,
        errno.errorcode[number],
    )


async def test_a_device_of_our_name_and_another_type_is_a_conflict_and_stays(tmp_path: Path) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    async with preparing(kernel, tmp_path) as one:
        content = one.new("gfx0", "gfx-varGB")
        by_hand(kernel, "gfx-4GB")
        one.told(content)
        failure = await one.fails()
        await undone(one, content)
    assert (failure.reason, kernel.devices()) == (FailureReason.CONFLICT, [MINE])


async def test_a_device_that_is_removed_between_two_steps_fails_and_leaves_nothing_to_undo(tmp_path: Path) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    meddler = Meddler(kernel)
    async with preparing(kernel, tmp_path, lifeline=meddler) as one:
        content = one.new("gfx0", "gfx-varGB", values=EIGHT)
        one.told(content)
        failure = await one.fails()
        await undone(one, content)
        assert (meddler.removed, kernel.devices(), dict(one.journal.records)) == (True, [], {})
    assert MINE in failure.message


async def test_a_device_whose_driver_is_unloaded_is_lost_and_leaves_nothing_behind(tmp_path: Path) -> None:
    driver = Gfx()
    kernel = MemoryKernel(drivers=[driver])
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new("gfx0", "gfx-varGB", values=EIGHT))
        await one.settles(State.PREPARED)
        kernel.unload(driver)
        await one.eye.look()
        await one.settles(State.LOST)
        assert dict(one.journal.records) == {}


async def test_a_driver_that_is_unloaded_before_it_was_asked_is_a_reason(tmp_path: Path) -> None:
    driver = Gfx()
    kernel = MemoryKernel(drivers=[driver])
    async with preparing(kernel, tmp_path) as one:
        content = one.new("gfx0", "gfx-varGB", values=EIGHT)
        kernel.unload(driver)
        one.told(content)
        failure = await one.fails()
        await undone(one, content)
    assert (failure.reason, "gfx0" in failure.message) == (FailureReason.INVALID, True)
