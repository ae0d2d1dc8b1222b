"""A full disk: it is told, nothing is begun that could not be written down, and with room again all goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mdev_api.kinds.node_reservations import FailureReason, State
from mdev_node_agent.memory.journal import FILE, Journal, JournalError
from mdev_node_agent.memory.ledger import Ledger, Made
from tests.agent.cards import EIGHT, FIRST, GPU, claims, gpus, prepare, take_back
from tests.agent.full_disk import FullDisk
from tests.agent.preparing import preparing
from tests.unit.agent.test_journal import BEGIN, opened

FULL = "No space left on device"


def test_what_a_full_disk_refuses_does_not_count_as_begun(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with FullDisk(tmp_path), pytest.raises(JournalError, match=FULL):
        journal.append("move-1", BEGIN)
    assert dict(journal.records) == {}


def test_with_room_again_the_journal_goes_on(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("move-1", BEGIN)
    with FullDisk(tmp_path):
        for _ in range(2):
            with pytest.raises(JournalError):
                journal.append("move-2", BEGIN)
    journal.append("move-3", BEGIN)
    journal.close()
    again = opened(tmp_path)
    assert (set(again.records), again.told) == ({"move-1", "move-3"}, [])


def test_of_a_line_that_the_disk_took_in_part_nothing_stays_when_the_next_one_is_written(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("move-1", BEGIN)
    with FullDisk(tmp_path, room=20), pytest.raises(JournalError, match="took only 20 of"):
        journal.append("move-2", BEGIN)
    journal.append("move-3", BEGIN)
    journal.close()
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [line["reservation"] for line in lines] == ["move-1", "move-3"]


def test_a_line_that_the_disk_took_in_part_is_dropped_and_told_after_a_crash(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("move-1", BEGIN)
    with FullDisk(tmp_path, room=20), pytest.raises(JournalError):
        journal.append("move-2", BEGIN)
    again = opened(tmp_path)
    assert set(again.records) == {"move-1"}
    assert [("torn" in sentence) for sentence in again.told] == [True]


def test_a_journal_that_cannot_be_compacted_on_a_full_disk_is_known_all_the_same(tmp_path: Path) -> None:
    crashed = opened(tmp_path)
    crashed.append("move-1", BEGIN)
    crashed.close()
    journal = Journal(tmp_path, "boot-1")
    with FullDisk(tmp_path), pytest.raises(JournalError, match=FULL):
        journal.open()
    assert set(journal.records) == {"move-1"}
    journal.append("move-2", BEGIN)
    journal.close()
    assert set(opened(tmp_path).records) == {"move-1", "move-2"}


CHILD = """
import resource, sys
from pathlib import Path
from mdev_node_agent.memory.journal import Journal, JournalError

hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
journal = Journal(Path(sys.argv[1]), "boot-1")
begin = {"event": "begin", "instance": "uuid-1", "backend": "mdev"}
journal.append("move-1", begin)
resource.setrlimit(resource.RLIMIT_FSIZE, (120, hard))
for name in ("move-2", "move-3"):
    try:
        journal.append(name, begin)
    except JournalError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
journal.append("move-4", begin)
"""


def test_the_kernel_s_own_short_write_is_an_error_and_nothing_of_it_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    first, *_ = child.stdout.splitlines()
    assert "the disk took only" in first and "free the disk" in first
    again = opened(tmp_path)
    assert ("move-1" in again.records, "move-4" in again.records, "move-2" in again.records) == (True, True, False)
    assert again.told == []


@pytest.mark.parametrize("room", [0, 20])
def test_the_ledger_on_disk_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path, room: int) -> None:
    ledger, first = Ledger(tmp_path, "boot-1"), Made(instance="uuid-1", reservation="m", boot_id="boot-1", backend="b")
    ledger.add(first)
    with FullDisk(tmp_path, room=room), pytest.raises(OSError, match=FULL):
        ledger.add(Made(instance="uuid-2", reservation="m", boot_id="boot-1", backend="b"))
    again = Ledger(tmp_path, "boot-1")
    assert (dict(ledger.instances), dict(again.instances), again.damage) == ({"uuid-1": first}, {"uuid-1": first}, None)


# Preparing


@pytest.mark.parametrize("files", ["journal", "ledger"])
async def test_a_device_that_cannot_be_written_down_is_not_made_and_the_reason_is_told(
    tmp_path: Path, files: str
) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        with FullDisk(tmp_path, files=files):
            one.told(one.new(GPU, EIGHT))
            failure = await one.fails()
    assert failure.reason is FailureReason.JOURNAL_FAILED
    assert files in failure.message and FULL in failure.message
    assert driver.writes == []


@pytest.mark.parametrize("files", ["journal", "ledger", ""])
async def test_after_a_preparation_that_a_full_disk_stopped_the_function_can_be_used(
    tmp_path: Path, files: str
) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        with FullDisk(tmp_path, files=files):
            one.told(one.new(GPU, EIGHT))
            await one.fails()
        await take_back(one)
        one.told(one.new(GPU, EIGHT, "move-2"))
        assert (await one.settles(State.PREPARED, "move-2")).instance == FIRST
    assert (driver.configured(), claims(tmp_path, kernel)) == ({FIRST: EIGHT}, {FIRST})


async def test_what_was_prepared_before_is_undone_on_a_full_disk(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        with FullDisk(tmp_path):
            await take_back(one)
    assert driver.configured() == {}
