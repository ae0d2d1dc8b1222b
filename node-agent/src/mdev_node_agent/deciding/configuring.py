"""From what an instance reads to what the entry wants: one write at a time, all read back after each. Pure.

The order is that of :mod:`mdev_api.engine.writing`. With ``Direct`` each value that differs is written, once. With
``OffFirst`` each parameter with an off value that reads otherwise is switched off, then each value that differs is
written; so that a parameter may have two writes. How far that has come is told by the record alone: once anything but
an off value was written, nothing is switched off any more. An instance that reads right before the first write is left
alone.

A write that was answered and does not show is a mismatch, never repeated. One that a crash cut off is done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mdev_api.engine.metadata import WriteStrategy
from mdev_api.kinds.node_reservations import DesiredValue, Entry, Failure, FailureReason, Role
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.deciding.standing import backend_of
from mdev_node_agent.deciding.steps import Read, Reading, Settle, Situation, Write, fail, failure
from mdev_node_agent.memory.record import Making, Record, Written


def next_change(situation: Situation, record: Record | None, instance: str) -> Read | Write | Settle | None:
    """What is to be read or written next, or why that is not possible; None: the instance is as the entry wants it."""
    entry, readings = situation.entry, situation.attempt.readings
    seen = situation.sight.observation.instance(instance)
    if seen is None:
        what = f"device {instance} is not there any more"
        return fail(situation, record, failure(FailureReason.CONFLICT, what, step=StepName.READ_BACK))
    backend = backend_of(situation, instance)
    if readings is None and entry.values:
        files = tuple((v.name, str(v.type), v.attribute) for v in entry.values)
        return Read(instance=instance, backend=backend, files=files)
    now: dict[str, str] = {}
    for value in entry.values:
        reading = (readings or {})[value.name]
        if reading.value is None:
            return fail(situation, record, _unreadable(instance, value, reading))
        now[value.name] = reading.value
    due = _due(entry, record.writes if record is not None else (), now)
    if due is None:
        return None
    earlier = None if record is None else record.write_of(due.name, due.value)
    failed = _not_taken(instance, due, now[due.name], earlier) or _not_ours_to_write(situation, record, due)
    if failed is not None:
        return fail(situation, record, failed)
    # The value before our first try: a crash may have left ours behind in between.
    before = now[due.name] if earlier is None else earlier.before
    begun = record or Record(instance=instance, backend=backend)
    return Write(record=begun, parent=seen.parent, value=due, before=before)


def _due(entry: Entry, writes: Sequence[Written], now: Mapping[str, str]) -> DesiredValue | None:
    """The parameter to be written next, with the value to be written."""
    if not writes and all(now[value.name] == value.value for value in entry.values):
        return None
    if entry.write_strategy is WriteStrategy.OFF_FIRST and not _past_off(entry, writes):
        for value in entry.values:
            if value.off_value is not None and now[value.name] != value.off_value:
                return value.model_copy(update={"value": value.off_value})
    return next((value for value in entry.values if now[value.name] != value.value), None)


def _past_off(entry: Entry, writes: Sequence[Written]) -> bool:
    off = {value.name: value.off_value for value in entry.values}
    return any(written.after != off.get(written.name) for written in writes)


def _unreadable(instance: str, value: DesiredValue, reading: Reading) -> Failure:
    return failure(
        FailureReason.REFUSED,
        f"{value.attribute} of {instance} cannot be read: {reading.message}",
        step=StepName.READ_BACK,
        parameter=value.name,
        errno=reading.errno,
    )


def _not_taken(instance: str, due: DesiredValue, now: str, earlier: Written | None) -> Failure | None:
    if earlier is None or not earlier.done:
        return None
    what = f"{due.attribute} of {instance} was set to {due.value!r} and reads {now!r}"
    return failure(FailureReason.READBACK_MISMATCH, what, step=StepName.READ_BACK, parameter=due.name)


def _not_ours_to_write(situation: Situation, record: Record | None, value: DesiredValue) -> Failure | None:
    """A device that somebody else made is never written, but for an agreed adjustment of a source and a slot.

    The kubelet has given a slot's device to the pod that the entry is for: nobody else's VM can be in it.
    """
    made = record is not None and record.making is Making.DONE
    if made or situation.listed or situation.entry.role is Role.SOURCE or situation.entry.device.slot is not None:
        return None
    what = f"{value.attribute} would have to be {value.value!r}, and this agent has not made the device: not written"
    return failure(FailureReason.INVALID, what, step=StepName.WRITE, parameter=value.name)
