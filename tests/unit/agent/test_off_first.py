"""Write strategy OffFirst carried out: everything is switched off, then set; and how that is taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mdev_api.kinds.node_reservations import State
from tests.agent.cards import CARD, NIC, NIC_FIRST, nics
from tests.agent.preparing import Bench, preparing
from tests.agent.reservations import value
from tests.memkernel.vfio_functions import VfioFunctions

QUEUES_8 = value("queues", "8", off="0")
QUEUES_AS_THEY_ARE = value("queues", "4", off="0")
MTU_9000 = value("mtu", "9000")
MTU_9000_OR_OFF = value("mtu", "9000", off="68")


def off_first(one: Bench, *values: dict[str, str], intent: str = "Hold") -> dict[str, Any]:
    return {**one.new(CARD, NIC, intent=intent, values=values), "writeStrategy": "OffFirst"}


async def prepared(one: Bench, *values: dict[str, str]) -> None:
    one.told(off_first(one, *values))
    await one.settles(State.PREPARED)


async def undone(one: Bench, *values: dict[str, str]) -> None:
    one.told(off_first(one, *values, intent="Undo"))
    await one.settles(State.UNDONE)


def written(driver: VfioFunctions, since: int = 0) -> list[str]:
    return [f"{name}={text}" for _, name, text in driver.writes[since:]]


async def test_everything_that_can_be_off_is_switched_off_before_anything_is_set(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path) as one:
        await prepared(one, QUEUES_8, MTU_9000_OR_OFF)
    assert written(driver) == ["queues=0", "mtu=68", "queues=8", "mtu=9000"]


async def test_undo_goes_back_through_every_write_in_reverse(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path) as one:
        await prepared(one, QUEUES_8, MTU_9000_OR_OFF)
        await undone(one, QUEUES_8, MTU_9000_OR_OFF)
    assert written(driver, since=4) == ["mtu=68", "queues=0", "mtu=1500", "queues=4"]
    assert [driver.value(NIC_FIRST, name) for name in ("queues", "mtu")] == ["4", "1500"]


async def test_undo_writes_no_more_once_everything_reads_as_before_the_first_write(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path) as one:
        await prepared(one, QUEUES_AS_THEY_ARE, MTU_9000)
        assert written(driver) == ["queues=0", "queues=4", "mtu=9000"]
        await undone(one, QUEUES_AS_THEY_ARE, MTU_9000)
    assert written(driver, since=3) == ["mtu=1500"]
