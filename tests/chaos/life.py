"""The life of one agent process that runs as a thread, and its end by SIGKILL at a named step.

A step is something that lasts: a line of the journal, a change of the ledger, a write to sysfs, a request to the API
server, each *before* and *after* it, and *inside* a call into the kernel. Where a step is snared the process is dead:

* from then on nothing of it happens any more. Whichever of its threads comes to its next act is parked there;
* a call that is in the kernel goes on until the kernel returns, as it would with a real process. Until then the
  process is not gone: it has its files open, and with them its lock on the state directory;
* then it is gone: what was parked is thrown away.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


class KilledError(BaseException):
    """Thrown into the threads of a process that is gone; no code of the agent catches it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snare:
    """Kill the agent that comes to this step, the ``nth`` time that any agent does; ``reboot``: its machine too.

    ``hold``: seconds that a call which it was inside of still takes.
    """

    step: str
    nth: int = 1
    reboot: bool = False
    hold: float = 2.0


@dataclass(kw_only=True)
class Snares:
    """What is armed for all agents of a run, and how often each step was passed and each snare has sprung."""

    armed: list[tuple[Snare, int]] = field(default_factory=list)
    """Each with the count of its step at which it springs."""
    passed: Counter[str] = field(default_factory=Counter)
    sprung: Counter[str] = field(default_factory=Counter)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, snare: Snare) -> None:
        """From now on."""
        with self.guard:
            self.armed.append((snare, self.passed[snare.step] + snare.nth))

    def clear(self) -> None:
        """Nothing is armed any more."""
        with self.guard:
            self.armed.clear()

    def passing(self, step: str) -> Snare | None:
        """An agent comes to this step; the snare that it is caught in. Each catches one."""
        with self.guard:
            self.passed[step] += 1
            for armed in self.armed:
                snare, at = armed
                if snare.step == step and self.passed[step] >= at:
                    self.armed.remove(armed)
                    self.sprung[step] += 1
                    return snare
        return None


class Life:
    """From the start of an agent to the last of it. ``on_death`` is called once, in whichever thread it died."""

    current: ContextVar[Life] = ContextVar("the process whose code runs")

    def __init__(self, snares: Snares) -> None:
        self.snares = snares
        self.on_death: Callable[[], None] = lambda: None
        self.snare: Snare | None = None
        self.dead = threading.Event()
        self._gone = threading.Event()
        self._calls = 0
        self._changed = threading.Condition()

    def step(self, name: str) -> None:
        """Come to a step that no call into the kernel is part of; does not return to a process that is dead."""
        self.alive()
        snare = self.snares.passing(name)
        if snare is not None:
            self.kill(snare)
            self.alive()

    def alive(self) -> None:
        """Go on if the process lives; else stay here until it is gone, and then end."""
        if self.dead.is_set():
            self._gone.wait()
            raise KilledError

    def kill(self, snare: Snare | None = None) -> None:
        """SIGKILL."""
        with self._changed:
            if self.dead.is_set():
                return
            self.snare = snare
            self.dead.set()
        self.on_death()

    @contextmanager
    def in_kernel(self, inside: str | None = None) -> Iterator[None]:
        """A call into the kernel. ``inside``: the step at which the process may be killed while the call goes on."""
        while True:
            self.alive()
            with self._changed:
                if not self.dead.is_set():
                    self._calls += 1
                    break
        try:
            snare = None if inside is None else self.snares.passing(inside)
            if snare is not None:
                self.kill(snare)
                time.sleep(snare.hold)
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()
        self.alive()

    def wait_last_call(self) -> None:
        """Wait until the kernel has returned from every call of a process that is dead; then it is gone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._calls)
        self._gone.set()
