"""What a migration that has ended still holds, as its condition Overdue (pure).

A final intent that is not answered keeps the entry, never the migration. Whoever looks at the migration is told all the
same that a device is not free yet, and why: somebody has it open, nobody knows whether somebody has, the driver does
not let go of it, or the undo failed.
"""

from __future__ import annotations

from mdev_api.kinds.device_migration import DeviceMigrationStatus
from mdev_api.kinds.node_reservations import Intent, Role, State, Waiting
from mdev_operator.inventory.cluster import Held, instance_of
from mdev_operator.migration.decision import Situation
from mdev_operator.migration.status import is_true

_WHY = {
    Waiting.IN_USE: "it is in use; it is let go when it is closed",
    Waiting.IN_USE_UNKNOWN: "nobody can tell whether it is in use; it is let go when that is known to be No",
    Waiting.REMOVE_BLOCKED: "a call into the driver does not return; a removal does when whoever has it open closes it",
}

TAINTED = "Tainted"


def why_held(held: Held) -> tuple[str, str] | None:
    """Reason and sentence why an entry that was told to end does not; None: nothing is wrong with it.

    A source that is to be removed is often still open when the VM has just left it: that alone is not worth a word.
    """
    answer, entry = held.answer, held.entry
    if answer is None or entry.intent is Intent.HOLD:
        return None
    device = instance_of(held) or "a device"
    if answer.state is State.TAINTED:
        why = answer.failure.message if answer.failure is not None else "the agent gives no reason"
        return TAINTED, f"{device} on node {held.node} could not be undone and is kept: {why}; it is tried again"
    if answer.waiting is None or (answer.waiting is Waiting.IN_USE and entry.role is Role.SOURCE):
        return None
    return str(answer.waiting), f"{device} on node {held.node} is still held: {_WHY[answer.waiting]}"


def after_end(s: Situation) -> DeviceMigrationStatus:
    """The status of a Finished migration: Overdue while something of it is stuck, and no longer."""
    status = s.migration.status
    stuck = sorted(found for held in s.held if (found := why_held(held)) is not None)
    if stuck:
        # A failed undo is the worst of them, and is told as the reason whatever else there is.
        reason = TAINTED if any(reason == TAINTED for reason, _ in stuck) else stuck[0][0]
        return s.with_condition(status, "Overdue", True, reason, "; ".join(message for _, message in stuck))
    if is_true(status.conditions, "Overdue"):
        return s.with_condition(status, "Overdue", False, "Ended", "nothing is held any more that should not be")
    return status
