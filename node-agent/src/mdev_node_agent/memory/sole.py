"""One agent at a time has the state directory of a node: an advisory lock that ends with the process, and not before.

A process that was killed is not gone while the kernel is still inside a call that it made: a thread in uninterruptible
sleep keeps the files of its process open, and with them the lock. Until then a device may yet come into being that
nobody would own: a successor that undid the reservation meanwhile would find nothing to undo, and forget it. So it is
the kernel that gives the lock back, when the last thread is gone. Where an agent ends and its process goes on (several
nodes in one program, as tests have them), :meth:`SoleUse.let_go` waits in the same way for calls that are under way.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class EndedError(Exception):
    """The agent has ended; nothing may be begun any more."""


class SoleUse:
    """The right to write to a state directory, and to devices on the word of what it says. For any thread."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = state_dir
        self._guard = threading.Lock()
        self._fd: int | None = None
        self._missing = False
        self._under_way = 0
        self._ended = False
        self._last: Callable[[], None] = lambda: None

    def take(self) -> bool:
        """Take it; False: another agent has it. Makes the directory. OSError if it cannot be made or opened."""
        self._missing = True
        self.directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError:
            os.close(fd)
            raise
        self._fd, self._missing = fd, False
        return True

    def make_sure(self) -> None:
        """Take it now if that was tried in vain before. OSError: in vain again; BlockingIOError: another has it."""
        with self._guard:
            if self._missing and not self.take():
                raise BlockingIOError(errno.EWOULDBLOCK, f"another agent of this node has {self.directory}")

    @contextmanager
    def call(self) -> Iterator[None]:
        """Something that changes a device or what is remembered of it. EndedError if the agent has ended."""
        with self._guard:
            if self._ended:
                raise EndedError("this agent has ended: nothing is begun any more")
            self._under_way += 1
        try:
            yield
        finally:
            with self._guard:
                self._under_way -= 1
                self._give_back()

    def let_go(self, last: Callable[[], None] = lambda: None) -> None:
        """The agent ends: nothing new begins. When the last call is back ``last`` is called, and the lock goes."""
        with self._guard:
            self._ended, self._last = True, last
            self._give_back()

    def _give_back(self) -> None:
        if not self._ended or self._under_way:
            return
        self._last()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
