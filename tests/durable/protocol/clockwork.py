"""An event loop whose time passes only when it is told to, so that minutes cost nothing and nothing depends on chance.

Whatever is ready runs. When nothing is, the loop stops, or, within :meth:`Clockwork.advance`, time jumps to the next
timer. Calls that the agent makes in threads are made at once, in the loop's own thread: a model must not depend on
which thread is faster.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any

BEGAN = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
MOST_TURNS = 20_000
"""Turns of the loop within one :meth:`Clockwork.advance`: more of them is a busy loop."""


class _Selector(selectors.DefaultSelector):
    """Asks ``idle`` instead of waiting."""

    def __init__(self, idle: Callable[[float | None], None]) -> None:
        super().__init__()
        self._idle = idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._idle(timeout)
        return super().select(0)


class Clockwork(asyncio.SelectorEventLoop):
    """``now``: seconds since :data:`BEGAN`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._until = 0.0
        self._turns = 0
        super().__init__(_Selector(self._idle))

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float = 0.0) -> None:
        """Let this time pass; RuntimeError if the programs do not come to rest."""
        self._until, self._turns = self.now + seconds, 0
        self.run_forever()

    def _idle(self, timeout: float | None) -> None:
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise RuntimeError(f"{MOST_TURNS} turns of the loop within one stretch of time: somebody is busy for ever")
        if timeout is not None and timeout <= 0:
            return
        if timeout is not None and self.now + timeout <= self._until:
            self.now += timeout
            return
        self.now = self._until
        self.stop()

    def wall(self) -> type[datetime]:
        """What takes the place of the class ``datetime`` in a module that asks for the time of day."""
        clock = self

        class Wall(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return (BEGAN + timedelta(seconds=clock.now)).astimezone(tz)

        return Wall

    def monotonic(self) -> SimpleNamespace:
        """What takes the place of the module ``time`` where only its monotonic clock is asked."""
        return SimpleNamespace(monotonic=self.time)


class AtOnce:
    """What takes the place of ``threading.Thread``."""

    def __init__(self, *, target: Callable[[], Any], name: str, daemon: bool) -> None:
        self.start = target


THREADING = SimpleNamespace(Thread=AtOnce)
