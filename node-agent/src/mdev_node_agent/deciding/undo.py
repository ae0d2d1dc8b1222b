"""Intents Undo, UndoIfUnused and RemoveIfUnused: take back what we did, and only that.

What we made is removed; what we wrote is written back, in reverse, once each (also to a device that lasts, before our
claim of it ends); what neither journal, status, ledger nor a derived UUID proves to be ours stays. ``remove`` on a
device that somebody has open would take it from a running guest, so it is only asked for when the intent's condition on
use holds, seen in a fresh look. A failed undo is Tainted: kept, told (after what had failed before it), and tried again
at each rescan.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mdev_api.kinds.node_reservations import EntryAnswer, Failure, FailureReason, Intent, Role, State, Waiting
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.deciding.failures import failure_of, first_failure, with_undo
from mdev_node_agent.deciding.standing import backend_of, is_place, standing
from mdev_node_agent.deciding.steps import Look, Read, Remove, Restore, Settle, Situation, Step, answer_of, failure
from mdev_node_agent.memory.record import Making, Record, Written
from mdev_node_agent.seeing.in_use import InUse


def undo(situation: Situation) -> Step:
    """The next step of Undo or UndoIfUnused."""
    record = standing(situation)
    if record is None or _is_over(situation, record):
        # What was made after the last look is not gone for not being seen in it; and no event tells that a place is
        # free again: what is published has to follow before the answer does.
        begun = record is not None and _has_begun(record)
        known = record is not None and record.making is Making.GONE and not is_place(situation, record)
        if begun and not known and not situation.attempt.fresh:
            return Look()
        return _settle(situation, record, State.UNDONE)
    made, lasts = record.making in (Making.BEGUN, Making.DONE), _lasts(situation, record.instance)
    stopped: Step | None = _stopped(situation, record, record.instance)
    if stopped is None and not (made and lasts and not record.writes):
        stopped = _wait_for_use(situation, record, record.instance)
    if stopped is None and not record.backend:
        stopped = _of_no_type(situation, record, record.instance)
    if stopped is not None:
        return stopped
    if made and not (lasts and record.writes):
        return Remove(instance=record.instance, backend=record.backend)
    return _restore(situation, record)


def remove(situation: Situation) -> Step:
    """The next step of RemoveIfUnused: only an instance of the ledger goes; any other is kept, and that is told."""
    record = standing(situation)
    instance = situation.entry.device.instance or (record.instance if record is not None else None)
    if instance is None or (situation.sight.is_gone(instance) and not situation.busy):
        return _settle(situation, record, State.REMOVED)
    if not situation.listed and not situation.busy:
        if not situation.attempt.fresh:
            return Look()
        kept = failure(
            FailureReason.INVALID,
            f"device {instance} is not in this agent's ledger, so it was not made by it: kept, never removed",
            step=StepName.REMOVE,
        )
        answer = answer_of(situation, State.HANDED_OVER, record=record, instance=instance, failed=kept)
        return Settle(answer=answer, ended=True)
    stopped = _stopped(situation, record, instance) or _wait_for_use(situation, record, instance)
    if stopped is not None:
        return stopped
    backend = backend_of(situation, instance)
    return Remove(instance=instance, backend=backend) if backend else _of_no_type(situation, record, instance)


def _lasts(situation: Situation, instance: str) -> bool:
    """Is the device there before and after, so that releasing it only ends a claim?"""
    observation = situation.sight.observation
    seen = observation.instance(instance)
    offer = None if seen is None else observation.offer(seen.parent, seen.type)
    return offer is not None and offer.lasting


def _is_over(situation: Situation, record: Record) -> bool:
    """Nothing is left to be undone."""
    if situation.busy:
        return False
    return record.making is Making.GONE or situation.sight.is_gone(record.instance) or not _has_begun(record)


def _has_begun(record: Record) -> bool:
    """Was anything done that could have to be undone?"""
    return record.making is not Making.NONE or bool(record.writes)


def _settle(situation: Situation, record: Record | None, state: State) -> Settle:
    earlier = first_failure(situation.answer, record)
    place = record.instance if record is not None and is_place(situation, record) else None
    answer = EntryAnswer(id=situation.entry.id, state=state, instance=place, failure=earlier)
    return Settle(answer=answer, ended=True)


def _stopped(situation: Situation, record: Record | None, instance: str) -> Settle | None:
    """Why nothing can be done now: a call, ours or the kernel's own removal, is on its way, or the undo has failed."""
    if situation.busy and isinstance(situation.late, Restore):
        hangs = failure_of(situation.late, TimeoutError())
        return Settle(answer=_unfinished(situation, record, state=State.TAINTED, failed=hangs))
    if situation.busy or situation.sight.is_leaving(instance):
        return Settle(answer=_unfinished(situation, record, waiting=Waiting.REMOVE_BLOCKED))
    if situation.attempt.failure is not None:
        failed = situation.attempt.failure
        return Settle(answer=_unfinished(situation, record, state=State.TAINTED, failed=failed))
    answer = situation.answer
    if answer is not None and answer.state is State.TAINTED and not situation.attempt.retry:
        return Settle(answer=answer)
    return None


def _of_no_type(situation: Situation, record: Record | None, instance: str) -> Settle:
    """Only its type tells which back-end a device is of, where the journal does not: without it nothing is touched."""
    unseen = failure(
        FailureReason.REFUSED,
        f"the type of {instance} cannot be seen on this node just now, so that it is not known how to take back what "
        "was done: nothing was touched",
        step=StepName.UNDO,
    )
    return Settle(answer=_unfinished(situation, record, state=State.TAINTED, failed=unseen))


def _wait_for_use(situation: Situation, record: Record | None, instance: str) -> Step | None:
    """None: the intent's condition on use holds, and that was seen just now.

    A source is put back while its VM runs: what was changed there is runtime-writable, and nothing is removed.
    """
    only_written = record is not None and record.making is Making.NONE
    is_source = situation.entry.role is Role.SOURCE and situation.entry.intent is not Intent.REMOVE_IF_UNUSED
    if is_source and only_written:
        return None if situation.attempt.fresh else Look()
    state = situation.sight.use(instance).state
    if state is InUse.YES:
        return Settle(answer=_unfinished(situation, record, waiting=Waiting.IN_USE))
    if state is InUse.UNKNOWN and situation.entry.intent is not Intent.UNDO:
        return Settle(answer=_unfinished(situation, record, waiting=Waiting.IN_USE_UNKNOWN))
    return None if situation.attempt.fresh else Look()


def _restore(situation: Situation, record: Record) -> Step:
    """Go back through the writes, last first, each at most once (api.md, ``writes``).

    A value that reads as it was before a write needs no write; and as soon as everything reads as before the first
    write, nothing more is written: to go on through what OffFirst switched off and on again would end where it began,
    and might release what a pooled device holds.
    """
    attempt = situation.attempt
    if attempt.readings is None:
        files = tuple(dict.fromkeys((w.name, w.type, w.attribute) for w in record.writes))
        return Read(instance=record.instance, backend=record.backend, files=files)
    # Of several writes to one parameter the first knows what was there.
    first = {w.name: w for w in reversed(record.writes)}
    wrong = [w for w in first.values() if attempt.readings[w.name].value != w.before]
    if not wrong and record.making is not Making.NONE:
        return Remove(instance=record.instance, backend=record.backend)
    if not wrong:
        return _settle(situation, record, State.UNDONE)
    for written in _to_take_back(record.writes, attempt.restored):
        if attempt.readings[written.name].value != written.before:
            seen = situation.sight.observation.instance(record.instance)
            parent = "" if seen is None else seen.parent
            return Restore(instance=record.instance, backend=record.backend, parent=parent, written=written)
    return Settle(answer=_unfinished(situation, record, state=State.TAINTED, failed=_still_wrong(situation, wrong[0])))


def _still_wrong(situation: Situation, written: Written) -> Failure:
    """What a parameter reads though its old value was written back, and what the driver said to that."""
    reading = (situation.attempt.readings or {})[written.name]
    tried = situation.attempt.restored.items()
    refused = next((why for (name, _), why in tried if name == written.name and why is not None), None)
    said = "" if refused is None else f": {refused.message}"
    return failure(
        FailureReason.READBACK_MISMATCH,
        f"{written.attribute} should be {written.before!r} again and reads {reading.value!r} {reading.message}".rstrip()
        + said,
        step=StepName.UNDO,
        parameter=written.name,
        errno=reading.errno or (refused.errno if refused is not None else None),
    )


def _to_take_back(writes: Sequence[Written], restored: Collection[tuple[str, str]]) -> list[Written]:
    """Last first; once an earlier write to a parameter was taken back, the later ones to it are history."""
    left: list[Written] = []
    over: set[str] = set()
    for written in writes:
        if written.key in restored:
            over.add(written.name)
        elif written.name not in over:
            left.append(written)
    return left[::-1]


def _unfinished(
    situation: Situation,
    record: Record | None,
    *,
    waiting: Waiting | None = None,
    state: State | None = None,
    failed: Failure | None = None,
) -> EntryAnswer:
    """The answer so far with the reason why the undo does not go on: what failed first is told first."""
    base = situation.answer or answer_of(situation, State.PENDING, record=record)
    told, first = base.failure, first_failure(situation.answer, record)
    if failed is not None:
        told = with_undo(first, failed)
    return base.model_copy(update={"state": state or base.state, "waiting": waiting, "failure": told or first})
