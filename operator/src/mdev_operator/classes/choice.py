"""Pure choices about classes: which come first, which labels a node carries, when they are written, what is forgotten.

Order: classes that an unfinished migration names, then classes of devices that may be in use, then those that were in
use last. At most :data:`MOST_LABELS` of what a node accepts become labels, in that order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mdev_api.kinds.compatibility_class import LABEL_PREFIX, label_of

MOST_LABELS = 64
"""Labels of ours on one node."""

MOST_CLASSES = 1000
"""Classes that have an object and may become labels. Beyond it, those that come last by the order have none."""

KEPT_UNUSED = timedelta(hours=1)
"""How long a class that is not in use any more keeps its object and its labels."""

CORRECT_AGAIN = 3600.0
"""Seconds in which labels that somebody else changed are put right once. Whoever changes them again meanwhile wins
until then, or until what the node accepts changes: two writers who both insist would load the API server for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Who uses a class. ``since``: when it came into, or went out of, use; None: not recorded yet."""

    named: bool = False
    running: bool = False
    since: datetime | None = None

    @property
    def in_use(self) -> bool:
        """Whether anybody uses it now."""
        return self.named or self.running


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What this process made a node's labels of ours to be, and when (monotonic) it last put right what others did."""

    labels: frozenset[str]
    corrected: float | None = None


def in_order(usages: Mapping[str, Usage]) -> list[str]:
    """Names of classes, those first that matter most; the same whatever the order given."""

    def place(name: str) -> tuple[bool, bool, float, str]:
        usage = usages[name]
        # Not recorded yet means that it happened just now.
        moment = usage.since.timestamp() if usage.since is not None else math.inf
        # Of those in use the oldest first, so that a new one does not take the place of one that VMs rely on.
        return (not usage.named, not usage.running, moment if usage.in_use else -moment, name)

    return sorted(usages, key=place)


def labels_for(accepted: Iterable[str], places: Mapping[str, int]) -> frozenset[str]:
    """Label keys of a node that accepts these classes. ``places``: position in the order; others become no label."""
    chosen = sorted((name for name in accepted if name in places), key=places.__getitem__)
    return frozenset(label_of(name) for name in chosen[:MOST_LABELS])


def ours(labels: Mapping[str, str]) -> frozenset[str]:
    """Label keys with our prefix; one with another value than ``true`` counts as another key."""
    return frozenset(k if v == "true" else f"{k}={v}" for k, v in labels.items() if k.startswith(LABEL_PREFIX))


def to_write(wanted: frozenset[str], shown: frozenset[str], told: Told | None, now: float) -> bool:
    """Whether a node's labels are to be written. ``shown``: what the node has, as :func:`ours` gives it.

    Always when what is wanted changed; for what somebody else changed once in :data:`CORRECT_AGAIN`.
    """
    if told is None:
        return shown != wanted
    if told.labels != wanted:
        return True
    return shown != wanted and (told.corrected is None or now - told.corrected >= CORRECT_AGAIN)


def patch_of(wanted: frozenset[str], *present: frozenset[str]) -> dict[str, str | None]:
    """Members of ``metadata.labels`` for a merge patch: what is wanted, and null for all else that may be present."""
    keys = {key.partition("=")[0] for some in present for key in some}
    gone: dict[str, str | None] = dict.fromkeys(sorted(keys - wanted))
    return {**gone, **dict.fromkeys(sorted(wanted), "true")}


def to_forget(usages: Mapping[str, Usage], now: datetime) -> list[str]:
    """Classes that nobody has used for so long that their objects and labels go."""
    return [n for n, u in usages.items() if not u.in_use and u.since is not None and now - u.since >= KEPT_UNUSED]
