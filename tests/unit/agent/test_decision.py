"""The intents table, row by row: from what is known to the next step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.hashing import instance_uuid, profile_name
from mdev_api.kinds.node_reservations import (
    FINAL_STATES,
    Entry,
    EntryAnswer,
    Failure,
    FailureReason,
    Intent,
    Role,
    State,
    Waiting,
)
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.deciding.decision import next_step
from mdev_node_agent.deciding.steps import (
    Adopt,
    Attempt,
    Create,
    Look,
    Read,
    Reading,
    Remove,
    Restore,
    Settle,
    Situation,
    Write,
)
from mdev_node_agent.memory.record import Making, Record, Written
from mdev_node_agent.seeing.in_use import InUse, Source, Use
from mdev_node_agent.seeing.observation import Instance, Observation, Offer, Parent, Unreadable
from mdev_node_agent.seeing.sight import Sight
from tests.agent.reservations import entry as entry_content
from tests.agent.reservations import value

PROFILE: dict[str, Any] = {
    "backend": "mdev",
    "driver": {"name": "d"},
    "type": {"id": "t"},
    "published": {
        "model": "m",
        "parameters": [
            {"name": "memory", "type": "int", "initValue": "1024"},
            {"name": "queues", "type": "int", "initValue": "4"},
        ],
    },
}
NAME = profile_name(PROFILE)
MINE = instance_uuid("move-1")
FRESH = Attempt(fresh=True)
WROTE = Written(name="memory", type="int", attribute="migration/memory", before="1024", after="4096", done=True)
MADE = Record(instance=MINE, backend="mdev", making=Making.DONE)
SET = Record(instance="given", backend="mdev", writes=(WROTE,))


def sight(
    *instances: str, use: InUse = InUse.NO, parent: str = "p", told: tuple[Unreadable, ...] = (), **changed: Any
) -> Sight:
    offers = (Offer(type="t", profile={**PROFILE, **changed}, available=1),)
    parents = (Parent(name="p", driver="d", offers=offers), Parent(name="q", driver="d", offers=offers))
    seen = tuple(Instance(id=i, parent=parent, type="t", values={"memory": "1024"}) for i in instances)
    observation = Observation(boot_id="boot-1", parents=parents, instances=seen, unreadable=told)
    return Sight(observation=observation, uses={i: Use(state=use, source=Source.PROCESS) for i in instances})


def new(intent: Intent = Intent.HOLD, *, memory: str = "4096", **changed: Any) -> Entry:
    """An entry that asks for a new device."""
    device = {"create": {"parent": "p", "type": "t", "profile": NAME}}
    content = entry_content(
        "move-1", boot_id="boot-1", device=device, values=[value("memory", memory)], intent=str(intent)
    )
    return Entry.model_validate({**content, **changed})


def given_device(intent: Intent = Intent.HOLD, *, role: Role = Role.DESTINATION, **changed: Any) -> Entry:
    """An entry about the device ``given``."""
    device = {"instance": "given", "profile": NAME}
    content = entry_content("move-2", boot_id="boot-1", device=device, intent=str(intent), role=str(role))
    return Entry.model_validate({**content, **changed})


def answered(state: State, entry_id: str = "move-1", **more: Any) -> EntryAnswer:
    return EntryAnswer.model_validate({"id": entry_id, "state": state, **more})


def settled(situation: Situation) -> EntryAnswer:
    step = next_step(situation)
    assert isinstance(step, Settle), step
    return step.answer


def failed(situation: Situation) -> Failure:
    answer = settled(situation)
    assert answer.state is State.FAILED and answer.failure is not None
    return answer.failure


# Hold


def test_nothing_is_made_before_a_fresh_look() -> None:
    assert next_step(Situation(entry=new(), sight=sight())) == Look()


def test_a_new_device_is_made_under_a_uuid_of_the_reservation() -> None:
    step = next_step(Situation(entry=new(), sight=sight(), attempt=FRESH))
    assert step == Create(instance=MINE, backend="mdev", parent="p", type="t")


def test_a_device_that_an_earlier_try_has_made_is_taken_on() -> None:
    begun = Record(instance=MINE, backend="mdev", making=Making.BEGUN)
    step = next_step(Situation(entry=new(), sight=sight(MINE), record=begun, attempt=FRESH))
    assert step == Adopt(record=MADE, parent="p", type="t")


def test_a_device_that_an_earlier_try_has_made_is_taken_on_even_if_the_journal_is_lost() -> None:
    step = next_step(Situation(entry=new(), sight=sight(MINE), attempt=FRESH))
    assert step == Adopt(record=MADE, parent="p", type="t")


def test_a_device_of_that_uuid_on_another_parent_is_a_conflict() -> None:
    situation = Situation(entry=new(), sight=sight(MINE, parent="q"), attempt=replace(FRESH, collided=True))
    assert failed(situation).reason is FailureReason.CONFLICT


def test_a_uuid_that_is_taken_and_not_to_be_seen_is_a_conflict() -> None:
    situation = Situation(entry=new(), sight=sight(), attempt=replace(FRESH, collided=True))
    assert failed(situation).reason is FailureReason.CONFLICT


def test_a_made_device_is_read_before_it_is_written() -> None:
    step = next_step(Situation(entry=new(), sight=sight(MINE), record=MADE, attempt=FRESH))
    assert step == Read(instance=MINE, backend="mdev", files=(("memory", "int", "migration/memory"),))


def reading(text: str) -> Attempt:
    return replace(FRESH, readings={"memory": Reading(value=text)})


def test_a_value_that_differs_is_written() -> None:
    step = next_step(Situation(entry=new(), sight=sight(MINE), record=MADE, attempt=reading("1024")))
    assert isinstance(step, Write) and (step.value.value, step.before) == ("4096", "1024")


def test_a_value_that_is_equal_is_not_written() -> None:
    situation = Situation(entry=new(), sight=sight(MINE), record=MADE, attempt=reading("4096"))
    answer = settled(situation)
    assert (answer.state, answer.instance, answer.created) == (State.PREPARED, MINE, True)
    assert [v.value for v in answer.values] == ["4096"] and answer.writes == ()


def test_a_value_that_reads_otherwise_after_its_write_is_a_mismatch() -> None:
    record = replace(MADE, writes=(WROTE,))
    failure = failed(Situation(entry=new(), sight=sight(MINE), record=record, attempt=reading("2048")))
    assert (failure.reason, failure.parameter) == (FailureReason.READBACK_MISMATCH, "memory")


def test_a_write_that_a_crash_interrupted_is_done_again_and_remembers_the_first_value() -> None:
    record = replace(MADE, writes=(replace(WROTE, done=False),))
    step = next_step(Situation(entry=new(), sight=sight(MINE), record=record, attempt=reading("2048")))
    assert isinstance(step, Write) and step.before == "1024"


def test_a_value_that_cannot_be_read_fails_with_the_errno() -> None:
    unreadable = replace(FRESH, readings={"memory": Reading(errno="EIO", message="EIO")})
    failure = failed(Situation(entry=new(), sight=sight(MINE), record=MADE, attempt=unreadable))
    assert (failure.reason, failure.parameter, failure.errno) == (FailureReason.REFUSED, "memory", "EIO")


def test_an_earlier_failure_is_not_tried_again_after_a_restart() -> None:
    record = replace(MADE, failure={"reason": "Refused", "message": "no"})
    assert failed(Situation(entry=new(), sight=sight(MINE), record=record)).message == "no"


INVALID: list[dict[str, Any]] = [
    {"device": {"create": {"parent": "..", "type": "t", "profile": NAME}}},
    {"device": {"create": {"parent": "p", "type": "other", "profile": NAME}}},
    {"device": {"slot": {"resource": "example.com/gpu"}}},
    {"device": {"instance": "nobody", "profile": NAME}},
    {"values": [value("memory", "4096", attribute="remove")]},
    {"values": [value("memory", "4096", attribute="power/control")]},
    {"values": [value("memory", "04096")]},
    {"values": [value("memory", "many")]},
]


@pytest.mark.parametrize("changed", INVALID, ids=str)
def test_what_this_node_does_not_show_or_support_is_invalid(changed: dict[str, Any]) -> None:
    failure = failed(Situation(entry=new(**changed), sight=sight(), attempt=FRESH))
    assert failure.reason is FailureReason.INVALID and failure.message


def test_another_profile_than_planned_fails() -> None:
    failure = failed(Situation(entry=new(), sight=sight(driver={"name": "newer"}), attempt=FRESH))
    assert failure.reason is FailureReason.PROFILE_CHANGED


def test_a_given_device_that_is_in_use_is_not_touched() -> None:
    failure = failed(Situation(entry=given_device(), sight=sight("given", use=InUse.YES), attempt=FRESH))
    assert failure.reason is FailureReason.CONFLICT


def test_a_device_that_somebody_else_made_is_not_written() -> None:
    entry = given_device(values=[value("memory", "4096")])
    situation = Situation(entry=entry, sight=sight("given"), attempt=reading("1024"))
    assert failed(situation).reason is FailureReason.INVALID
    assert isinstance(next_step(replace(situation, listed=True)), Write)


def test_an_agreed_adjustment_of_a_source_is_written() -> None:
    entry = given_device(role=Role.SOURCE, values=[value("memory", "4096")])
    situation = Situation(entry=entry, sight=sight("given", use=InUse.YES), attempt=reading("1024"))
    assert isinstance(next_step(situation), Write)


def test_a_source_is_answered_with_a_digest_and_kept_current() -> None:
    entry = given_device(role=Role.SOURCE)
    answer = settled(Situation(entry=entry, sight=sight("given"), attempt=FRESH))
    assert answer.state is State.PREPARED and answer.digest is not None
    unreadable = sight("given", driver={"name": "newer"})
    later = settled(Situation(entry=entry, sight=unreadable, answer=answer))
    assert later.digest not in (None, answer.digest)


def test_a_prepared_device_that_is_gone_is_lost() -> None:
    held = answered(State.PREPARED, instance=MINE, created=True)
    assert next_step(Situation(entry=new(), sight=sight(), answer=held, record=MADE)) == Look()
    situation = Situation(entry=new(), sight=sight(), answer=held, record=MADE, attempt=FRESH)
    assert settled(situation).state is State.LOST


def test_a_node_that_cannot_be_seen_loses_nothing() -> None:
    blind = sight(told=(Unreadable(path="", name="mdev", errno="EIO", message="sees nothing"),))
    held = answered(State.PREPARED, instance=MINE, created=True)
    situation = Situation(entry=new(), sight=blind, answer=held, record=MADE, attempt=FRESH)
    assert settled(situation).state is State.PREPARED


# HandOver


@pytest.mark.parametrize("state", [None, State.PENDING, State.PREPARED, State.FAILED, State.TAINTED])
def test_hand_over_cannot_fail_and_keeps_what_exists(state: State | None) -> None:
    answer = None if state is None else answered(state, instance=MINE, created=True)
    handed = settled(Situation(entry=new(Intent.HAND_OVER), sight=sight(MINE), answer=answer, record=MADE))
    assert (handed.state, handed.instance) == (State.HANDED_OVER, MINE)


# Undo, UndoIfUnused


def undoing(intent: Intent, use: InUse, **more: Any) -> Situation:
    return Situation(entry=new(intent), sight=sight(MINE, use=use), record=MADE, attempt=FRESH, **more)


REMOVES = [
    (Intent.UNDO, InUse.NO, None),
    (Intent.UNDO, InUse.UNKNOWN, None),
    (Intent.UNDO, InUse.YES, Waiting.IN_USE),
    (Intent.UNDO_IF_UNUSED, InUse.NO, None),
    (Intent.UNDO_IF_UNUSED, InUse.UNKNOWN, Waiting.IN_USE_UNKNOWN),
    (Intent.UNDO_IF_UNUSED, InUse.YES, Waiting.IN_USE),
]


@pytest.mark.parametrize(("intent", "use", "waiting"), REMOVES)
def test_what_we_made_is_removed_when_the_intent_allows_it(intent: Intent, use: InUse, waiting: Waiting | None) -> None:
    situation = undoing(intent, use)
    if waiting is None:
        assert next_step(situation) == Remove(instance=MINE, backend="mdev")
        assert next_step(replace(situation, attempt=Attempt())) == Look()
    else:
        assert settled(situation).waiting is waiting


def test_nothing_done_is_undone_at_once() -> None:
    assert settled(Situation(entry=new(Intent.UNDO), sight=sight())).state is State.UNDONE


def test_a_device_that_is_gone_is_undone() -> None:
    situation = Situation(entry=new(Intent.UNDO), sight=sight(), record=MADE, attempt=FRESH)
    assert settled(situation).state is State.UNDONE


def test_a_device_whose_removal_waits_is_not_undone_yet() -> None:
    leaving = sight(told=(Unreadable(path=f"p/{MINE}", name=MINE, errno="", message="not on the bus"),))
    situation = Situation(entry=new(Intent.UNDO), sight=leaving, record=MADE, attempt=FRESH)
    assert settled(situation).waiting is Waiting.REMOVE_BLOCKED


def test_the_journal_lost_our_own_answer_still_knows() -> None:
    kept = answered(State.FAILED, instance=MINE, created=True)
    situation = Situation(entry=new(Intent.UNDO), sight=sight(MINE), answer=kept, attempt=FRESH)
    assert next_step(situation) == Remove(instance=MINE, backend="mdev")


def test_a_misfit_under_our_uuid_is_never_removed() -> None:
    for record in (None, MADE, replace(MADE, making=Making.BEGUN)):
        situation = Situation(entry=new(Intent.UNDO), sight=sight(MINE, parent="q"), record=record, attempt=FRESH)
        assert settled(situation).state is State.UNDONE


def restoring(attempt: Attempt, **more: Any) -> Situation:
    return Situation(entry=given_device(Intent.UNDO), sight=sight("given"), record=SET, attempt=attempt, **more)


def test_a_given_device_gets_its_old_values_back_and_stays() -> None:
    assert isinstance(next_step(restoring(FRESH)), Read)
    assert isinstance(next_step(restoring(reading("4096"))), Restore)
    assert settled(restoring(reading("1024"))).state is State.UNDONE


def test_old_values_go_back_in_reverse() -> None:
    second = Written(name="queues", type="int", attribute="migration/queues", before="4", after="8", done=True)
    both = replace(FRESH, readings={"memory": Reading(value="4096"), "queues": Reading(value="8")})
    step = next_step(replace(restoring(both), record=replace(SET, writes=(WROTE, second))))
    assert isinstance(step, Restore) and step.written == second


def test_a_value_that_does_not_go_back_is_tainted_and_not_written_twice() -> None:
    answer = settled(restoring(replace(reading("4096"), restored={WROTE.key: None})))
    assert answer.state is State.TAINTED and answer.failure is not None
    assert settled(restoring(Attempt(), answer=answer)) == answer


def test_a_failed_undo_is_tried_again_at_a_rescan() -> None:
    tainted = answered(State.TAINTED, "move-2", instance="given")
    assert next_step(restoring(Attempt(retry=True), answer=tainted)) == Look()


def test_a_failed_undo_tells_the_first_failure_first_and_then_its_own() -> None:
    first = {"reason": "Refused", "step": "Write", "errno": "EIO", "message": "first"}
    answer = answered(State.FAILED, instance=MINE, created=True, failure=first)
    second = Failure(reason=FailureReason.REFUSED, step=StepName.REMOVE, errno="EBUSY", message="second")
    situation = replace(undoing(Intent.UNDO, InUse.NO, answer=answer), attempt=replace(FRESH, failure=second))
    tainted = settled(situation)
    assert tainted.state is State.TAINTED and tainted.failure is not None
    assert tainted.failure.message == "first; then its undo failed at Remove (EBUSY): second"


# RemoveIfUnused


def removing(use: InUse, *, listed: bool, attempt: Attempt = FRESH) -> Situation:
    entry = given_device(Intent.REMOVE_IF_UNUSED, role=Role.SOURCE)
    return Situation(entry=entry, sight=sight("given", use=use), listed=listed, attempt=attempt)


def test_only_a_device_of_the_ledger_is_removed() -> None:
    assert next_step(removing(InUse.NO, listed=True)) == Remove(instance="given", backend="mdev")
    kept = settled(removing(InUse.NO, listed=False))
    assert kept.state is State.HANDED_OVER and kept.failure is not None


@pytest.mark.parametrize("use", [InUse.YES, InUse.UNKNOWN])
def test_a_removal_waits_until_nobody_uses_the_device_for_certain(use: InUse) -> None:
    assert settled(removing(use, listed=True)).waiting in (Waiting.IN_USE, Waiting.IN_USE_UNKNOWN)


def test_a_device_that_is_gone_is_removed() -> None:
    entry = given_device(Intent.REMOVE_IF_UNUSED, role=Role.SOURCE)
    assert settled(Situation(entry=entry, sight=sight())).state is State.REMOVED


# Another boot


@pytest.mark.parametrize(
    ("intent", "state"),
    [
        (Intent.HOLD, State.FAILED),
        (Intent.HAND_OVER, State.HANDED_OVER),
        (Intent.UNDO, State.UNDONE),
        (Intent.UNDO_IF_UNUSED, State.UNDONE),
        (Intent.REMOVE_IF_UNUSED, State.UNDONE),
    ],
)
def test_another_boot_ends_what_was_begun(intent: Intent, state: State) -> None:
    entry = new(intent, bootID="boot-0")
    answer = settled(Situation(entry=entry, sight=sight(), answer=answered(State.PREPARED)))
    assert answer.state is state
    assert (answer.failure is not None and answer.failure.reason is FailureReason.NODE_REBOOTED) == (
        state is State.FAILED
    )


# For every situation

entries = st.sampled_from(Intent).flatmap(lambda i: st.sampled_from([new(i), given_device(i, role=Role.SOURCE)]))
situations = st.builds(
    Situation,
    entry=entries,
    sight=st.builds(
        lambda ids, use: sight(*ids, use=use), st.sets(st.sampled_from([MINE, "given"])), st.sampled_from(InUse)
    ),
    answer=st.none() | st.sampled_from(State).map(answered),
    record=st.sampled_from([None, MADE, replace(MADE, making=Making.BEGUN)]),
    listed=st.booleans(),
    busy=st.booleans(),
    attempt=st.builds(Attempt, fresh=st.booleans(), retry=st.booleans()),
)


@given(situations)
def test_a_device_is_only_removed_when_told_so_seen_fresh_and_not_in_use(situation: Situation) -> None:
    step = next_step(situation)
    if not isinstance(step, Remove):
        return
    use = situation.sight.use(step.instance).state
    assert situation.attempt.fresh and not situation.busy and use is not InUse.YES
    assert situation.entry.intent not in (Intent.HOLD, Intent.HAND_OVER)
    assert use is InUse.NO or situation.entry.intent is Intent.UNDO
    assert step.instance == MINE or situation.listed


@given(situations)
def test_a_final_answer_never_changes(situation: Situation) -> None:
    answer = situation.answer
    if answer is not None and answer.state in FINAL_STATES:
        assert next_step(situation) == Settle(answer=answer, ended=True)
