"""A preparation that failed, and whose undo failed too: both are told, the first one first."""

from __future__ import annotations

import errno
from pathlib import Path

from mdev_api.kinds.node_reservations import EntryAnswer, Failure, FailureReason, State
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.deciding.failures import first_failure, with_undo
from mdev_node_agent.deciding.steps import MAX_MESSAGE, Remove
from tests.agent.preparing import preparing
from tests.agent.reservations import value
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel

FIRST = Failure(reason=FailureReason.REFUSED, step=StepName.WRITE, errno="EIO", message="first")
UNDO = Failure(reason=FailureReason.REFUSED, step=StepName.REMOVE, errno="EBUSY", message="second")


def tainted(failure: Failure) -> EntryAnswer:
    return EntryAnswer(id="move-1", state=State.TAINTED, failure=failure)


def test_the_first_failure_is_told_first_with_its_own_step_and_errno() -> None:
    both = with_undo(FIRST, UNDO)
    assert both == FIRST.model_copy(update={"message": "first; then its undo failed at Remove (EBUSY): second"})


def test_without_an_earlier_failure_the_undo_tells_its_own() -> None:
    assert with_undo(None, UNDO) == UNDO


def test_an_undo_that_fails_again_and_again_is_told_once() -> None:
    assert first_failure(tainted(with_undo(FIRST, UNDO)), None) == FIRST


def test_the_failure_of_an_undo_is_no_failure_of_the_preparation() -> None:
    assert first_failure(tainted(UNDO), None) is None


def test_the_words_of_a_failed_undo_fit_beside_a_long_first_failure() -> None:
    both = with_undo(FIRST.model_copy(update={"message": "x" * MAX_MESSAGE}), UNDO)
    assert len(both.message) == MAX_MESSAGE and both.message.endswith("(EBUSY): second")


async def test_an_undo_that_works_at_last_leaves_only_what_had_failed_before_it(tmp_path: Path) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    kernel.write("module/gfx/parameters/fail_write", "memory\n")

    def keeps(key: str, step: Remove) -> None:
        raise OSError(errno.EBUSY, "kept")

    async with preparing(kernel, tmp_path) as one:
        content = one.new("gfx0", "gfx-varGB", values=[value("memory", "8192")])
        one.told(content)
        first = await one.fails()
        removes, one.hands.remove = one.hands.remove, keeps  # type: ignore[method-assign]
        one.told({**content, "intent": "Undo"})
        failure = (await one.settles(State.TAINTED)).failure
        assert failure is not None and failure.message.startswith(f"{first.message}; then its undo failed at Remove")
        one.hands.remove = removes  # type: ignore[method-assign]
        one.preparer.poke(retry=True)
        assert (await one.comes(lambda answer: answer.state is State.UNDONE)).failure == first
