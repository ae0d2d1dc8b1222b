"""Who holds a device open? sysfs does not tell, so the answer is Yes, No or Unknown, with the source that gave it.

Whoever removes a device relies on a No, so a No is only given by a source that would have seen every user. Another
source (a device plugin's PodResources) answers through the same interface.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from mdev_node_agent.seeing.observation import Instance

HOST_PID_NAMESPACE = "pid:[4026531836]"
"""The initial pid namespace: its inode number is part of the kernel's ABI (PROC_PID_INIT_INO)."""
_DEVICE_FD = "anon_inode:[vfio-device]"


class InUse(StrEnum):
    """Is the device open? As in NodeDevices (spelled again here: the agent starts without pydantic)."""

    YES = "Yes"
    NO = "No"
    UNKNOWN = "Unknown"


class Source(StrEnum):
    """Who says so."""

    POD_RESOURCES = "PodResources"
    PROCESS = "Process"
    DRIVER = "Driver"
    NONE = "None"


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """One answer."""

    state: InUse
    source: Source


class InUseSource(Protocol):
    """Looks at all instances at once: one pass over whatever it asks."""

    def look(self, instances: Sequence[Instance]) -> Mapping[str, Use]:
        """An answer for each instance, by its id. Blocking; never raises for what it may not see: that is Unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoSource:
    """Nobody can tell, as in a pod without the host's pid namespace."""

    def look(self, instances: Sequence[Instance]) -> Mapping[str, Use]:
        """Unknown for each."""
        return {instance.id: Use(state=InUse.UNKNOWN, source=Source.NONE) for instance in instances}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessSource:
    """Looks through the open files of every process for ``/dev/vfio/<group>`` and ``/dev/vfio/devices/<vfioN>``.

    It says No only if it saw every process: ``proc`` is of the initial pid namespace and no process refused. A process
    that holds a VFIO device without its group (the group's file closed, or the descriptor handed over) cannot be
    assigned to an instance, so while there is one nobody gets a No. Not seen: a descriptor that is on its way through a
    socket, or one left only as a memory mapping.
    """

    proc: Path = Path("/proc")

    def look(self, instances: Sequence[Instance]) -> Mapping[str, Use]:
        """One pass over /proc for all instances; none at all if there are no instances."""
        if not instances:
            return {}
        sight = _look_at_processes(self.proc)
        return {instance.id: Use(state=_state(instance, sight), source=Source.PROCESS) for instance in instances}


@dataclass(kw_only=True, slots=True)
class _Sight:
    """What one pass saw: names of open files below a ``vfio`` directory, and whether it saw every process."""

    groups: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    complete: bool = True


def _state(instance: Instance, sight: _Sight) -> InUse:
    if instance.vfio_group in sight.groups or instance.vfio_device in sight.devices:
        return InUse.YES
    has_node = instance.vfio_group is not None or instance.vfio_device is not None
    return InUse.NO if sight.complete and has_node else InUse.UNKNOWN


def _look_at_processes(proc: Path) -> _Sight:
    sight = _Sight(complete=_is_of_the_host(proc))
    try:
        processes = [name for name in _names(proc) if name.isdigit()]
    except OSError:
        return _Sight(complete=False)
    for process in processes:
        try:
            _take(sight, _open_files(proc / process))
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            sight.complete = False
    return sight


def _take(sight: _Sight, targets: Iterable[str]) -> None:
    groups: set[str] = set()
    devices: set[str] = set()
    has_device = False
    for target in targets:
        head, _, name = target.rpartition("/")
        if head.endswith("/vfio/devices"):
            devices.add(name)
        elif head.endswith("/vfio") and name != "vfio":
            groups.add(name)
        has_device |= target == _DEVICE_FD
    sight.groups |= groups
    sight.devices |= devices
    if has_device and not groups:
        sight.complete = False


def _open_files(process: Path) -> list[str]:
    """Targets of the files that a process has open. OSError if it may not be seen or is gone.

    An empty table is a kernel thread's, or that of a leader which ended before its threads: then the threads count.
    """
    targets = _targets(process / "fd")
    if targets:
        return targets
    others = [thread for thread in _names(process / "task") if thread != process.name]
    return [target for thread in others for target in _targets(process / "task" / thread / "fd")]


def _targets(table: Path) -> list[str]:
    targets = []
    for name in _names(table):
        try:
            targets.append(str((table / name).readlink()))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return targets


def _names(directory: Path) -> list[str]:
    with os.scandir(directory) as found:
        return [entry.name for entry in found]


def _is_of_the_host(proc: Path) -> bool:
    """Does this /proc show every process of the machine? Only then is process 1 of the initial pid namespace."""
    try:
        return str((proc / "1/ns/pid").readlink()) == HOST_PID_NAMESPACE
    except OSError:
        return False
