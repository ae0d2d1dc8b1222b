"""Which faults a run has really met. A run in which a planned one never happened has not shown what it says."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable


class Account:
    """Counts by kind of fault, from any thread."""

    def __init__(self, planned: Iterable[str] = ()) -> None:
        self._planned = Counter(planned)
        self._met: Counter[str] = Counter()
        self._guard = threading.Lock()

    def count(self, kind: str, times: int = 1) -> None:
        """One more has happened."""
        with self._guard:
            self._met[kind] += times

    @property
    def met(self) -> Counter[str]:
        """What has happened so far."""
        with self._guard:
            return Counter(self._met)

    def never(self) -> list[str]:
        """Planned kinds of which not a single one has happened."""
        met = self.met
        return sorted(kind for kind in self._planned if not met[kind])

    def told(self) -> str:
        """For people: how often each happened, and of how many that were planned."""
        met = self.met
        kinds = sorted(self._planned.keys() | met.keys())
        planned = {kind: f" of {self._planned[kind]}" if kind in self._planned else "" for kind in kinds}
        width = max(map(len, kinds), default=0) + 2
        return "\n".join(f"  {kind:<{width}}{met[kind]}{planned[kind]}" for kind in kinds)
