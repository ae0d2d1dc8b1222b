"""How a migration ends: outcome told, expired, too late, or deleted. Every entry gets its final intent, then Finished.

Which intent is right depends on who may know the device. Before Ready nobody does, and after the outcome Failed the VM
surely is not there: Undo. In between somebody may have opened it: UndoIfUnused, and the agent waits until it knows.
After success, or when that is possible, the device is the VM's: HandOver.
"""

from __future__ import annotations

from collections.abc import Callable

from mdev_api.kinds.device_migration import DeviceMigrationStatus, Outcome, SourcePolicy
from mdev_api.kinds.node_reservations import Intent, Role
from mdev_operator.inventory.cluster import Held
from mdev_operator.migration import overdue
from mdev_operator.migration.decision import Decision, Situation, Tell
from mdev_operator.migration.status import condition_of, is_true

Choose = Callable[[Held], Intent]

TAKEN_BACK = frozenset({"Expired", "Deleted"})
"""Reasons of Ready=False with which a migration ends that was Ready."""

SUPERSEDED_BY = "mdev-operator.io/superseded-by"
"""Annotation beside the outcome Failed: the name of the younger migration of the same VM that took this one's place."""


def after_outcome(s: Situation, outcome: Outcome) -> Decision:
    """Whoever moved the VM said how it ended."""
    source_after = Intent.HAND_OVER
    superseded_by = s.migration.metadata.annotations.get(SUPERSEDED_BY)
    if outcome is Outcome.FAILED and superseded_by is not None:
        message = f"migration {superseded_by} of the same VM took the place of this one: the destination is undone"
        return let_go(s, lambda held: Intent.UNDO, "Superseded", message)
    if outcome is Outcome.FAILED:
        message = "the outcome Failed was told: the destination is undone, the source keeps the device"
        return let_go(s, lambda held: Intent.UNDO, "Failed", message)
    if s.migration.spec.source_policy is SourcePolicy.REMOVE:
        source_after = Intent.REMOVE_IF_UNUSED

    def choose(held: Held) -> Intent:
        return source_after if held.entry.role is Role.SOURCE else Intent.HAND_OVER

    message = "the outcome Succeeded was told: the destination device is the VM's now"
    return let_go(s, choose, "Succeeded", message)


def expired(s: Situation) -> Decision:
    """Ready, but nobody started in time."""
    message = f"not started within {s.migration.spec.prepared_ttl_seconds} s after Ready (spec.preparedTTLSeconds)"
    return _take_back(s, "Expired", message) or let_go(s, if_unused, "Expired", message)


def too_late(s: Situation, why: str) -> Decision:
    """Not Ready in time; ``why`` is the last reason."""
    message = f"not Ready within {s.migration.spec.deadline_seconds} s (spec.deadlineSeconds); {why}"
    return let_go(s, not_ready, "Deadline", message)


def deleted(s: Situation) -> Decision:
    """The object is being deleted and no outcome was told."""
    status = s.migration.status
    taken_back = is_taken_back(status)
    if s.migration.spec.started and not taken_back:
        message = (
            "deleted after started: the devices are held, because the VM may be on either side; "
            "set spec.outcome to Succeeded or Failed to let them go"
        )
        return Decision(status=s.with_condition(status, "Overdue", True, "OutcomeNotTold", message))
    first = _take_back(s, "Deleted", "deleted before it was started: what was prepared is let go")
    if first is not None:
        return first
    tells = tell(s, if_unused if taken_back else not_ready)
    return Decision(status=status, finalizer=bool(tells), tell=tells)


def is_taken_back(status: DeviceMigrationStatus) -> bool:
    """Whether it is not Ready any more because it expired or is deleted; all that is left is to let go."""
    ready = condition_of(status.conditions, "Ready")
    return ready is not None and ready.status == "False" and ready.reason in TAKEN_BACK


def _take_back(s: Situation, reason: str, message: str) -> Decision | None:
    """Ready=False before anything is let go; None: it is so already.

    The status is a swap on what this was decided from. So of this and ``started`` the first one holds: who set that
    while it was Ready keeps the device, and who comes later reads in the answer to his write that it is not Ready.
    """
    if not is_true(s.migration.status.conditions, "Ready"):
        return None
    return Decision(status=s.with_condition(s.migration.status, "Ready", False, reason, message))


def finished(s: Situation) -> Decision:
    """Nothing is left to say; an entry that is still Hold (a late write of a crashed round) is let go."""
    tells = tell(s, if_unused)
    return Decision(status=overdue.after_end(s), finalizer=bool(tells), tell=tells)


def if_unused(held: Held) -> Intent:
    """Undo as far as it is provably safe. A source is in use by its VM; undoing it only ends the pin."""
    return Intent.UNDO if held.entry.role is Role.SOURCE else Intent.UNDO_IF_UNUSED


def not_ready(held: Held) -> Intent:
    """Undo what was never told to anybody. What was Ready once, and then lost, was: that stays as it was told."""
    return Intent.UNDO_IF_UNUSED if held.entry.intent is Intent.UNDO_IF_UNUSED else Intent.UNDO


def let_go(s: Situation, choose: Choose, reason: str, message: str) -> Decision:
    """Give every entry its final intent; with nothing left to tell, Finished."""
    tells = tell(s, choose)
    if tells:
        return Decision(status=s.migration.status, tell=tells)
    return Decision(status=finish(s, reason, message), finalizer=False)


def finish(s: Situation, reason: str, message: str) -> DeviceMigrationStatus:
    """The status of a migration that ended."""
    status = s.with_condition(s.migration.status, "Ready", False, reason, message)
    return s.with_condition(status, "Finished", True, reason, message)


def tell(s: Situation, choose: Choose) -> tuple[Tell, ...]:
    """The intents that still have to be told, by node."""
    by_node: dict[str, dict[str, Intent]] = {}
    for held in s.held:
        wanted = choose(held)
        if may_become(held.entry.intent, wanted):
            by_node.setdefault(held.node, {})[held.entry.id] = wanted
    return tuple(Tell(node=node, intents=intents) for node, intents in sorted(by_node.items()))


def may_become(intent: Intent, wanted: Intent) -> bool:
    """Whether the API lets this intent become that one (api.md: Hold any, UndoIfUnused HandOver or Undo)."""
    if intent is Intent.HOLD:
        return wanted is not Intent.HOLD
    return intent is Intent.UNDO_IF_UNUSED and wanted in (Intent.HAND_OVER, Intent.UNDO)
