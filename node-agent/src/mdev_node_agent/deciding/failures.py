"""What the kernel's, the journal's and the clock's refusals mean to whoever reads the answer."""

from __future__ import annotations

import errno
import os

from mdev_api.kinds.node_reservations import EntryAnswer, Failure, FailureReason
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.deciding.steps import (
    MAX_MESSAGE,
    Adopt,
    Bind,
    Create,
    Read,
    Remove,
    Restore,
    Step,
    Write,
    failure,
)
from mdev_node_agent.memory.journal import JournalError, NotNotedError
from mdev_node_agent.memory.record import Record
from mdev_node_agent.sysfs.attribute import errno_name

NO_ROOM = frozenset({errno.ENOSPC, errno.EUSERS, errno.ENOMEM})
"""What drivers and the mdev core answer when nothing is left (its answer counts, not a number read before)."""

_OF_AN_UNDO = frozenset({StepName.UNDO, StepName.REMOVE})
_THEN = "; then its undo failed at "


def failure_of(step: Step, error: Exception) -> Failure:
    """The failure that stands in the answer: what was tried, on which device, and what the refusal was."""
    what, name, parameter = _tried(step)
    if isinstance(error, JournalError):
        done = f"the driver was asked before that to {what}, and has done it"
        message = f"{error}; {done if isinstance(error, NotNotedError) else f'nothing was touched to {what}'}"
        return failure(FailureReason.JOURNAL_FAILED, message, step=name, parameter=parameter)
    if isinstance(error, TimeoutError) and not error.errno:
        message = f"to {what} takes too long: the driver has not answered, and the call goes on"
        return failure(FailureReason.DEADLINE, message, step=name, parameter=parameter)
    if isinstance(error, OSError):
        reason = FailureReason.REFUSED
        if error.errno in NO_ROOM and name in (StepName.CREATE, StepName.WRITE):
            reason = FailureReason.NO_CAPACITY
        message = f"the kernel refused to {what}: {os.strerror(error.errno or 0)}"
        return failure(reason, message, step=name, parameter=parameter, errno=errno_name(error))
    raise error


def first_failure(answer: EntryAnswer | None, record: Record | None) -> Failure | None:
    """Why the preparation failed, as it was told before any undo failed as well; None: it did not fail."""
    told = [] if record is None or record.failure is None else [Failure.model_validate(record.failure)]
    if answer is not None and answer.failure is not None:
        told.append(answer.failure)
    first = next((one for one in told if one.step not in _OF_AN_UNDO), None)
    return None if first is None else first.model_copy(update={"message": first.message.partition(_THEN)[0]})


def with_undo(first: Failure | None, undo: Failure) -> Failure:
    """What stopped the preparation, and then, in the same message, the undo's own step, errno and message."""
    if first is None:
        return undo
    number = "" if undo.errno is None else f" ({undo.errno})"
    then = f"{_THEN}{undo.step or StepName.UNDO}{number}: {undo.message}"[: MAX_MESSAGE // 2]
    return first.model_copy(update={"message": first.message[: MAX_MESSAGE - len(then)] + then})


def _tried(step: Step) -> tuple[str, StepName, str | None]:
    if isinstance(step, Create):
        return f"create {step.instance} of type {step.type} on {step.parent}", StepName.CREATE, None
    if isinstance(step, Adopt):
        return f"take on {step.record.instance}", StepName.CREATE, None
    if isinstance(step, Bind):
        return f"bind the reservation to {step.record.instance}", StepName.WRITE, None
    if isinstance(step, Write):
        value = step.value
        what = f"write {value.value!r} to {value.attribute} of {step.record.instance}"
        return what, StepName.WRITE, value.name
    if isinstance(step, Restore):
        written = step.written
        what = f"restore {written.name} of {step.instance} (write {written.before!r} to {written.attribute})"
        return what, StepName.UNDO, written.name
    if isinstance(step, Remove):
        return f"remove {step.instance}", StepName.REMOVE, None
    if isinstance(step, Read):
        name, _, attribute = step.files[0]
        return f"read {attribute} of {step.instance}", StepName.READ_BACK, name
    return f"carry out {step}", StepName.READ_BACK, None
