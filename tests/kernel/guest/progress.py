"""Telling a person who waits what is going on: every slow step says what it does and how long that usually takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(message: str) -> None:
    """One line on standard error, at once."""
    print(f"guest: {message}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str, *, usually: str) -> Iterator[None]:
    """Announce ``what`` and its usual duration, and say at the end how long it took. A failure just raises."""
    say(f"{what} (usually {usually}) ...")
    begun = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - begun:.1f} s")
