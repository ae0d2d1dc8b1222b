"""A journal that takes no more while a reservation is carried out: what is told of the device is true."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import Failure, FailureReason, State
from mdev_node_agent.memory.journal import JournalError
from tests.agent.preparing import Bench, preparing
from tests.agent.reservations import value
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel

MINE = instance_uuid("move-1")


def refuses(one: Bench, **of_line: str) -> None:
    """From now on the journal does not take lines that say this."""
    real = one.journal.append

    def append(reservation: str, line: Mapping[str, Any], *, sync: bool = True) -> None:
        if of_line.items() <= line.items():
            raise JournalError("the disk is full")
        real(reservation, line, sync=sync)

    one.journal.append = append  # type: ignore[method-assign]


async def prepared_on_a_full_disk(one: Bench, **of_line: str) -> Failure:
    refuses(one, **of_line)
    content = one.new("gfx0", "gfx-varGB", values=[value("memory", "4096")])
    one.told(content)
    failure = await one.fails()
    assert failure.reason is FailureReason.JOURNAL_FAILED and "the disk is full" in failure.message
    one.told({**content, "intent": "Undo"})
    await one.settles(State.UNDONE)
    assert one.kernel.devices() == []
    return failure


@pytest.mark.parametrize(("event", "of_line"), [("making", {"state": "begun"}), ("write", {})])
async def test_before_the_driver_is_asked_nothing_was_touched(
    tmp_path: Path, event: str, of_line: dict[str, str]
) -> None:
    async with preparing(MemoryKernel(drivers=[Gfx()]), tmp_path) as one:
        failure = await prepared_on_a_full_disk(one, event=event, **of_line)
    assert "nothing was touched" in failure.message


@pytest.mark.parametrize(
    ("event", "of_line", "what"),
    [("making", {"state": "done"}, f"create {MINE}"), ("wrote", {}, "write '4096' to migration/memory")],
)
async def test_after_the_driver_has_done_it_that_is_told(
    tmp_path: Path, event: str, of_line: dict[str, str], what: str
) -> None:
    async with preparing(MemoryKernel(drivers=[Gfx()]), tmp_path) as one:
        failure = await prepared_on_a_full_disk(one, event=event, **of_line)
    assert "nothing was touched" not in failure.message
    assert what in failure.message and "has done it" in failure.message
