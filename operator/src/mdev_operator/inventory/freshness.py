"""How old is an agent's word? Agents renew a Lease each minute; silence is measured by this program's own clock.

A node's slow clock must not matter, so what counts is for how long the Lease did not *change* while this program was
watching it. Only for a Lease that it has never seen change does the Lease's own ``renewTime`` decide, with a margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mdev_api.kube import times

SILENT_AFTER = 300.0
"""Seconds without a change after which an agent counts as silent (design section 6)."""

RENEWED_BEFORE = 330.0
"""Seconds that ``renewTime`` may be old for a Lease that was not seen to change yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseSeen:
    """A Lease's ``renewTime``, since when (monotonic) it was seen unchanged, and whether it changed then."""

    renew_time: str
    since: float
    changed: bool = False


def seen(lease: dict[str, Any], before: LeaseSeen | None, now: float) -> LeaseSeen:
    """Remember this sight of a Lease; one that says the same as before keeps its time."""
    renew_time = str((lease.get("spec") or {}).get("renewTime") or "")
    if before is not None and before.renew_time == renew_time:
        return before
    return LeaseSeen(renew_time=renew_time, since=now, changed=before is not None)


def silence(node: str, lease: LeaseSeen | None, *, now: float, wall: datetime) -> str | None:
    """Why the agent of ``node`` counts as silent, or None. ``now`` monotonic, ``wall`` the time of day.

    The sentence goes into the status of objects, so it stays the same while the agent stays silent.
    """
    if lease is None:
        return f"the agent of node {node} has no Lease: it does not run, or never reached the API server"
    unchanged = now - lease.since
    if unchanged >= SILENT_AFTER:
        return f"the agent of node {node} has not renewed its Lease for more than {SILENT_AFTER:.0f} s"
    if lease.changed:
        return None
    try:
        age = (wall - times.parse(lease.renew_time)).total_seconds()
    except ValueError:
        return f"the Lease of node {node}'s agent has no readable renewTime: {lease.renew_time!r}"
    if age > RENEWED_BEFORE:
        return f"the agent of node {node} last renewed its Lease at {lease.renew_time}"
    return None
