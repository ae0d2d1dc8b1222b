"""Slots: from what is known of an entry, the kubelet's view and other entries to the next step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mdev_api.hashing import instance_uuid, profile_name
from mdev_api.kinds.node_reservations import Entry, EntryAnswer, Failure, FailureReason, Intent, State, Waiting
from mdev_node_agent.deciding.claims import claimed, elsewhere, waiting_slots
from mdev_node_agent.deciding.decision import next_step
from mdev_node_agent.deciding.steps import Attempt, Bind, Look, Read, Reading, Restore, Settle, Situation, Step, Write
from mdev_node_agent.kubelet.serving import FreeSlots, Service
from mdev_node_agent.memory.record import Making, Record, Written
from mdev_node_agent.seeing.in_use import InUse, Source, Use
from mdev_node_agent.seeing.observation import Instance, Observation, Offer, Parent
from mdev_node_agent.seeing.sight import Sight
from tests.agent.reservations import entry as entry_content
from tests.agent.reservations import value

GPU = "vendor.com/gpu"
PROFILE: dict[str, Any] = {
    "backend": "mdev",
    "driver": {"name": "d"},
    "type": {"id": "t"},
    "published": {"model": "m", "parameters": [{"name": "memory", "type": "int", "initValue": "1024"}]},
}
OTHER = {**PROFILE, "type": {"id": "u"}}
NAME = profile_name(PROFILE)
FRESH = Attempt(fresh=True)
BOUND = Record(instance="a", backend="mdev")
WROTE = Written(name="memory", type="int", attribute="migration/memory", before="1024", after="4096", done=True)
HELD = EntryAnswer(id="e-1", state=State.PREPARED)


def sight(*free: str, use: Use | None = None, current: bool = True, **slots: Any) -> Sight:
    """Devices a and b of the profile, and c of another; ``free`` are offered as free."""
    offers = tuple(Offer(type=t, profile=p, available=1) for t, p in (("t", PROFILE), ("u", OTHER)))
    parents = (Parent(name="p", driver="d", offers=offers),)
    types = {"a": "t", "b": "t", "c": "u"}
    instances = tuple(Instance(id=i, parent="p", type=t, values={"memory": "1024"}) for i, t in types.items())
    service = Service(slots=(FreeSlots(resource=GPU, instances=free, **slots),), current=current, kept=not current)
    uses = {"a": use or Use(state=InUse.YES, source=Source.POD_RESOURCES)}
    return Sight(
        observation=Observation(boot_id="boot-1", parents=parents, instances=instances), uses=uses, service=service
    )


def slot(intent: Intent = Intent.HOLD, *, entry_id: str = "e-1", resource: str = GPU, **changed: Any) -> Entry:
    device = {"slot": {"resource": resource}, "profile": NAME}
    values = [value("memory", "4096")]
    content = entry_content(entry_id, boot_id="boot-1", device=device, values=values, intent=str(intent))
    return Entry.model_validate({**content, **changed})


def holding(*free: str, seen: Sight | None = None, **known: Any) -> Step:
    return next_step(Situation(entry=slot(), sight=seen or sight(*free), attempt=FRESH, **known))


def answer(step: Step) -> EntryAnswer:
    assert isinstance(step, Settle), step
    return step.answer


def failed(step: Step) -> Failure:
    said = answer(step)
    assert said.state is State.FAILED and said.failure is not None
    return said.failure


def test_room_is_seen_afresh_before_it_is_promised() -> None:
    assert next_step(Situation(entry=slot(), sight=sight("a"))) == Look()


def test_a_slot_is_prepared_without_an_instance_and_without_touching_anything() -> None:
    assert answer(holding("a")) == HELD


def test_the_last_device_is_not_promised_twice() -> None:
    failure = failed(holding("a", waiting_slots=1))
    assert failure.reason is FailureReason.NO_CAPACITY and "1 other slots are held" in failure.message


def test_two_slots_fit_into_two_devices() -> None:
    assert answer(holding("a", "b", waiting_slots=1)) == HELD


def test_a_device_that_is_reserved_by_name_is_no_room() -> None:
    assert failed(holding("a", elsewhere=frozenset({"a"}))).reason is FailureReason.NO_CAPACITY


def test_one_free_device_of_another_profile_spoils_all() -> None:
    failure = failed(holding("a", "c"))
    assert failure.reason is FailureReason.PROFILE_CHANGED and failure.message.startswith("c has another profile")


def test_a_free_device_that_nobody_knows_spoils_all() -> None:
    assert failed(holding(seen=sight("a", unknown=("strange",)))).reason is FailureReason.INVALID


def test_a_resource_of_our_own_plugin_has_no_slots_to_hold() -> None:
    assert "binding Early" in failed(holding(seen=sight("a", types=("t",)))).message


def test_a_resource_that_nobody_offers_has_no_room() -> None:
    step = next_step(Situation(entry=slot(resource="vendor.com/none"), sight=sight("a"), attempt=FRESH))
    assert failed(step).reason is FailureReason.NO_CAPACITY


def test_while_the_kubelet_is_silent_nothing_is_promised_and_nothing_fails() -> None:
    waiting = answer(next_step(Situation(entry=slot(), sight=sight("a", current=False))))
    assert waiting.state is State.PENDING
    assert answer(holding(seen=sight("a", current=False))) == waiting


def test_an_agent_that_does_not_ask_the_kubelet_says_so() -> None:
    assert "--kubelet-dir" in failed(holding(seen=replace(sight("a"), service=Service()))).message


def test_a_parameter_that_the_devices_do_not_have_is_refused_before_anything_is_promised() -> None:
    entry = slot(values=[value("memory", "4096", attribute="power/control")])
    step = next_step(Situation(entry=entry, sight=sight("a"), attempt=FRESH))
    assert failed(step).reason is FailureReason.INVALID


def test_a_promise_stands_while_nothing_is_picked() -> None:
    assert answer(next_step(Situation(entry=slot(), sight=sight(), answer=HELD))) == HELD


# Binding


def test_what_is_picked_is_seen_afresh_then_journalled_then_read() -> None:
    situation = Situation(entry=slot(), sight=sight(), answer=HELD, picked="a")
    assert next_step(situation) == Look()
    assert next_step(replace(situation, attempt=FRESH)) == Bind(record=BOUND)
    assert isinstance(next_step(replace(situation, attempt=FRESH, record=BOUND)), Read)


def reading(memory: str) -> Attempt:
    return replace(FRESH, readings={"memory": Reading(value=memory)})


def test_a_foreign_device_is_written_once_it_is_picked() -> None:
    situation = Situation(entry=slot(), sight=sight(), answer=HELD, picked="a", record=BOUND, attempt=reading("1024"))
    step = next_step(situation)
    assert isinstance(step, Write) and (step.record, step.before) == (BOUND, "1024")


def test_a_device_that_a_program_has_open_is_not_written() -> None:
    opened = sight(use=Use(state=InUse.YES, source=Source.PROCESS))
    situation = Situation(entry=slot(), sight=opened, answer=HELD, picked="a", record=BOUND, attempt=reading("1024"))
    assert failed(next_step(situation)).reason is FailureReason.CONFLICT


def test_a_device_that_reads_right_is_bound_though_a_program_has_it_open() -> None:
    opened = sight(use=Use(state=InUse.YES, source=Source.PROCESS))
    situation = Situation(entry=slot(), sight=opened, answer=HELD, picked="a", record=BOUND, attempt=reading("4096"))
    said = answer(next_step(situation))
    assert (said.state, said.instance) == (State.PREPARED, "a")


@pytest.mark.parametrize(("picked", "reason"), [("c", FailureReason.PROFILE_CHANGED), ("gone", FailureReason.CONFLICT)])
def test_what_does_not_fit_fails_and_is_not_bound(picked: str, reason: FailureReason) -> None:
    assert failed(holding(answer=HELD, picked=picked)).reason is reason


def test_what_another_reservation_names_is_not_bound() -> None:
    step = holding(answer=HELD, picked="a", elsewhere=frozenset({"a"}))
    assert failed(step).reason is FailureReason.CONFLICT


def test_an_agent_that_died_while_binding_goes_on_by_its_journal() -> None:
    record = replace(BOUND, writes=(WROTE,))
    situation = Situation(entry=slot(), sight=sight(), answer=HELD, record=record, attempt=reading("4096"))
    said = answer(next_step(situation))
    assert said.instance == "a" and [w.to for w in said.writes] == ["4096"]


def test_a_bound_slot_stays_bound_whatever_is_picked_later() -> None:
    said = HELD.model_copy(update={"instance": "a"})
    assert answer(next_step(Situation(entry=slot(), sight=sight(), answer=said, picked="b"))) == said


# Letting go


def test_a_slot_that_was_never_bound_is_undone_at_once() -> None:
    situation = Situation(entry=slot(Intent.UNDO), sight=sight("a"), answer=HELD)
    assert answer(next_step(situation)).state is State.UNDONE


def test_what_was_written_waits_until_no_pod_has_the_device_and_is_never_removed() -> None:
    record = replace(BOUND, writes=(WROTE,))
    situation = Situation(entry=slot(Intent.UNDO), sight=sight(), answer=HELD, record=record, attempt=FRESH)
    assert answer(next_step(situation)).waiting is Waiting.IN_USE
    free = sight("a", use=Use(state=InUse.NO, source=Source.POD_RESOURCES))
    step = next_step(replace(situation, sight=free, attempt=reading("4096")))
    assert isinstance(step, Restore) and step.written.before == "1024"


def test_what_was_written_is_undone_though_the_journal_is_lost() -> None:
    write = {"name": "memory", "type": "int", "attribute": "migration/memory", "from": "1024", "to": "4096"}
    said = EntryAnswer.model_validate({"id": "e-1", "state": "Prepared", "instance": "a", "writes": [write]})
    free = sight("a", use=Use(state=InUse.NO, source=Source.POD_RESOURCES))
    situation = Situation(entry=slot(Intent.UNDO), sight=free, answer=said, attempt=reading("4096"))
    assert isinstance(next_step(situation), Restore)


def test_a_slot_is_handed_over_with_the_device_that_it_was_bound_to() -> None:
    said = answer(next_step(Situation(entry=slot(Intent.HAND_OVER), sight=sight(), answer=HELD, record=BOUND)))
    assert (said.state, said.instance) == (State.HANDED_OVER, "a")


# Other entries


def test_only_promises_of_the_same_resource_that_nobody_has_taken_up_count() -> None:
    bound = HELD.model_copy(update={"id": "bound", "instance": "a"})
    others = [slot(entry_id=i) for i in ("held", "bound", "picked", "unanswered", "failed")]
    others += [slot(entry_id="other", resource="vendor.com/x"), slot(Intent.UNDO, entry_id="undone")]
    answers = dict.fromkeys(("held", "picked", "other", "undone"), HELD) | {"bound": bound}
    answers["failed"] = EntryAnswer(id="failed", state=State.FAILED)
    assert waiting_slots(GPU, others, answers, {"picked"}) == 1


def test_instances_of_other_entries_are_elsewhere_until_they_are_let_go() -> None:
    create = {"create": {"parent": "p", "type": "t", "profile": NAME}}
    new = Entry.model_validate(entry_content("new", boot_id="b", device=create))
    named = Entry.model_validate(entry_content("named", boot_id="b", device={"instance": "n", "profile": NAME}))
    others = [new, named, slot(entry_id="bound"), slot(entry_id="begun"), slot(entry_id="over")]
    answers = {
        "bound": EntryAnswer(id="bound", state=State.PREPARED, instance="a"),
        "over": EntryAnswer(id="over", state=State.UNDONE, instance="z"),
    }
    records = {"begun": Record(instance="b", backend="mdev", making=Making.NONE)}
    assert elsewhere(others, answers, records) == {instance_uuid("new"), "n", "a", "b"}


def test_what_the_kubelet_may_pick_for_a_slot_is_claimed_and_what_other_resources_offer_is_not() -> None:
    other = FreeSlots(resource="vendor.com/x", instances=("x",))
    service = Service(slots=(FreeSlots(resource=GPU, instances=("a", "b")), other), current=True)
    bound = {"e-1": HELD.model_copy(update={"instance": "c"})}
    assert claimed([slot()], bound, ["d"], service) == {"a", "b", "c", "d", instance_uuid("e-1")}
    assert claimed([], {}, [], service) == frozenset()
