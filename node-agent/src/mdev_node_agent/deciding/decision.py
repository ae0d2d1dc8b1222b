"""From an entry and all that is known to the next step: the intents table of the API (NodeReservations), and no more.

Pure: no clock, no I/O. An entry that is missing means Hold, so nothing is ever decided for one that is not there.
"""

from __future__ import annotations

from mdev_api.kinds.node_reservations import FINAL_STATES, EntryAnswer, FailureReason, Intent, State
from mdev_node_agent.deciding.hold import hold
from mdev_node_agent.deciding.hold_slot import hold_slot
from mdev_node_agent.deciding.standing import planned_instance, standing
from mdev_node_agent.deciding.steps import Settle, Situation, Step, answer_of, failure
from mdev_node_agent.deciding.undo import remove, undo


def next_step(situation: Situation) -> Step:
    """What to do next for the entry; ``Settle`` when there is nothing more to do now."""
    answer, entry = situation.answer, situation.entry
    if answer is not None and answer.state in FINAL_STATES:
        return Settle(answer=answer, ended=True)
    if entry.boot_id != situation.sight.observation.boot_id:
        return _of_another_boot(situation)
    if entry.intent is Intent.HOLD:
        return hold(situation) if entry.device.slot is None else hold_slot(situation)
    if entry.intent is Intent.HAND_OVER:
        return _hand_over(situation)
    if entry.intent is Intent.REMOVE_IF_UNUSED:
        return remove(situation)
    return undo(situation)


def _hand_over(situation: Situation) -> Settle:
    """It is the VM's now: keep what exists. This cannot fail."""
    instance = planned_instance(situation)
    if situation.entry.device.create is not None:
        instance = None if situation.answer is None else situation.answer.instance
    answer = answer_of(situation, State.HANDED_OVER, record=standing(situation), instance=instance)
    return Settle(answer=answer, ended=True)


def _of_another_boot(situation: Situation) -> Settle:
    """What was made is gone with the boot, and what was written too."""
    entry = situation.entry
    if entry.intent is Intent.HOLD:
        now = situation.sight.observation.boot_id
        what = f"the reservation is of boot {entry.boot_id}, and this is {now}: no device or claim survives one"
        failed = failure(FailureReason.NODE_REBOOTED, what)
        return Settle(answer=EntryAnswer(id=entry.id, state=State.FAILED, failure=failed), ended=True)
    if entry.intent is Intent.HAND_OVER:
        return Settle(answer=EntryAnswer(id=entry.id, state=State.HANDED_OVER), ended=True)
    return Settle(answer=EntryAnswer(id=entry.id, state=State.UNDONE), ended=True)
