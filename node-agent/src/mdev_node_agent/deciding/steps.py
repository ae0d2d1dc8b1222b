"""What can be done next for a reservation, and what is known when that is decided.

A decision (:func:`mdev_node_agent.deciding.decision.next_step`) is a function of these values alone; carrying a step
out is :mod:`mdev_node_agent.acting.preparer`'s. After each step the decision is taken anew, from what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mdev_api.kinds.node_reservations import (
    DesiredValue,
    Entry,
    EntryAnswer,
    Failure,
    FailureReason,
    State,
    ValueWrite,
)
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_api.kinds.values import TypedValue
from mdev_node_agent.memory.record import Making, Record, Written
from mdev_node_agent.seeing.sight import Sight

MAX_MESSAGE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One parameter file, read now: its canonical text, or why there is none (``errno`` empty: not of the type)."""

    value: str | None = None
    errno: str = ""
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What this process has seen and done for one entry since it was last settled.

    ``fresh``: the sight began in this attempt, after our last change. ``readings``: None until read, and after each
    write. ``collided``: the kernel said EEXIST. ``lost``: places where it said so, so that none is tried twice.
    ``failure``: what stopped the preparation or the undo. ``restored``: the writes (their keys) that were taken back,
    each once, with what refused it. ``retry``: a failed undo is to be tried again (at each rescan).
    """

    fresh: bool = False
    readings: Mapping[str, Reading] | None = None
    collided: bool = False
    lost: frozenset[str] = frozenset()
    failure: Failure | None = None
    restored: Mapping[tuple[str, str], Failure | None] = field(default_factory=dict)
    retry: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """All that a decision may look at.

    ``answer``: ours so far, None if there is none. ``record``: what the journal says was begun. ``listed``: the
    instance is in the ledger. ``busy``: an earlier call for this entry, ``late``, has not returned. For a slot:
    ``picked``, the instance that the kubelet has given to the pod that the entry is for, when that is known;
    ``waiting_slots``, how many other entries hold a device of the same resource that is not picked yet. ``elsewhere``:
    instances that other entries are about, and places that are claimed for anybody else.
    """

    entry: Entry
    sight: Sight
    answer: EntryAnswer | None = None
    record: Record | None = None
    listed: bool = False
    busy: bool = False
    late: Step | None = None
    picked: str | None = None
    waiting_slots: int = 0
    elsewhere: frozenset[str] = frozenset()
    attempt: Attempt = field(default_factory=Attempt)


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """See the node anew before deciding: in use, room and existence change without us."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Create:
    """Make the instance (journal and ledger first). ``place``: on a device that is there, under no id of its own."""

    instance: str
    backend: str
    parent: str
    type: str
    place: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Adopt:
    """The instance is there, made by an earlier try of this very reservation: take it on as ``record`` says."""

    record: Record
    parent: str
    type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bind:
    """The instance that the kubelet has picked is the entry's from now on (journal only)."""

    record: Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """Read these parameter files."""

    instance: str
    backend: str
    files: tuple[tuple[str, str, str], ...]
    """(name, type, attribute) each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """Change one value (journal first). ``record``: what was done before."""

    record: Record
    parent: str
    value: DesiredValue
    before: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Restore:
    """Write the old value back."""

    instance: str
    backend: str
    parent: str
    written: Written


@dataclass(frozen=True, kw_only=True, slots=True)
class Remove:
    """Give the device back to its parent. May block until somebody closes it."""

    instance: str
    backend: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Settle:
    """Nothing more to do now: this is the answer. ``ended``: the journal may forget the entry."""

    answer: EntryAnswer
    ended: bool = False


Step: TypeAlias = Look | Create | Adopt | Bind | Read | Write | Restore | Remove | Settle


def failure(
    reason: FailureReason,
    message: str,
    *,
    step: StepName | None = None,
    parameter: str | None = None,
    errno: str | None = None,
) -> Failure:
    """A failure with a message that fits its bound."""
    return Failure(reason=reason, step=step, parameter=parameter, errno=errno or None, message=message[:MAX_MESSAGE])


def answer_of(
    situation: Situation,
    state: State,
    *,
    record: Record | None,
    instance: str | None = None,
    failed: Failure | None = None,
    digest: str | None = None,
) -> EntryAnswer:
    """The answer in this state, with what exists and what was changed as the record says."""
    entry, readings = situation.entry, situation.attempt.readings
    earlier = situation.answer
    values: tuple[TypedValue, ...] = earlier.values if earlier is not None else ()
    if readings is not None:
        values = tuple(
            TypedValue(name=v.name, type=v.type, value=reading.value)
            for v in entry.values
            if (reading := readings.get(v.name)) is not None and reading.value is not None
        )
    exists = record is not None and (record.making in (Making.BEGUN, Making.DONE) or bool(record.writes))
    return EntryAnswer(
        id=entry.id,
        state=state,
        instance=instance or (record.instance if exists and record is not None else None),
        created=True if record is not None and record.making in (Making.BEGUN, Making.DONE) else None,
        values=values,
        writes=() if record is None else tuple(_write_of(written) for written in record.writes),
        digest=digest,
        failure=failed,
    )


def fail(situation: Situation, record: Record | None, failed: Failure) -> Settle:
    """The answer Failed."""
    return Settle(answer=answer_of(situation, State.FAILED, record=record, failed=failed))


def _write_of(written: Written) -> ValueWrite:
    return ValueWrite.model_validate(
        {
            "name": written.name,
            "type": written.type,
            "attribute": written.attribute,
            "from": written.before,
            "to": written.after,
        }
    )
