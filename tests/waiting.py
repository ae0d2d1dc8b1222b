"""Waiting for a condition with a deadline: what every test does instead of sleeping.

A fixed sleep is either too short on a loaded machine or wasted on an idle one. Both functions look at once,
look again at short intervals, and fail with what they waited for and what they saw last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], *, timeout: float, what: str, interval: float = 0.05) -> T:
    """Return the first truthy answer of ``look``; after ``timeout`` seconds raise TimeoutError naming ``what``."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}; last seen: {seen!r}")
        time.sleep(interval)


async def eventually(
    look: Callable[[], Awaitable[T | None]], *, timeout: float, what: str, interval: float = 0.05
) -> T:
    """The same for a coroutine function, without blocking the event loop."""
    deadline = time.monotonic() + timeout
    while True:
        seen = await look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}; last seen: {seen!r}")
        await asyncio.sleep(interval)
