"""What a DeviceMigration's status says of itself: conditions that keep their times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mdev_api.kinds.common import Condition, ConditionStatus
from mdev_api.kube import times

MESSAGE_LENGTH = 1024


def shorten(text: str) -> str:
    """``text`` within the bound of messages."""
    return text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"


def condition_of(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of this type, if there is one."""
    return next((c for c in conditions if c.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition is there and True."""
    condition = condition_of(conditions, kind)
    return condition is not None and condition.status is ConditionStatus.TRUE


def with_condition(
    conditions: tuple[Condition, ...],
    kind: str,
    status: bool,
    reason: str,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """The conditions with this one set; its transition time moves only when its status does."""
    before = condition_of(conditions, kind)
    value = ConditionStatus.TRUE if status else ConditionStatus.FALSE
    since = before.last_transition_time if before is not None and before.status is value else times.time(now)
    new = Condition(
        type=kind,
        status=value,
        observed_generation=generation,
        last_transition_time=since,
        reason=reason,
        message=shorten(message),
    )
    others = [c for c in conditions if c.type != kind]
    return tuple(sorted([*others, new], key=lambda c: c.type))


def since(condition: Condition | None) -> datetime | None:
    """When the condition got its status."""
    return times.parse(condition.last_transition_time) if condition is not None else None
