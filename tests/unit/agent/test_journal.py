"""The journal is on disk before anything is begun, and says after any crash what may have been done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_node_agent.memory.journal import FILE, Journal, JournalError
from mdev_node_agent.memory.record import Making, Record, Written, fold, lines_of, write_line

BEGIN = {"event": "begin", "instance": "uuid-1", "backend": "mdev"}
WRITE = Written(name="memory", type="int", attribute="migration/memory", before="1024", after="4096")


def opened(directory: Path, boot_id: str = "boot-1") -> Journal:
    journal = Journal(directory, boot_id)
    journal.open()
    return journal


def test_what_was_begun_is_known_after_a_crash(tmp_path: Path) -> None:
    crashed = opened(tmp_path)
    crashed.append("move-1", BEGIN)
    crashed.append("move-1", {"event": "making", "state": "done"})
    crashed.append("move-1", write_line(WRITE))
    crashed.close()
    record = opened(tmp_path).records["move-1"]
    assert record == Record(instance="uuid-1", backend="mdev", making=Making.DONE, writes=(WRITE,))


def test_a_torn_last_line_is_dropped_and_told(tmp_path: Path) -> None:
    crashed = opened(tmp_path)
    crashed.append("move-1", BEGIN)
    crashed.close()
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"boot":"boot-1","reservation":"move-1","event":"mak')
    journal = opened(tmp_path)
    assert journal.records["move-1"].making is Making.NONE
    assert any("torn" in sentence for sentence in journal.told)


def test_a_damaged_line_hides_no_other(tmp_path: Path) -> None:
    crashed = opened(tmp_path)
    crashed.append("move-1", BEGIN)
    crashed.close()
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"\xff\xfe rubbish\n[1]\n")
    again = opened(tmp_path)
    assert set(again.records) == {"move-1"}
    assert len(again.told) == 2


def test_what_has_ended_is_left_behind_when_the_journal_is_opened(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("move-1", BEGIN)
    journal.append("move-1", {"event": "end"})
    journal.close()
    assert opened(tmp_path).records == {}
    assert (tmp_path / FILE).read_bytes() == b""


def test_another_boot_knows_nothing_of_this_one(tmp_path: Path) -> None:
    opened(tmp_path).append("move-1", BEGIN)
    assert opened(tmp_path, boot_id="boot-2").records == {}


def test_a_line_is_synced_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((tmp_path / FILE).read_bytes()))
    journal.append("move-1", BEGIN)
    assert len(synced) == 1 and synced[0].endswith(b"\n") and b"uuid-1" in synced[0]


def test_the_directory_is_synced_when_the_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    opened(tmp_path)
    assert synced[-1] == str(tmp_path)


def test_a_disk_that_refuses_is_an_error_and_nothing_counts_as_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)

    def refuse(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(JournalError, match="--state-dir"):
            journal.append("move-1", BEGIN)
    assert "move-1" not in journal.records
    journal.append("move-2", BEGIN)
    journal.close()
    assert set(opened(tmp_path).records) == {"move-2"}


def test_a_state_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError):
        opened(tmp_path / "file")


names = st.text(min_size=1, max_size=8)
written = st.builds(
    Written, name=names, type=st.just("int"), attribute=names, before=names, after=names, done=st.booleans()
)
records = st.builds(
    Record,
    instance=names,
    backend=names,
    making=st.sampled_from(Making),
    writes=st.lists(written, max_size=4, unique_by=lambda w: w.name).map(tuple),
    failure=st.none() | st.just({"reason": "Refused", "message": "no"}),
)


@given(records)
def test_compaction_loses_nothing(record: Record) -> None:
    folded: Record | None = None
    for line in lines_of(record):
        folded = fold(folded, line)
    assert folded == record
