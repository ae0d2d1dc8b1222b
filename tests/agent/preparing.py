"""The part of an agent that carries reservations out, on a kernel in memory, without an API server; it can be cut off.

:class:`Lifeline` counts every lasting act (a line of the journal, a change of the ledger, a write to sysfs), once
before and once after it, and ends the process at the one that a test names: nothing that comes later happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mdev_api.kinds.node_reservations import FINAL_STATES, Entry, EntryAnswer, Failure, State
from mdev_api.kube.client import Client
from mdev_api.kube.credentials import Credentials
from mdev_node_agent.acting.answers import Answers
from mdev_node_agent.acting.collector import Collector
from mdev_node_agent.acting.hands import Hands
from mdev_node_agent.acting.preparer import Preparer
from mdev_node_agent.backends.backend import Backend
from mdev_node_agent.backends.every import every_backend
from mdev_node_agent.memory.journal import Journal
from mdev_node_agent.memory.ledger import Ledger, Made
from mdev_node_agent.memory.sole import SoleUse
from mdev_node_agent.publishing.inventory import profile_of
from mdev_node_agent.seeing.in_use import InUseSource
from mdev_node_agent.seeing.sight import Eye
from mdev_node_agent.settings import Deadlines
from mdev_node_agent.sysfs.port import Directory
from tests.agent.reservations import entry
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually


class CutError(BaseException):
    """The process has ended here. No Exception: what a program survives does not keep its process from ending."""


class Lifeline:
    """``at``: the act at which the process ends, counted from 1; None: it lives on."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.acts = 0

    def act(self) -> None:
        self.acts += 1
        if self.at is not None and self.acts >= self.at:
            raise CutError


class CutJournal(Journal):
    def __init__(self, state_dir: Path, boot_id: str, lifeline: Lifeline) -> None:
        super().__init__(state_dir, boot_id)
        self.lifeline = lifeline

    def append(self, reservation: str, line: Mapping[str, Any], *, sync: bool = True) -> None:
        self.lifeline.act()
        super().append(reservation, line, sync=sync)
        self.lifeline.act()


class CutLedger(Ledger):
    def __init__(self, state_dir: Path, boot_id: str, lifeline: Lifeline) -> None:
        super().__init__(state_dir, boot_id)
        self.lifeline = lifeline

    def add(self, made: Made) -> None:
        self.lifeline.act()
        super().add(made)
        self.lifeline.act()

    def strike(self, instance: str) -> None:
        self.lifeline.act()
        super().strike(instance)
        self.lifeline.act()


class _Directory:
    def __init__(self, inner: Directory, lifeline: Lifeline) -> None:
        self._inner = inner
        self._lifeline = lifeline
        self.name = inner.name
        self.list, self.read, self.link, self.close = inner.list, inner.read, inner.link, inner.close

    def open(self, name: str) -> _Directory:
        return _Directory(self._inner.open(name), self._lifeline)

    def write(self, name: str, data: bytes) -> None:
        self._lifeline.act()
        self._inner.write(name, data)
        self._lifeline.act()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CutPort:
    def __init__(self, kernel: MemoryKernel, lifeline: Lifeline) -> None:
        self._kernel = kernel
        self._lifeline = lifeline
        self.boot_id, self.events = kernel.boot_id, kernel.events

    def open(self, path: str) -> _Directory:
        return _Directory(self._kernel.open(path), self._lifeline)


class Bench:
    """A kernel, and an agent's preparer on it; ``told`` says what stands."""

    def __init__(
        self,
        kernel: MemoryKernel,
        state_dir: Path,
        *,
        backends: Sequence[Backend] | None = None,
        source: InUseSource | None = None,
        lifeline: Lifeline | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.kernel = kernel
        lifeline = lifeline or Lifeline()
        port, boot_id = CutPort(kernel, lifeline), kernel.boot_id()
        known = every_backend(state_dir) if backends is None else backends
        self.eye = Eye(port, known, source or kernel)
        self.ledger = CutLedger(state_dir, boot_id, lifeline)
        self.journal = CutJournal(state_dir, boot_id, lifeline)
        self.journal.open()
        self.hands = Hands(
            port=port,
            backends=known,
            journal=self.journal,
            ledger=self.ledger,
            boot_id=boot_id,
            sole=SoleUse(state_dir),
        )
        # No request is ever sent: nothing runs the answers' way to the API server.
        self.answers = Answers(Client(Credentials(server="http://127.0.0.1:1", origin="test")), "node", boot_id)
        self.preparer = Preparer(
            eye=self.eye, hands=self.hands, answers=self.answers, deadlines=deadlines or Deadlines()
        )
        self.eye.on_look = lambda sight: self.preparer.poke()
        self.before: dict[str, EntryAnswer] = {}
        self.task: asyncio.Task[None] | None = None

    def told(self, *contents: dict[str, Any]) -> None:
        """These entries stand now."""
        self.answers.stand(tuple(content["id"] for content in contents), {})
        self.before = dict(self.answers.given)
        self.preparer.take([Entry.model_validate(content) for content in contents])

    def collector(self, clock: Callable[[], float]) -> Collector:
        """The rule of what nobody holds, by this clock."""
        return Collector(
            eye=self.eye,
            hands=self.hands,
            held=lambda: self.preparer.held,
            stand=lambda: {entry.id for entry in self.preparer.entries},
            clock=clock,
        )

    async def comes(self, what: Callable[[EntryAnswer], bool], entry_id: str = "move-1") -> EntryAnswer:
        """Wait for an answer. CutError: the process has ended before."""

        async def look() -> EntryAnswer | None:
            if self.task is not None and self.task.done():
                raise CutError
            answer = self.answers.given.get(entry_id)
            return answer if answer is not None and what(answer) else None

        return await eventually(look, timeout=30, what=f"the answer to {entry_id}", interval=0.002)

    async def settles(self, state: State, entry_id: str = "move-1") -> EntryAnswer:
        """Wait for this state; any other end since :meth:`told` is an error."""
        last, before = (*FINAL_STATES, State.FAILED, State.TAINTED), self.before.get(entry_id)

        def ended(answer: EntryAnswer) -> bool:
            return answer.state is state or (answer.state in last and answer != before)

        answer = await self.comes(ended, entry_id)
        assert answer.state is state, answer
        return answer

    async def fails(self, entry_id: str = "move-1") -> Failure:
        """Wait for Failed."""
        failure = (await self.settles(State.FAILED, entry_id)).failure
        assert failure is not None
        return failure

    def new(
        self,
        parent: str,
        type_id: str,
        entry_id: str = "move-1",
        *,
        intent: str = "Hold",
        values: Sequence[dict[str, str]] = (),
    ) -> dict[str, Any]:
        """An entry that asks for a new device of this type."""
        assert self.eye.latest is not None
        offer = self.eye.latest.observation.offer(parent, type_id)
        assert offer is not None, f"no {type_id} on {parent}"
        create = {"create": {"parent": parent, "type": type_id, "profile": profile_of(offer).name}}
        return entry(entry_id, boot_id=self.kernel.boot_id(), device=create, values=values, intent=intent)


@asynccontextmanager
async def preparing(kernel: MemoryKernel, state_dir: Path, **more: Any) -> AsyncIterator[Bench]:
    """An agent's preparer, running within the block; leaving it is a crash like any other: nothing is cleaned up."""
    one = Bench(kernel, state_dir, **more)
    await one.eye.look()
    one.task = asyncio.create_task(one.preparer.run())
    try:
        yield one
    finally:
        one.task.cancel()
        await asyncio.gather(one.task, return_exceptions=True)
        one.journal.close()
