"""The interface of a back-end: discovery, create, configure, read back, release.

A back-end is one file with these five functions and nothing else: adding one touches no other. All names it is given
were validated against an :class:`~mdev_node_agent.seeing.observation.Observation` of this node first (design section
7), and all errors are OSError with the kernel's errno.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mdev_node_agent.seeing.observation import Instance, Parent, Unreadable
from mdev_node_agent.sysfs.port import Port


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a back-end saw. ``unreadable`` here: what belongs to no parent that could be shown."""

    parents: tuple[Parent, ...] = ()
    instances: tuple[Instance, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


class Backend(Protocol):
    """One kind of device, e.g. mediated devices."""

    @property
    def name(self) -> str:
        """``spec.backend`` of its DeviceProfiles."""

    def discover(self, port: Port) -> Findings:
        """Everything of this kind on the node. An attribute that cannot be read is told in the result, not raised.

        OSError only where nothing at all can be seen, e.g. the directory that lists the parents cannot be opened.
        """

    def create(self, port: Port, *, parent: str, type_id: str, instance: str) -> None:
        """Make the instance. EEXIST: it is there already; ENOSPC, EUSERS, ENOMEM...: no room."""

    def read(self, port: Port, *, instance: str, attribute: str) -> str:
        """Text of one parameter file of the instance, less one trailing newline. ``attribute``: see ``write``."""

    def write(self, port: Port, *, instance: str, attribute: str, text: str) -> None:
        """Hand canonical text and one newline to the driver in one call.

        ``attribute`` is a path of one or two components relative to the instance, e.g. ``migration/memory``; the
        back-end refuses (PermissionError, EACCES) any that discovery did not list for this instance.
        """

    def release(self, port: Port, *, instance: str) -> None:
        """Give the device back to the parent. May block for ever while somebody has it open."""
