"""Turns at a steady rate, for writes that come in thousands and must leave the API server room for others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Pace:
    """At most ``per_second`` turns in the long run, and ``burst`` of them at once after a quiet time."""

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval = 1.0 / per_second
        self._credit = (burst - 1) * self._interval
        self._clock = clock
        self._sleep = sleep
        self._next = float("-inf")

    async def turn(self) -> None:
        """Wait for one's turn; turns are given in the order of asking."""
        now = (self._clock or asyncio.get_running_loop().time)()
        mine = max(self._next, now - self._credit)
        self._next = mine + self._interval
        if mine > now:
            await self._sleep(mine - now)
