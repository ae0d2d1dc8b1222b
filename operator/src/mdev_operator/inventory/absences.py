"""For how long something has been missed, on this process's monotonic clock: Nodes, and references to profiles.

What was missed before this process began is not known, so counting starts at the first look; whatever is done after
that time is done late rather than early.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

INTERVALS = 4
"""How often it is looked at least until the time is over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Absences:
    """``after``: seconds without a break after which something is gone for good. ``clock``: monotonic seconds.

    ``most``: the longest pause between two looks, in seconds.
    """

    after: float
    most: float = 60.0
    clock: Callable[[], float] = time.monotonic
    since: dict[str, float] = field(default_factory=dict)

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        return min(self.most, self.after / INTERVALS)

    def missed(self, name: str) -> float:
        """It was looked for and is not there: seconds that are left until it is gone for good; 0 when it is."""
        now = self.clock()
        return max(0.0, self.since.setdefault(name, now) + self.after - now)

    def forget(self, name: str) -> None:
        """It is there, or nobody asks for it any more."""
        self.since.pop(name, None)

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget all but these."""
        kept = set(names)
        for name in [name for name in self.since if name not in kept]:
            del self.since[name]

    def gone(self) -> frozenset[str]:
        """What has been missed for long enough."""
        now = self.clock()
        return frozenset(name for name, since in self.since.items() if now - since >= self.after)
