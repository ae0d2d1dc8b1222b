"""What the kernel's, the journal's and the clock's refusals mean to whoever reads the answer."""

from __future__ import annotations

import errno
import os

from mdev_api.kinds.node_reservations import Failure, FailureReason
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.deciding.steps import Adopt, Bind, Create, Read, Remove, Restore, Step, Write, failure
from mdev_node_agent.memory.journal import JournalError
from mdev_node_agent.sysfs.attribute import errno_name

NO_ROOM = frozenset({errno.ENOSPC, errno.EUSERS, errno.ENOMEM})
"""What drivers and the mdev core answer when nothing is left (its answer counts, not a number read before)."""


def failure_of(step: Step, error: Exception) -> Failure:
    """The failure that stands in the answer: what was tried, on which device, and what the refusal was."""
    what, name, parameter = _tried(step)
    if isinstance(error, JournalError):
        message = f"{error}; nothing was touched to {what}"
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
        what = f"write {written.before!r} back to {written.attribute} of {step.instance}"
        return what, StepName.UNDO, written.name
    if isinstance(step, Remove):
        return f"remove {step.instance}", StepName.REMOVE, None
    if isinstance(step, Read):
        name, _, attribute = step.files[0]
        return f"read {attribute} of {step.instance}", StepName.READ_BACK, name
    return f"carry out {step}", StepName.READ_BACK, None
