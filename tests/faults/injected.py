"""Faults that are in force on a proxy, and how often each was met."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator

from tests.faults.fault import Fault
from tests.faults.request import Seen


class Injected:
    """One fault from its injection on. ``fired``: how many requests it has met so far."""

    def __init__(self, fault: Fault, loop: asyncio.AbstractEventLoop) -> None:
        self.fault = fault
        self.fired = 0
        self.over = asyncio.Event()
        """Belongs to the proxy's loop: set when the fault ends, so that whoever hangs is let go."""
        self._loop = loop
        self._lock = threading.Lock()
        self._active = True

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.fault.name

    def takes(self, seen: Seen) -> bool:
        """Whether this request meets the fault; it is counted then."""
        with self._lock:
            left = self.fault.times is None or self.fired < self.fault.times
            if not (self._active and left and self.fault.match.holds(seen)):
                return False
            self.fired += 1
            return True

    def end(self) -> None:
        """From now on no request meets it. Twice is harmless."""
        with self._lock:
            self._active = False
        self._loop.call_soon_threadsafe(self.over.set)


class Register:
    """All faults of one proxy, in the order of their coming: the first that takes a request has it."""

    def __init__(self) -> None:
        self._all: list[Injected] = []

    def __iter__(self) -> Iterator[Injected]:
        return iter(tuple(self._all))

    def add(self, injected: Injected) -> None:
        """In force from now on."""
        self._all.append(injected)

    def taking(self, seen: Seen) -> Injected | None:
        """The fault that this request meets."""
        return next((injected for injected in self if injected.takes(seen)), None)

    def tally(self) -> Counter[str]:
        """How many requests each fault has met, by name; one that met none is there with 0."""
        counted: Counter[str] = Counter()
        for injected in self:
            counted[injected.name] += injected.fired
        return counted

    def unfired(self) -> tuple[Fault, ...]:
        """Faults that no request has met: a run that has one has not shown what it says."""
        return tuple(injected.fault for injected in self if not injected.fired)
