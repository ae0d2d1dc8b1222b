"""One node: a kernel in memory with the real, whole agent on it, which can end at any of its acts and begin again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mdev_node_agent.memory.journal import Journal
from mdev_node_agent.memory.record import Record
from mdev_node_agent.run import run
from mdev_node_agent.seeing.in_use import Use
from mdev_node_agent.seeing.observation import Instance
from mdev_node_agent.seeing.sight import UNKNOWN
from mdev_node_agent.settings import RunSettings
from tests.agent.preparing import CutError, CutPort, Lifeline
from tests.durable.protocol.clockwork import Clockwork
from tests.durable.protocol.store import Store
from tests.durable.protocol.wire import Wire
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel

PARENT = "class/mdev_bus/gfx0"
RESCAN = 240.0
"""Seconds between two rescans: events tell most, and a minute would cost most of the time that the model takes."""


class BrokenError(AssertionError):
    """A law of the protocol is broken."""


@dataclass(kw_only=True, eq=False)
class Node:
    """``processes``: what the agents that run now are told instead of their command line, by state directory.

    ``blind``: nobody can tell who has a device open. ``foreign``: devices that others have made. ``forgot``: a state
    directory was lost in this boot, so that not all that was made is known any more.
    """

    name: str
    clock: Clockwork
    store: Store
    directory: Path
    processes: dict[Path, Node]
    kernel: MemoryKernel = field(init=False)
    lifeline: Lifeline = field(default_factory=Lifeline)
    wire: Wire = field(init=False)
    dead_wires: list[Wire] = field(default_factory=list)
    agent: asyncio.Task[None] | None = None
    boots: int = 1
    blind: bool = False
    forgot: bool = False
    foreign: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.kernel = MemoryKernel(drivers=[Gfx(types=("4GB", "varGB"), pool_mb=8192)], boot_id=self.boot)
        self.wire = Wire(store=self.store, name=f"agent of {self.name}")

    @property
    def boot(self) -> str:
        """Identity of the boot."""
        return f"{self.name}-boot-{self.boots}"

    def start(self) -> None:
        """The agent's process begins, unless one runs."""
        self.bury()
        if self.agent is not None:
            return
        self.lifeline = Lifeline()
        self.wire = Wire(store=self.store, name=f"agent of {self.name}")
        self.processes[self.directory] = self
        settings = RunSettings(
            node=self.name, kubeconfig=self.directory, state_dir=self.directory, rescan_seconds=RESCAN
        )
        port = CutPort(self.kernel, self.lifeline)
        self.agent = self.clock.create_task(run(settings, port=port, source=self), name=self.wire.name)

    def crash(self) -> None:
        """The agent's process ends where it is."""
        if self.agent is not None:
            self.agent.cancel()
            self.clock.advance()
            self.bury()

    def bury(self) -> None:
        """Notice that the process has ended. BrokenError: by a fault, and not because it was cut off or cancelled."""
        if self.agent is None or not self.agent.done():
            return
        error = None if self.agent.cancelled() else self.agent.exception()
        self.agent = None
        self.wire.close()
        self.dead_wires.append(self.wire)
        for fault in _leaves(error):
            if not isinstance(fault, CutError):
                raise BrokenError(f"the agent of {self.name} ended: {fault!r}") from fault

    def forget(self) -> None:
        """The state directory is lost, while the agent is down."""
        for path in self.directory.iterdir():
            path.unlink()
        self.forgot = True

    def reboot(self) -> None:
        """Another boot: no mdev, no VM."""
        self.crash()
        self.boots += 1
        self.kernel.reboot(self.boot)
        self.foreign.clear()
        self.forgot = False

    def make(self, device: str, mdev_type: str) -> bool:
        """Somebody else makes a device; False: there is no room."""
        try:
            self.kernel.write(f"{PARENT}/mdev_supported_types/gfx-{mdev_type}/create", device)
        except OSError:
            return False
        self.foreign.add(device)
        return True

    def steal(self) -> None:
        """Somebody removes the first device that we made and no VM has open."""
        idle = (device for device in self.kernel.devices() if device not in self.foreign and self._idle(device))
        device = next(idle, None)
        if device is not None:
            self.kernel.write(f"bus/mdev/devices/{device}/remove", "1")

    def _idle(self, device: str) -> bool:
        try:
            self.kernel.open_device(device)
        except OSError:
            return False
        self.kernel.close_device(device)
        return True

    def records(self) -> Mapping[str, Record]:
        """What the journal says that was begun and has not ended."""
        journal = Journal(self.directory, self.boot)
        journal.open()
        journal.close()
        return journal.records

    def look(self, instances: Sequence[Instance]) -> Mapping[str, Use]:
        """Who uses what, as the agent asks it."""
        return {instance.id: UNKNOWN for instance in instances} if self.blind else self.kernel.look(instances)


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    elif error is not None:
        yield error


@contextmanager
def quietly() -> Iterator[None]:
    """OSError of a kernel that answers somebody who is no part of the model is of no interest."""
    with suppress(OSError):
        yield
