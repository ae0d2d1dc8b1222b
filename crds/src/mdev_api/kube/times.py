"""Times as the API server writes them, always UTC.

They tell people and other programs when something happened. No decision about who holds a Lease is made from them:
another machine's clock may be wrong, so that is measured by one's own monotonic clock.
"""

from __future__ import annotations

from datetime import UTC, datetime


def micro_time(moment: datetime) -> str:
    """MicroTime (``renewTime``, ``eventTime``): RFC 3339 in UTC with six digits. ``moment`` must know its zone."""
    return _utc(moment).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time(moment: datetime) -> str:
    """Time (``lastTransitionTime``, ``creationTimestamp``): RFC 3339 in UTC, whole seconds."""
    return _utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Either form back into an aware datetime; ValueError if it is neither."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment.astimezone(UTC)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} knows no time zone: local time must never reach the API server")
    return moment.astimezone(UTC)
