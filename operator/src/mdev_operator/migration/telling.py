"""What people are told of a migration beside its status (pure): before it expires, and when a device is stuck or lost.

Only what holds now is told, and of what lies in the past only what an Event would still be kept for, so that an
operator that begins anew has next to nothing to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from mdev_api.kinds.common import Condition
from mdev_api.kinds.device_migration import DeviceMigration, DeviceMigrationStatus
from mdev_api.kinds.node_reservations import State
from mdev_api.kube.client import ApiError
from mdev_operator.inventory.cluster import Cluster, Held
from mdev_operator.migration.decision import Situation
from mdev_operator.migration.nodes import unwell
from mdev_operator.migration.overdue import TAINTED, why_held
from mdev_operator.migration.status import condition_of, is_true, since
from mdev_operator.telling.notes import KEPT_SECONDS, Note

WARN_AT = 0.8
"""Part of ``preparedTTLSeconds`` after which people are told that nobody has started."""

TOLD_ENDS = frozenset({"Expired", "Deadline", "NodeGone"})
"""Reasons of Finished that nobody asked for."""


def next_look(age: float, ttl: float) -> float:
    """Seconds from now, ``age`` seconds after Ready, until time alone may change what is told or decided."""
    warn = ttl * WARN_AT
    return warn - age if age < warn else ttl - age


def notes(s: Situation, status: DeviceMigrationStatus) -> tuple[Note, ...]:
    """Everything to tell in this round. ``status``: as it was decided."""
    if is_true(status.conditions, "Finished"):
        return (*_ended(status, s.now), *_overdue(status, s.now), *tainted(s.held))
    ready = condition_of(status.conditions, "Ready")
    about_nodes = _not_well(s.cluster, status) if ready is not None and is_true(status.conditions, "Ready") else ()
    return (
        *_expires(s.migration, ready, s.now),
        *_overdue(status, s.now),
        *_lost(status),
        *about_nodes,
        *tainted(s.held),
    )


def refused(error: ApiError) -> Note:
    """The API server does not take what is to be written: RBAC, an admission policy, a webhook or a rule forbids it."""
    text = f"the API server refuses what has to be written next, which is tried again until it is taken: {error}"
    return Note(key=f"refused-{error.status}", reason="WriteRefused", text=text)


def tainted(held: Iterable[Held]) -> Iterator[Note]:
    """A failed undo, for each entry that has one."""
    for one in held:
        why = why_held(one)
        if why is not None and one.answer is not None and one.answer.state is State.TAINTED:
            yield Note(key=f"tainted-{one.entry.id}", reason=TAINTED, text=why[1])


def _expires(migration: DeviceMigration, ready: Condition | None, now: datetime) -> Iterator[Note]:
    moment = since(ready)
    if ready is None or moment is None or ready.status != "True" or migration.spec.started:
        return
    ttl, age = migration.spec.prepared_ttl_seconds, (now - moment).total_seconds()
    if not ttl * WARN_AT <= age < ttl:
        return
    text = (
        f"Ready for {age:.0f} s and not started: after {ttl} s (spec.preparedTTLSeconds) the prepared device is let "
        "go; set spec.started before the VM moves"
    )
    yield Note(key=f"expires-{int(moment.timestamp())}", reason="ExpiresSoon", text=text)


def _ended(status: DeviceMigrationStatus, now: datetime) -> Iterator[Note]:
    finished = condition_of(status.conditions, "Finished")
    if finished is not None and finished.reason in TOLD_ENDS and _recent(finished, now):
        yield Note(key="finished", reason=finished.reason, text=finished.message)


def _overdue(status: DeviceMigrationStatus, now: datetime) -> Iterator[Note]:
    overdue = condition_of(status.conditions, "Overdue")
    if overdue is None or not is_true(status.conditions, "Overdue") or overdue.reason == TAINTED:
        return
    if _recent(overdue, now):
        yield Note(key=f"overdue-{overdue.reason.lower()}", reason=f"Overdue{overdue.reason}", text=overdue.message)


def _lost(status: DeviceMigrationStatus) -> Iterator[Note]:
    for attempt in status.attempts:
        if attempt.state == State.LOST:
            text = f"the device prepared on node {attempt.node} was lost, another one is looked for: {attempt.message}"
            yield Note(key=f"lost-{attempt.number}", reason="ReservationLost", text=text)


def _not_well(cluster: Cluster, status: DeviceMigrationStatus) -> Iterator[Note]:
    why = unwell(cluster, status.node) if status.node is not None else None
    if why is not None:
        text = f"the device stays held although {why}: when the node comes back it is as it was"
        yield Note(key=f"not-well-{status.node}", reason="DestinationNotWell", text=text)


def _recent(condition: Condition, now: datetime) -> bool:
    moment = since(condition)
    return moment is not None and (now - moment).total_seconds() < KEPT_SECONDS
