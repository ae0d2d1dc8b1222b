"""What became of each migration, as whoever moved the machine knows it; the machines that run; what was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from tests.chaos.plan import Move


class Machine(Protocol):
    """A node as whoever runs virtual machines on it needs it: simulated, or a guest. ``boots``: its reboots so far."""

    name: str
    boots: int

    def open(self, device: str, boot: int) -> bool:
        """Open a device; False: it is not there, or this is another boot."""

    def close(self, device: str) -> None:
        """Close it."""

    def take_away(self, device: str) -> bool:
        """Remove it by hand, unless somebody has it open; whether it was there."""


@dataclass(kw_only=True)
class Vm:
    """A virtual machine: one open device. ``boot``: of its node, in which it runs; ``moves``: somebody moves it."""

    node: Machine
    device: str
    boot: int
    moves: bool = False

    @property
    def runs(self) -> bool:
        """Its node has not rebooted since."""
        return self.node.boots == self.boot

    def end(self) -> None:
        """It closes its device."""
        if self.runs:
            self.node.close(self.device)


@dataclass(kw_only=True)
class Story:
    """One migration. ``uid`` is that of its object; node, device and boot are what it was Ready with at last.

    ``told``: the outcome. ``gone``: the object was deleted by whoever made it. ``source``: node and device that moved.
    """

    move: Move
    name: str
    uid: str
    source: tuple[str, str] | None = None
    node: str | None = None
    device: str | None = None
    boot: int = -1
    told: str | None = None
    gone: bool = False
    ended: str = ""


@dataclass(kw_only=True)
class Register:
    """All of a run. ``taken``: devices that the harness removed by hand; ``wrongs``: what must not be, in sentences."""

    stories: list[Story] = field(default_factory=list)
    vms: list[Vm] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    wrongs: list[str] = field(default_factory=list)

    def running(self) -> list[Vm]:
        """The machines that run, oldest first."""
        self.vms = [vm for vm in self.vms if vm.runs]
        return self.vms
