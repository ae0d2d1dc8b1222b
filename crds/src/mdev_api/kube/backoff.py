"""How long to wait before the next try: exponential, bounded, and with jitter so that many do not come back at once."""

from __future__ import annotations

import random
from collections.abc import Callable

_BELIEVED = 60.0


class Backoff:
    """Delays from ``initial`` doubling to ``maximum`` seconds, each shortened at random by up to half.

    ``uniform(low, high)`` is where the chance comes from.
    """

    def __init__(
        self, *, initial: float, maximum: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._initial = initial
        self._maximum = maximum
        self._uniform = uniform
        self._failures = 0

    @property
    def failures(self) -> int:
        """How often ``next`` was asked since the last ``reset``."""
        return self._failures

    def next(self, at_least: float | None = None) -> float:
        """Seconds to wait now; not less than ``at_least`` (a server's Retry-After), of which a minute is believed."""
        # Beyond 2**63 the product only loses precision; the bound was reached long before.
        ceiling = min(self._maximum, self._initial * 2.0 ** min(self._failures, 63))
        self._failures += 1
        delay = self._uniform(ceiling / 2, ceiling)
        return delay if at_least is None else min(at_least, _BELIEVED) + delay

    def reset(self) -> None:
        """It worked: begin again at ``initial``."""
        self._failures = 0
