"""The small port behind which sysfs stands.

The agent knows the kernel only as directories that can be opened, listed, read and written, and as a stream of
uevents. The real kernel (:mod:`mdev_node_agent.sysfs.host`) and the in-memory kernel of the tests stand behind the
same port; the product has no other branch.

An opened directory is pinned: after the device behind it is gone, its operations raise OSError (ENOENT or ENODEV),
they never reach a successor of the same name. Only ``list`` does not tell: sysfs lists a directory that is gone as
empty, so whoever concludes something from an empty list looks for another sign of life. Errors are OSError with the
kernel's errno; the port swallows none, and adds only EFBIG and EIO where its own methods say so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

LARGEST_ATTRIBUTE = 1 << 20
"""Bytes. Text attributes have a page, a published JSON has no size that a driver must keep to."""


class Directory(AbstractContextManager["Directory"], Protocol):
    """An opened sysfs directory. ``name`` is always one path component; a port refuses anything else (ValueError)."""

    @property
    def name(self) -> str:
        """Last component of the directory's own path, symlinks resolved (a device's or type's kernel name)."""

    def open(self, name: str) -> Directory:
        """Open a subdirectory, following a symlink as sysfs has many."""

    def list(self) -> list[str]:
        """Names of all entries, sorted; none where the directory is gone."""

    def read(self, name: str) -> bytes:
        """The whole content of an attribute, as the driver shows it. EFBIG: more than LARGEST_ATTRIBUTE."""

    def write(self, name: str, data: bytes) -> None:
        """Hand ``data`` to the driver in one write call; EIO if it takes only a part.

        May block without end (``remove`` of an open device).
        """

    def link(self, name: str) -> str:
        """Last component of the symlink's target (``driver`` -> ``vfio-pci``); ENOENT if absent, EINVAL if no link."""

    def close(self) -> None:
        """Give the handle back; closing twice is harmless."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Uevent:
    """One kernel uevent: ``action`` add, remove, change, bind, unbind...; ``devpath`` below /sys."""

    action: str
    devpath: str
    subsystem: str
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class EventsLost:
    """The kernel dropped events (ENOBUFS): only a full rescan tells what is there now."""


class Port(Protocol):
    """The kernel of one node."""

    def open(self, path: str) -> Directory:
        """Open a directory by its path relative to the root of sysfs, e.g. ``bus/mdev/devices``."""

    def boot_id(self) -> str:
        """Identity of this boot (/proc/sys/kernel/random/boot_id): mdevs do not survive a change of it."""

    def events(self) -> AsyncIterator[Uevent | EventsLost]:
        """Subscribe now; iterate for ever."""
