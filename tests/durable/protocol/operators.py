"""One operator process: the real shells, started one key at a time, with every write held up as the model wants it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

from mdev_api.kube.client import ApiError, Unreachable
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from mdev_operator import run as process
from mdev_operator.kubevirt.adapter import Adapter
from mdev_operator.leading.elector import LeadershipLost, Term
from mdev_operator.migration.reconcile import key_for
from mdev_operator.run import OperatorSettings
from tests.durable.protocol.clockwork import Clockwork
from tests.durable.protocol.store import Change, Store
from tests.durable.protocol.wire import Wire

RETRY = 1.0


@dataclass(kw_only=True)
class Throne:
    """The operators' Lease: its transitions, and who holds it."""

    transitions: int = 0
    holder: Seat | None = None


class Seat:
    """An elector that believes for ever that it leads: a process that sleeps does not know better."""

    def __init__(self, throne: Throne) -> None:
        throne.transitions += 1
        throne.holder = self
        self._throne = throne
        self.fence = throne.transitions

    def still_leading(self) -> bool:
        return True

    async def raise_fence(self, above: int) -> Term:
        if self._throne.holder is not self:
            raise LeadershipLost("another one holds the Lease")
        self._throne.transitions = self.fence = max(self.fence, above + 1)
        return Term(identity="model", fence=self.fence)


@dataclass(kw_only=True)
class Agenda:
    """Keys that are due, in their order; what the operator's queue is filled with."""

    clock: Clockwork
    due: dict[str, None] = field(default_factory=dict)
    _later: dict[str, asyncio.TimerHandle] = field(default_factory=dict)

    def add(self, key: str, *, first: bool = False) -> None:
        self.due.setdefault(key, None)

    def add_after(self, key: str, seconds: float) -> None:
        timer = self._later.get(key)
        if timer is not None and timer.when() <= self.clock.now + seconds:
            return
        if timer is not None:
            timer.cancel()
        self._later[key] = self.clock.call_later(seconds, self._ring, key)

    def close(self) -> None:
        for timer in self._later.values():
            timer.cancel()

    def _ring(self, key: str) -> None:
        del self._later[key]
        self.add(key)


class Operator:
    """Begins to lead at once: it lists everything and raises the fence."""

    def __init__(self, clock: Clockwork, store: Store, throne: Throne) -> None:
        self.clock = clock
        self.seat = Seat(throne)
        self.wire = Wire(store=store, name=f"operator {self.seat.fence}", fence=lambda: self.seat.fence)
        self.agenda = Agenda(clock=clock)
        self.ended = False
        self.faults: list[BaseException] = []
        self._lost = asyncio.Event()
        self._term = {"fence": 0}
        self._running: dict[str, asyncio.Task[None]] = {}
        make = cast(Any, process)._context
        self._ctx = make(self.wire, self.seat, self.agenda, OperatorSettings(), lambda: self._term["fence"])
        self._handle = process._handler(self._ctx, cast(Adapter, None), self._lost)
        store.watchers.append(self._created)
        for obj in store.all(DEVICE_MIGRATIONS.plural):
            self.agenda.add(key_for(obj["metadata"]["namespace"], obj["metadata"]["name"]))
        ready = process._get_ready(self._ctx, cast(Any, self.seat), self._term, self._lost)
        self._tasks = [clock.create_task(self._ctx.inventory.run()), clock.create_task(ready)]

    @property
    def leads(self) -> bool:
        """Has it raised its fence, and does it still run?"""
        return bool(self._term["fence"]) and not self.ended

    @property
    def idle(self) -> list[str]:
        """Keys that are due and can be begun."""
        return [key for key in self.agenda.due if key not in self._running] if self.leads else []

    def begin(self, key: str) -> None:
        """Begin to handle a key; what it writes waits unless the wire lets it pass."""
        self.agenda.due.pop(key, None)
        task = self.clock.create_task(self._handle(key), name=key)
        self._running[key] = task
        task.add_done_callback(lambda done: self._done(key, done))

    def work(self, most: int = 200) -> None:
        """Handle whatever is due, until nothing is."""
        for _ in range(most):
            idle = self.idle
            if not idle:
                return
            for key in idle:
                self.begin(key)
            self.clock.advance()
            self.notice()
        raise RuntimeError(f"the operator is busy for ever: {self.idle}")

    def notice(self) -> None:
        """End the process if it has learnt that another one leads."""
        if self._lost.is_set():
            self.end()

    def end(self) -> None:
        """The process is gone; what it had sent may still arrive."""
        if self.ended:
            return
        self.ended = True
        for task in (*self._tasks, *self._running.values()):
            task.cancel()
        self.agenda.close()
        self.wire.store.watchers.remove(self._created)
        self.wire.close()
        self.clock.advance()

    def _created(self, change: Change) -> None:
        """As kopf's watch tells it."""
        obj = change.new or change.old
        if change.plural == DEVICE_MIGRATIONS.plural and obj is not None:
            self.agenda.add(key_for(obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def _done(self, key: str, task: asyncio.Task[None]) -> None:
        del self._running[key]
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, ApiError | Unreachable):
            self.agenda.add_after(key, RETRY)
        elif error is not None:
            self.faults.append(error)
