"""Who holds a device open, read from a /proc: Yes from one process, No only from all of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mdev_node_agent.seeing.in_use import HOST_PID_NAMESPACE, InUse, NoSource, ProcessSource, Source, Use
from mdev_node_agent.seeing.observation import Instance

HELD = Instance(id="held", parent="mtty", type="mtty-2", vfio_group="7", vfio_device="vfio3")
OTHER = Instance(id="other", parent="mtty", type="mtty-2", vfio_group="77", vfio_device="vfio33")


class Proc:
    """A /proc made of directories and links."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process(1)
        (path / "1/ns").mkdir()
        self.host_namespace(HOST_PID_NAMESPACE)

    def host_namespace(self, name: str) -> None:
        link = self.path / "1/ns/pid"
        link.unlink(missing_ok=True)
        link.symlink_to(name)

    def process(self, pid: int, *targets: str, thread: int | None = None) -> None:
        base = self.path / str(pid)
        (base / "fd").mkdir(parents=True, exist_ok=True)
        table = base / "fd" if thread is None else base / "task" / str(thread) / "fd"
        table.mkdir(parents=True, exist_ok=True)
        (base / "task" / str(pid) / "fd").mkdir(parents=True, exist_ok=True)
        for number, target in enumerate(targets):
            (table / str(number)).symlink_to(target)

    def states(self, *instances: Instance) -> dict[str, InUse]:
        return {name: use.state for name, use in ProcessSource(proc=self.path).look(instances or (HELD, OTHER)).items()}


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


@pytest.mark.parametrize("target", ["/dev/vfio/7", "/dev/vfio/devices/vfio3"])
def test_a_device_whose_file_is_open_is_in_use_and_others_are_not(proc: Proc, target: str) -> None:
    proc.process(4711, "/dev/null", target)
    assert proc.states() == {"held": InUse.YES, "other": InUse.NO}


def test_the_answer_names_its_source(proc: Proc) -> None:
    assert ProcessSource(proc=proc.path).look([HELD])["held"] == Use(state=InUse.NO, source=Source.PROCESS)


def test_the_container_file_of_vfio_itself_holds_no_device(proc: Proc) -> None:
    proc.process(4711, "/dev/vfio/vfio")
    assert proc.states()["held"] is InUse.NO


def test_a_proc_of_another_pid_namespace_never_says_no(proc: Proc) -> None:
    proc.host_namespace("pid:[4026532999]")
    assert proc.states() == {"held": InUse.UNKNOWN, "other": InUse.UNKNOWN}


def test_without_process_1_nothing_is_said_to_be_unused(tmp_path: Path) -> None:
    assert set(ProcessSource(proc=tmp_path).look([HELD]).values()) == {Use(state=InUse.UNKNOWN, source=Source.PROCESS)}


def test_a_process_that_refuses_takes_every_no_away_but_no_yes(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.process(4711, "/dev/vfio/7")
    proc.process(4712)
    refuse(monkeypatch, proc.path / "4712/fd")
    assert proc.states() == {"held": InUse.YES, "other": InUse.UNKNOWN}


def test_a_process_that_ends_meanwhile_changes_nothing(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.process(4712)
    refuse(monkeypatch, proc.path / "4712/fd", ProcessLookupError)
    assert proc.states()["held"] is InUse.NO


def test_a_device_held_without_its_group_takes_every_no_away(proc: Proc) -> None:
    proc.process(4711, "anon_inode:[vfio-device]")
    assert proc.states() == {"held": InUse.UNKNOWN, "other": InUse.UNKNOWN}


def test_a_device_held_with_its_group_is_that_groups_device(proc: Proc) -> None:
    proc.process(4711, "/dev/vfio/7", "anon_inode:[vfio-device]")
    assert proc.states() == {"held": InUse.YES, "other": InUse.NO}


def test_the_threads_count_when_the_leader_has_ended(proc: Proc) -> None:
    proc.process(4711)
    proc.process(4711, "/dev/vfio/7", thread=4712)
    assert proc.states()["held"] is InUse.YES


def test_a_device_without_any_vfio_file_is_unknown(proc: Proc) -> None:
    bare = Instance(id="bare", parent="x", type="y")
    assert proc.states(bare) == {"bare": InUse.UNKNOWN}


def test_without_a_source_everything_is_unknown() -> None:
    assert NoSource().look([HELD]) == {"held": Use(state=InUse.UNKNOWN, source=Source.NONE)}


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path, error: type[OSError] = PermissionError) -> None:
    """Listing this directory fails (root may list everything, so permissions cannot show it)."""
    listing = os.scandir

    def scandir(directory: Path) -> object:
        if Path(directory) == path:
            raise error(str(path))
        return listing(directory)

    monkeypatch.setattr(os, "scandir", scandir)
