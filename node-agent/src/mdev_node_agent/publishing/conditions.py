"""Conditions of NodeDevices, with the time at which each last changed its status."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from mdev_api.kinds.common import Condition, ConditionStatus
from mdev_api.kube.times import time

MAX_MESSAGE = 1024


def conditions(
    earlier: Iterable[Condition], told: Collection[str], blocked: Collection[str], now: datetime
) -> tuple[Condition, ...]:
    """``Healthy`` (``told``: what is wrong, as sentences) and ``RemoveBlocked`` (``blocked``: ids of instances)."""
    complaint = "; ".join(told)
    names = ", ".join(sorted(blocked))
    wanted = (
        ("Healthy", not told, "Incomplete" if told else "Complete", complaint or "everything that was found is shown"),
        (
            "RemoveBlocked",
            bool(blocked),
            "DeviceOpen" if blocked else "NoneBlocked",
            f"the kernel waits until whoever has it open closes {names}: end that program" if blocked else "",
        ),
    )
    before = {condition.type: condition for condition in earlier}
    return tuple(
        _condition(before.get(kind), kind, ConditionStatus(str(holds)), reason, message[:MAX_MESSAGE], now)
        for kind, holds, reason, message in wanted
    )


def not_healthy(earlier: Iterable[Condition], reason: str, message: str, now: datetime) -> tuple[Condition, ...]:
    """The conditions that were told, with ``Healthy`` False for this reason."""
    before = {condition.type: condition for condition in earlier}
    told = _condition(before.get("Healthy"), "Healthy", ConditionStatus("False"), reason, message[:MAX_MESSAGE], now)
    return (told, *(condition for kind, condition in before.items() if kind != "Healthy"))


def _condition(
    earlier: Condition | None, kind: str, status: ConditionStatus, reason: str, message: str, now: datetime
) -> Condition:
    since = time(now)
    if earlier is not None and earlier.status is status:
        since = earlier.last_transition_time
    return Condition(type=kind, status=status, last_transition_time=since, reason=reason, message=message)
