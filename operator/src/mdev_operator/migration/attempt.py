"""One attempt: the reservations of a group on one node, one for each device, as their agent answers them.

A group is judged as a whole. It is prepared when every device is; when one fails, is lost or is missing, the attempt
is recorded with the place of that device and of every other that has failed by then, and the whole group is told to
undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.device_migration import Attempt, DeviceMigration, DeviceMigrationStatus, FailedPlace
from mdev_api.kinds.node_reservations import Intent, State
from mdev_operator.inventory.cluster import Held
from mdev_operator.migration import entries
from mdev_operator.migration.decision import Decision, Situation, Tell
from mdev_operator.migration.status import shorten
from mdev_operator.offers.openings import Place

_ENDED = frozenset({State.FAILED, State.LOST, State.UNDONE, State.TAINTED})
"""Answers after which an entry on Hold will not become Prepared any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """An attempt that is under way; ``held`` in the order of the migration's devices."""

    number: int
    node: str
    held: tuple[Held, ...]

    def has(self, devices: int) -> bool:
        """Whether there is an entry on Hold for every device."""
        there = [entries.index_of(h.entry) for h in self.held if h.entry.intent is Intent.HOLD]
        return there == list(range(devices))

    @property
    def ended(self) -> Held | None:
        """The first entry that will not become Prepared any more."""
        return next((h for h in self.held if has_ended(h)), None)

    @property
    def prepared(self) -> int:
        """How many devices are Prepared."""
        return sum(h.answer is not None and h.answer.state is State.PREPARED for h in self.held)

    def tell(self, intent: Intent) -> tuple[Tell, ...]:
        """The whole group's next intent, for those that are still on Hold."""
        intents = {h.entry.id: intent for h in self.held if h.entry.intent is Intent.HOLD}
        return (Tell(node=self.node, intents=intents),)


def under_way(s: Situation) -> Group | None:
    """The oldest attempt of which something is held."""
    numbers = [entries.number_of(h.entry) for h in s.destinations if h.entry.intent is Intent.HOLD]
    if not numbers:
        return None
    number = min(numbers)
    held = [h for h in s.destinations if entries.number_of(h.entry) == number]
    held.sort(key=lambda h: entries.index_of(h.entry))
    return Group(number=number, node=held[0].node, held=tuple(held))


def give_up(s: Situation, group: Group, at: Held, state: State, why: str) -> Decision:
    """Record the attempt, have all of it undone, and decide again (the next candidate). ``at``: whose place it was."""
    status = recorded(s.migration.status, group, at, state, why)
    message = f"attempt {group.number} on node {group.node} failed: {why}"
    status = s.with_condition(status, "Ready", False, "AttemptFailed", message)
    return Decision(status=status, tell=group.tell(Intent.UNDO))


def given_up(s: Situation, group: Group) -> Decision | None:
    """The end of an attempt that is recorded, when the entries have not heard of it; None: it is not recorded.

    It is never taken up again: the word that ends it may be on its way, and must not come after Ready.
    """
    found = next((a for a in s.migration.status.attempts if a.number == group.number), None)
    if found is None:
        return None
    intent = Intent.UNDO_IF_UNUSED if found.state == State.LOST else Intent.UNDO
    return Decision(status=s.migration.status, tell=group.tell(intent))


def recorded(status: DeviceMigrationStatus, group: Group, at: Held, state: State, why: str) -> DeviceMigrationStatus:
    """The status with this attempt in it, once."""
    if any(a.number == group.number for a in status.attempts):
        return status
    others = [h for h in group.held if h is not at and has_ended(h)]
    place = _place(at)
    attempt = Attempt(
        number=max(group.number, 1),
        node=at.node,
        parent=place.parent,
        type=place.type,
        profile=place.profile,
        instance=place.instance,
        others=tuple(_place(other) for other in others),
        state=state,
        message=shorten(why),
    )
    return status.model_copy(update={"attempts": (*status.attempts, attempt)})


def places_of(migration: DeviceMigration, devices: int) -> frozenset[Place]:
    """Every place where one of ``devices`` failed, and what failed attempts have made.

    That may be shown a moment longer than it is there: what an agent sends of its inventory can be overtaken by its
    answer.
    """
    attempts = migration.status.attempts
    failed: list[tuple[str, Attempt | FailedPlace]] = []
    for attempt in attempts:
        failed += [(attempt.node, attempt), *((attempt.node, other) for other in attempt.others)]
    made = {
        Place(node=attempt.node, instance=instance_uuid(entries.destination_id(migration, attempt.number, index)))
        for attempt in attempts
        for index in range(devices)
    }
    return frozenset(made).union(
        Place(node=node, parent=at.parent, type=at.type, profile=at.profile, instance=at.instance)
        for node, at in failed
    )


def has_ended(held: Held) -> bool:
    """Whether the agent has answered that the entry will not become Prepared any more."""
    return held.answer is not None and held.answer.state in _ENDED


def _place(held: Held) -> FailedPlace:
    device = held.entry.device
    if device.create is None:
        return FailedPlace(instance=device.instance)
    return FailedPlace(parent=device.create.parent, type=device.create.type, profile=device.create.profile)


def of_device(names: Sequence[str], at: Held, why: str) -> str:
    """``why``, with the device that it is about where there are several."""
    index = entries.index_of(at.entry)
    return f"{names[index]}: {why}" if len(names) > 1 and index < len(names) else why


def said(held: Held) -> str:
    """What the agent answered, in one sentence."""
    answer = held.answer
    if answer is None:
        return "no answer"
    failure = answer.failure
    if failure is None:
        return f"it is {answer.state}"
    about = " ".join(part for part in (failure.step, failure.parameter, failure.errno) if part)
    return f"{failure.reason}{f' ({about})' if about else ''}: {failure.message}"
