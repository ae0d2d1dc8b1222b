"""A look goes on without a read that a driver does not answer.

A driver's ``show()`` may wait for a mutex that its hung ``store()`` holds, and nothing ends that wait. So a look is a
series of tries, each in a thread of its own and through a port that knows which read it is waiting for. A try whose
read lasts too long is given up, and the next one takes that attribute for unreadable (ETIMEDOUT), and with it what else
is in its directory and had not been read before: it most likely waits for the same. That is so until the read returns.
The thread of a try that was given up ends then, too, so an attribute that hangs costs one.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from mdev_node_agent.blocking import start
from mdev_node_agent.seeing.observation import Unreadable
from mdev_node_agent.sysfs.attribute import UnansweredError, unreadable
from mdev_node_agent.sysfs.port import Directory, EventsLost, Port, Uevent

T = TypeVar("T")


class GivenUpError(Exception):
    """Nobody waits for this try any more."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Hang:
    """A read that has not returned. ``answered``: what had been read in its directory before."""

    directory: str
    name: str
    answered: frozenset[str]

    def covers(self, directory: str, name: str) -> bool:
        """May this attribute wait for the same?"""
        return directory == self.directory and name not in self.answered

    @property
    def told(self) -> Unreadable:
        """What to tell of it."""
        path = f"{self.directory}/{self.name}"
        return unreadable(path, self.name, _unanswered(path))


class Try:
    """The kernel of one try at a look: a port. ``hangs``: reads that are known not to return."""

    def __init__(self, port: Port, hangs: Collection[Hang]) -> None:
        self._port = port
        self._hangs = hangs
        self._read: set[tuple[str, str]] = set()
        self._waits: tuple[str, str, float] | None = None
        self._given_up = False
        self.met: dict[Hang, None] = {}
        """Those of the hangs that kept something from being read."""

    def boot_id(self) -> str:
        """As the port says."""
        return self._port.boot_id()

    def events(self) -> AsyncIterator[Uevent | EventsLost]:
        """As the port says."""
        return self._port.events()

    def open(self, path: str) -> Directory:
        """Open a directory whose reads are watched."""
        return _Directory(self._port.open(path), path, self)

    def read(self, path: str, name: str, read: Callable[[str], bytes]) -> bytes:
        """Read; UnansweredError if that is known to hang, GivenUpError if nobody waits for it any more."""
        hang = next((hang for hang in self._hangs if hang.covers(path, name)), None)
        if hang is not None:
            self.met[hang] = None
            raise _unanswered(f"{path}/{name}")
        self._waits = (path, name, time.monotonic())
        try:
            content = read(name)
        finally:
            self._waits = None
            if self._given_up:
                raise GivenUpError
        self._read.add((path, name))
        return content

    def give_up(self) -> None:
        """End at the next read, or as soon as the present one returns."""
        self._given_up = True

    async def ends(self, call: asyncio.Future[T], patience: float) -> Hang | None:
        """Wait until the call that makes this try is done; a read that has lasted for ``patience`` seconds if not."""
        left = patience
        while not (await asyncio.wait({call}, timeout=left))[0]:
            waits, lasted = self._waits, 0.0
            if waits is not None:
                path, name, since = waits
                lasted = time.monotonic() - since
                if lasted >= patience:
                    answered = frozenset(other for at, other in self._read.copy() if at == path)
                    return Hang(directory=path, name=name, answered=answered)
            left = patience - lasted
        return None


async def make(attempt: Try, look: Callable[[Try], T], patience: float) -> tuple[asyncio.Future[T], Hang | None]:
    """Look in a thread through this try. With a hang: it is given up, and the future is done when that is over."""
    call = start(lambda: look(attempt), name="look")
    try:
        hang = await attempt.ends(call, patience)
    except asyncio.CancelledError:
        attempt.give_up()
        call.cancel()
        raise
    if hang is not None:
        attempt.give_up()
    return call, hang


class _Directory(AbstractContextManager["Directory"]):
    """A directory whose reads are watched; ``path`` as it was opened."""

    def __init__(self, inner: Directory, path: str, attempt: Try) -> None:
        self._inner = inner
        self._path = path
        self._attempt = attempt
        self.list, self.write, self.link, self.close = inner.list, inner.write, inner.link, inner.close

    @property
    def name(self) -> str:
        return self._inner.name

    def open(self, name: str) -> Directory:
        return _Directory(self._inner.open(name), f"{self._path}/{name}", self._attempt)

    def read(self, name: str) -> bytes:
        return self._attempt.read(self._path, name, self._inner.read)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.close()


def _unanswered(path: str) -> UnansweredError:
    return UnansweredError(errno.ETIMEDOUT, "the driver does not answer", path)
