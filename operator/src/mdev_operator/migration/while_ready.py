"""From Ready to the outcome: are the prepared devices still there, and does somebody start in time? (pure)"""

from __future__ import annotations

from mdev_api.kinds.node_reservations import Intent, State
from mdev_operator.inventory.cluster import Held, instance_of
from mdev_operator.kubevirt.foreign import taken_by, waits_for_pod
from mdev_operator.migration import letting_go
from mdev_operator.migration.attempt import Group, of_device, recorded, said, under_way
from mdev_operator.migration.decision import Decision, Situation
from mdev_operator.migration.device_map import with_picked
from mdev_operator.migration.telling import next_look

_GONE = "its reservation was removed"


def while_ready(s: Situation) -> Decision:
    """The next step of a migration that is Ready."""
    spec = s.migration.spec
    group = under_way(s)
    left = spec.prepared_ttl_seconds - s.seconds_since("Ready")
    if not spec.started and left <= 0:
        # First of all: once this was told, no entry is held any more, and that is no loss.
        return letting_go.expired(s)
    if group is None:
        return _lost(s, None, None, _GONE)
    lost = _first_lost(s, group)
    if lost is not None:
        at, why = lost
        return _lost(s, group, at, of_device([d.name for d in s.migration.status.devices], at, why))
    status = with_picked(s.cluster, group, s.migration.status)
    follow = waits_for_pod(s.migration)
    if spec.started:
        if left > 0:
            return Decision(status=status, look_again=left, follow=follow)
        message = (
            f"started, and no outcome told within {spec.prepared_ttl_seconds} s after Ready; "
            "the devices are held until spec.outcome is set"
        )
        return Decision(status=s.with_condition(status, "Overdue", True, "OutcomeNotTold", message))
    again = next_look(s.seconds_since("Ready"), spec.prepared_ttl_seconds)
    return Decision(status=status, look_again=again, follow=follow)


def _first_lost(s: Situation, group: Group) -> tuple[Held, str] | None:
    """The first device of the group that is not the migration's any more, and why; None: all are."""
    if not group.has(max(1, len(s.migration.status.devices))):
        return group.held[0], _GONE
    for held in group.held:
        why = _why_lost(s, held)
        if why is not None:
            return held, why
    return None


def _why_lost(s: Situation, held: Held) -> str | None:
    if held.answer is not None and held.answer.state in (State.FAILED, State.LOST):
        return said(held)
    instance, devices = instance_of(held), s.cluster.devices.get(held.node)
    pod = taken_by(s.migration, devices.status if devices is not None else None, instance)
    return f"pod {pod}, which is not the one it was prepared for, has got {instance}" if pod is not None else None


def _lost(s: Situation, group: Group | None, at: Held | None, why: str) -> Decision:
    """A prepared device is gone. Before ``started`` others are looked for; after it, only the outcome counts."""
    if s.migration.spec.started:
        message = f"the prepared device was lost after started: {why}; tell the outcome"
        return Decision(status=s.with_condition(s.migration.status, "Overdue", True, "DestinationLost", message))
    status = s.migration.status
    if group is not None and at is not None:
        status = recorded(status, group, at, State.LOST, why)
    status = s.with_condition(status, "Ready", False, "Lost", f"the prepared device was lost: {why}")
    status = status.model_copy(update={"node": None, "devices": ()})
    tells = group.tell(Intent.UNDO_IF_UNUSED) if group is not None else ()
    return Decision(status=status, tell=tells, follow=True)
