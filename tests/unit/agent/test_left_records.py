"""A journal record that no reservation needs any more ends, so the function it names can be used again."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mdev_api.kinds.node_reservations import State
from mdev_node_agent.acting.collector import Collector
from mdev_node_agent.deciding.collection import UNUSED_SECONDS
from mdev_node_agent.memory.journal import FILE, Journal
from mdev_node_agent.memory.record import Making, Record, lines_of, write_line
from tests.agent.cards import (
    EIGHT,
    FIRST,
    FOURTH,
    GPU,
    NIC_FIRST,
    SECOND,
    THIRD,
    TWO,
    claims,
    gpus,
    lives_on,
    nic,
    nics,
    prepare,
    take_back,
)
from tests.agent.full_disk import FullDisk
from tests.agent.preparing import Bench, Lifeline, preparing
from tests.memkernel.kernel import MemoryKernel
from tests.unit.agent.test_journal import WRITE
from tests.waiting import eventually


class Rounds:
    """The collector of a bench, by a clock of its own."""

    def __init__(self, one: Bench) -> None:
        self.eye = one.eye
        self.now = 0.0
        self.collector: Collector = one.collector(lambda: self.now)

    async def go(self, *times: float) -> None:
        for self.now in times or (0.0,):
            await self.eye.look()
            await self.collector.collect()
            await asyncio.gather(*self.collector._removing.values())


def _said(what: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return what()

    return ask


def on_disk(state: Path, kernel: MemoryKernel) -> dict[str, Record]:
    """What the next process would read; of a copy, since opening a journal writes it."""
    with TemporaryDirectory() as copy:
        shutil.copy(state / FILE, copy)
        journal = Journal(Path(copy), kernel.boot_id())
        journal.open()
        journal.close()
    return dict(journal.records)


async def test_with_the_reservations_deleted_whole_every_function_can_be_used_again(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        one.told()
        await Rounds(one).go(0.0, UNUSED_SECONDS, UNUSED_SECONDS + 1)
        assert (driver.configured(), claims(tmp_path, kernel), dict(one.journal.records)) == ({}, set(), {})
        keys = [f"move-{n}" for n in range(2, 6)]
        one.told(*(one.new(GPU, TWO, key) for key in keys))
        taken = {(await one.settles(State.PREPARED, key)).instance for key in keys}
    assert taken == {FIRST, SECOND, THIRD, FOURTH}


async def test_what_a_full_disk_kept_of_an_undo_ends_when_there_is_room(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        with FullDisk(tmp_path):
            await take_back(one)
            assert driver.configured() == {}
            one.told()
            await Rounds(one).go()
            assert set(one.journal.records) == {"move-1"}
        await Rounds(one).go(0.0, 1.0, 2.0)  # Whose record is just in somebody's hands is left to the next round.
        assert (claims(tmp_path, kernel), on_disk(tmp_path, kernel)) == (set(), {})
        one.told(one.new(GPU, EIGHT, "move-2"))
        assert (await one.settles(State.PREPARED, "move-2")).instance == FIRST


async def test_a_function_that_lasts_can_be_used_again_too(tmp_path: Path) -> None:
    kernel, _ = nics()
    async with preparing(kernel, tmp_path) as one:
        one.told(nic(one, queues="8"))
        assert (await one.settles(State.PREPARED)).instance == NIC_FIRST
        one.told()
        await Rounds(one).go(0.0, UNUSED_SECONDS, UNUSED_SECONDS + 1)
        assert (claims(tmp_path, kernel), dict(one.journal.records)) == (set(), {})
        one.told(nic(one, entry_id="move-2"))
        assert (await one.settles(State.PREPARED, "move-2")).instance == NIC_FIRST


async def test_what_an_earlier_process_left_ends_after_a_restart(tmp_path: Path) -> None:
    kernel, _ = gpus()
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        with FullDisk(tmp_path):
            await take_back(one)
            one.told()
            await eventually(_said(lambda: not one.preparer._passes), timeout=60, what="all passes to end")
    assert set(on_disk(tmp_path, kernel)) == {"move-1"}
    async with preparing(kernel, tmp_path) as two:
        two.told()
        await Rounds(two).go()
    assert (claims(tmp_path, kernel), on_disk(tmp_path, kernel)) == (set(), {})


async def test_a_mere_claim_ends_at_once(tmp_path: Path) -> None:
    kernel, _ = gpus()
    assert not await lives_on(kernel, tmp_path, Lifeline(5), prepare)
    assert claims(tmp_path, kernel) == {FIRST} == {record.instance for record in on_disk(tmp_path, kernel).values()}
    async with preparing(kernel, tmp_path) as two:
        two.told()
        await Rounds(two).go()
    assert (claims(tmp_path, kernel), on_disk(tmp_path, kernel)) == (set(), {})


async def test_a_record_of_a_function_that_others_have_by_now_ends_and_the_function_stays_theirs(
    tmp_path: Path,
) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        driver.clear(FIRST)
        driver.configure(FIRST, TWO)
        one.told()
        await Rounds(one).go(0.0, UNUSED_SECONDS)
    assert (driver.configured(), claims(tmp_path, kernel)) == ({FIRST: TWO}, set())
    assert on_disk(tmp_path, kernel) == {}


async def test_what_is_ours_and_there_keeps_its_record_until_the_ten_minutes_are_over(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        one.told()
        await Rounds(one).go(0.0, UNUSED_SECONDS - 1)
        assert one.journal.records["move-1"].making is Making.DONE
    assert (driver.configured(), claims(tmp_path, kernel)) == ({FIRST: EIGHT}, {FIRST})


async def test_a_record_whose_reservation_stands_stays(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        driver.clear(FIRST)
        await Rounds(one).go(0.0, UNUSED_SECONDS)
        assert set(one.journal.records) == {"move-1"}


async def test_nothing_ends_while_the_reservations_are_not_known(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        one.told()
        driver.clear(FIRST)
        collector = Collector(eye=one.eye, hands=one.hands, held=lambda: None, stand=lambda: None)
        await one.eye.look()
        await collector.collect()
        assert set(one.journal.records) == {"move-1"}


@pytest.mark.parametrize("missing", [1, 2])
async def test_a_record_whose_reservation_comes_while_it_is_judged_stays(tmp_path: Path, missing: int) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        one.told()
        driver.clear(FIRST)
        await one.eye.look()
        answers = iter([frozenset[str]()] * missing)
        collector = Collector(
            eye=one.eye, hands=one.hands, held=frozenset, stand=lambda: next(answers, frozenset({"move-1"}))
        )
        await collector.collect()
        assert set(one.journal.records) == {"move-1"}


class Holding(Lifeline):
    """The call stays where it has just begun to ask the driver (its 7th act), until it may ``go`` on."""

    def __init__(self) -> None:
        super().__init__()
        self.asks, self.go = threading.Event(), threading.Event()

    def act(self) -> None:
        super().act()
        if self.acts == 7:
            self.asks.set()
            assert self.go.wait(60)


async def test_a_record_for_which_a_call_is_under_way_stays(tmp_path: Path) -> None:
    kernel, driver = gpus()
    holding = Holding()
    async with preparing(kernel, tmp_path, lifeline=holding) as one:
        try:
            one.told(one.new(GPU, EIGHT))
            await eventually(_said(holding.asks.is_set), timeout=60, what="the driver to be asked")
            one.told()
            await Rounds(one).go()
            assert one.journal.records["move-1"].making is Making.BEGUN
        finally:
            holding.go.set()
        await eventually(_said(lambda: bool(driver.configured())), timeout=60, what="the driver to answer")
        assert claims(tmp_path, kernel) == {FIRST}


async def test_values_that_were_changed_on_a_device_that_is_there_are_remembered(tmp_path: Path) -> None:
    kernel, driver = gpus()
    driver.configure(FIRST, EIGHT)
    async with preparing(kernel, tmp_path) as one:
        one.told()
        for line in (*lines_of(Record(instance=FIRST, backend="nvidia")), write_line(WRITE)):
            one.journal.append("move-1", line)
        await Rounds(one).go()
        assert set(one.journal.records) == {"move-1"}
        driver.clear(FIRST)
        await Rounds(one).go()
        assert dict(one.journal.records) == {}
