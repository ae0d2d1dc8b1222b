"""One agent at a time has a node's state directory, until the last call that it made has come back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mdev_node_agent.memory.sole import EndedError, SoleUse
from tests.waiting import wait_until

HOLD = """
import sys, time
from pathlib import Path
from mdev_node_agent.memory.sole import SoleUse
sole = SoleUse(Path(sys.argv[1]))
print(sole.take(), flush=True)
time.sleep(600)
"""


def held(directory: Path) -> SoleUse:
    sole = SoleUse(directory)
    assert sole.take()
    return sole


def test_a_second_agent_does_not_get_it(tmp_path: Path) -> None:
    held(tmp_path)
    assert not SoleUse(tmp_path).take()


def test_the_next_agent_gets_it_when_the_first_has_let_go(tmp_path: Path) -> None:
    held(tmp_path).let_go()
    assert SoleUse(tmp_path).take()


def test_a_call_that_is_under_way_keeps_it(tmp_path: Path) -> None:
    first = held(tmp_path)
    with first.call():
        first.let_go()
        during = SoleUse(tmp_path).take()
    assert (during, SoleUse(tmp_path).take()) == (False, True)


def test_a_call_that_ends_before_the_agent_does_gives_nothing_back(tmp_path: Path) -> None:
    first = held(tmp_path)
    with first.call():
        pass
    assert not SoleUse(tmp_path).take()


def test_an_agent_that_has_ended_begins_nothing_any_more(tmp_path: Path) -> None:
    first = held(tmp_path)
    first.let_go()
    with pytest.raises(EndedError), first.call():
        pass


def test_the_directory_is_made(tmp_path: Path) -> None:
    held(tmp_path / "var" / "state")
    assert (tmp_path / "var" / "state").is_dir()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        SoleUse(tmp_path / "file" / "state").take()


def test_a_directory_that_can_be_made_only_later_is_taken_then(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    late = SoleUse(tmp_path / "file" / "state")
    for attempt in (late.take, late.make_sure):
        with pytest.raises(OSError):
            attempt()
    (tmp_path / "file").unlink()
    late.make_sure()
    assert not SoleUse(tmp_path / "file" / "state").take()


def test_a_directory_that_another_agent_has_made_meanwhile_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    late = SoleUse(tmp_path / "file" / "state")
    with pytest.raises(OSError):
        late.take()
    (tmp_path / "file").unlink()
    held(tmp_path / "file" / "state")
    with pytest.raises(BlockingIOError, match="another agent of this node has"):
        late.make_sure()


def test_a_process_that_is_killed_gives_it_back(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        has_it = process.stdout.readline()
        second = SoleUse(tmp_path)
        during = second.take()
        process.kill()
    assert (has_it, during) == ("True\n", False)
    wait_until(second.take, timeout=10, what="the lock of a process that is gone")
