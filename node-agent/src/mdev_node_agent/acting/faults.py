"""Exceptions that nobody expected, in the pass of one entry: a fault of this program, or of what it believed.

Such a fault is told with its traceback and keeps that entry alone: it is tried again after a growing pause, or as soon
as the entry itself changes. The agent and every other entry go on, for the guests of this node depend on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container

import structlog

from mdev_api.kinds.node_reservations import Entry
from mdev_api.kube.backoff import Backoff

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until an entry is tried again."""


class Faults:
    """The entries that rest after a fault. ``again``: called when the rest of one is over."""

    def __init__(self, again: Callable[[], None]) -> None:
        self._again = again
        self._pauses: dict[str, Backoff] = {}
        self._resting: dict[str, Entry] = {}

    def met(self, entry: Entry, error: Exception) -> None:
        """Tell the fault, and let the entry rest."""
        backoff = self._pauses.setdefault(entry.id, Backoff(initial=FIRST_PAUSE, maximum=LONGEST_PAUSE))
        pause = backoff.next()
        tell(entry.id, error, pause)
        self._resting[entry.id] = entry
        asyncio.get_running_loop().call_later(pause, self._over, entry)

    def rests(self, entry: Entry) -> bool:
        """Is it to be left alone for now?"""
        return self._resting.get(entry.id) == entry

    def passed(self, key: str) -> None:
        """The entry got through: its next fault is a first one."""
        self._pauses.pop(key, None)
        self._resting.pop(key, None)

    def keep(self, keys: Container[str]) -> None:
        """Forget all others."""
        self._pauses = {key: backoff for key, backoff in self._pauses.items() if key in keys}
        self._resting = {key: entry for key, entry in self._resting.items() if key in keys}

    def _over(self, entry: Entry) -> None:
        if self._resting.get(entry.id) is entry:
            del self._resting[entry.id]
            self._again()


def tell(key: str, error: Exception, pause: float) -> None:
    """Say in the log what happened to the reservation ``key``."""
    log.error(
        "a reservation met a fault of the agent: please report it",
        reservation=key,
        reason=repr(error),
        retry_in=round(pause, 2),
        exc_info=error,
    )
