"""What the adapter does next, from every state that a migration of KubeVirt can be found in."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_api.kinds.device_migration import Binding, Outcome
from mdev_operator.kubevirt.decide import (
    Create,
    DeletePod,
    Explain,
    Forget,
    Start,
    Tell,
    Ungate,
    decide,
)
from mdev_operator.kubevirt.ungate import CannotBind
from tests.unit.kubevirt.sights import PATIENCE, migration, pod, ready, sight, vmi, vmim
from tests.unit.operator.world import condition

FAILED, SUCCEEDED = Tell(outcome=Outcome.FAILED), Tell(outcome=Outcome.SUCCEEDED)
LOST = condition("Overdue", True, "DestinationLost")
EMPTY_TERM = CannotBind(message="nodeSelectorTerms[0] is empty")


def kinds(decision: Any) -> list[type]:
    return [type(step) for step in decision.steps]


def test_a_gated_pod_gets_a_reservation_for_what_is_left_of_its_time() -> None:
    decision = decide(sight(pod=pod(age=10.4), binding=Binding.EARLY))
    assert decision.steps == (Create(binding=Binding.EARLY, deadline_seconds=79),)


def test_an_operator_that_was_away_gets_a_third_of_the_time_for_a_try() -> None:
    assert decide(sight(pod=pod(age=120))).steps == (Create(binding=Binding.LATE, deadline_seconds=30),)


@pytest.mark.parametrize(
    ("age", "patience", "left"), [(230.0, 300.0, 10), (70.0, 100.0, 10), (5.0, 60.0, 43), (200.0, 900.0, 30)]
)
def test_a_gate_is_never_lifted_when_kubevirt_would_delete_the_pod(age: float, patience: float, left: int) -> None:
    decision = decide(sight(pod=pod(age=age), vmim=vmim(patience=patience)))
    assert decision.steps == (Create(binding=Binding.LATE, deadline_seconds=left),)


def test_a_pod_that_kubevirt_is_about_to_delete_is_explained_and_deleted_without_a_reservation() -> None:
    decision = decide(sight(pod=pod(age=241)))
    assert kinds(decision) == [Explain, DeletePod]
    assert isinstance(decision.steps[0], Explain) and "241 s" in decision.steps[0].notes[0]


@pytest.mark.parametrize(
    "why",
    [{"vmim": None}, {"vmim": vmim("Failed")}, {"vmim": vmim(deleting=True)}, {"newer": "another"}],
    ids=["gone", "ended", "being deleted", "superseded"],
)
def test_a_gated_pod_that_nobody_wants_any_more_is_deleted_and_nothing_is_made(why: dict[str, Any]) -> None:
    assert decide(sight(**why)).steps == (DeletePod(),)


def test_a_pod_without_our_gate_that_nothing_is_reserved_for_is_left_alone() -> None:
    assert decide(sight(pod=pod(gated=False))).steps == ()


def test_a_pod_that_cannot_be_bound_is_refused_at_once_with_the_reason() -> None:
    decision = decide(sight(refused=EMPTY_TERM))
    assert decision.steps == (Explain(notes=(EMPTY_TERM.message,)), DeletePod())


def test_the_migration_is_started_before_the_gate_is_lifted() -> None:
    assert decide(sight(migration=ready("node-b"))).steps == (Start(), Ungate(node="node-b"))


def test_a_started_migration_whose_pod_is_still_gated_goes_on_after_a_crash() -> None:
    assert decide(sight(migration=ready("node-b", started=True))).steps == (Ungate(node="node-b"),)


def test_nothing_is_lifted_while_no_device_is_prepared() -> None:
    decision = decide(sight(migration=migration(condition("Ready", False))))
    assert decision.steps == () and decision.look_again == pytest.approx(82)


def test_the_reservation_has_a_moment_to_end_by_itself_and_say_why() -> None:
    assert decide(sight(migration=migration(age=91), pod=pod(age=91))).steps == ()
    assert kinds(decide(sight(migration=migration(age=93), pod=pod(age=93)))) == [Explain, DeletePod, Tell]


def test_nothing_is_lifted_for_a_reservation_that_is_being_deleted() -> None:
    assert decide(sight(migration=ready(deleted=True))).steps == ()


def test_a_pod_waits_for_its_turn_and_soon_looks_again() -> None:
    decision = decide(sight(migration=ready(), turn="pod default/other is to take its device first"))
    assert decision.steps == () and decision.look_again is not None and decision.look_again <= 1


def test_whose_turn_it_was_is_told_when_the_time_is_over() -> None:
    decision = decide(sight(migration=ready(age=93), pod=pod(age=93), turn="pod default/other goes first"))
    assert kinds(decision) == [Explain, DeletePod, Tell]
    assert isinstance(decision.steps[0], Explain) and "pod default/other goes first" in decision.steps[0].notes[0]


def test_at_the_deadline_each_reason_is_a_sentence_and_then_the_pod_goes() -> None:
    rejected = [
        {"code": "NoCapacity", "nodes": 3, "examples": [{"node": "b", "message": "8Q on 0000:65:00.0 is full"}]},
        {
            "code": "ValueNotAllowed",
            "nodes": 1,
            "examples": [{"node": "c", "parameter": "memory", "message": "needs 8192, takes 4096"}],
        },
    ]
    attempts = [{"number": 1, "node": "d", "state": "Failed", "message": "Write memory EIO: refused"}]
    seen = migration(condition("Ready", False, "NoDestination"), age=93, rejected=rejected, attempts=attempts)
    decision = decide(sight(migration=seen, pod=pod(age=93)))
    assert kinds(decision) == [Explain, DeletePod, Tell] and decision.steps[2] == FAILED
    assert isinstance(decision.steps[0], Explain)
    _, full, value, attempt = decision.steps[0].notes
    assert full == "NoCapacity on 3 nodes: node b: 8Q on 0000:65:00.0 is full"
    assert value == "ValueNotAllowed on 1 node: node c, parameter memory: needs 8192, takes 4096"
    assert "node d" in attempt and "EIO" in attempt


def test_a_reservation_that_ended_by_itself_is_explained_and_its_pod_deleted() -> None:
    ended = condition("Finished", True, "Deadline")
    assert kinds(decide(sight(migration=migration(ended)))) == [Explain, DeletePod]


def test_a_device_that_is_lost_before_the_gate_was_lifted_ends_the_migration() -> None:
    assert kinds(decide(sight(migration=ready(started=True).model_copy(update={"status": _lost()})))) == [
        Explain,
        DeletePod,
        Tell,
    ]


def _lost() -> Any:
    return migration(condition("Ready", True), LOST, node="node-b").status


def _started(node: str = "node-b", **spec: Any) -> Any:
    return ready(node, started=True, **spec)


@pytest.mark.parametrize("phase", ["Scheduled", "PreparingTarget", "TargetReady"])
def test_a_target_whose_device_is_refused_before_the_guest_moves_is_explained_and_deleted(phase: str) -> None:
    seen = migration(condition("Ready", True), LOST, node="node-b", started=True)
    decision = decide(sight(migration=seen, vmim=vmim(phase), pod=pod(gated=False)))
    assert kinds(decision) == [Explain, DeletePod]


def test_a_bound_pod_that_finds_no_room_on_its_node_is_not_waited_for_as_long_as_kubevirt_would() -> None:
    full = "0/3 nodes are available: 1 Insufficient example.com/vgpu"
    young = sight(migration=_started(age=80), pod=pod(age=81, gated=False, unschedulable=full))
    assert decide(young).steps == ()
    old = sight(migration=_started(age=93), pod=pod(age=93, gated=False, unschedulable=full))
    decision = decide(old)
    assert kinds(decision) == [Explain, DeletePod]
    assert isinstance(decision.steps[0], Explain) and full in decision.steps[0].notes[0]
    placed = sight(migration=_started(age=93), pod=pod(age=93, gated=False))
    assert decide(placed).steps == ()


def test_a_guest_that_moves_is_never_disturbed() -> None:
    seen = migration(condition("Ready", True), LOST, node="node-b", started=True)
    assert decide(sight(migration=seen, vmim=vmim("Running"), pod=pod(gated=False))).steps == ()
    moving = sight(migration=seen, vmim=vmim("TargetReady"), vmi=vmi(moving="1111-vmim"), pod=pod(gated=False))
    assert decide(moving).steps == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vmim": vmim("Succeeded"), "vmi": vmi("node-b")}, SUCCEEDED),
        ({"vmim": vmim("Succeeded"), "vmi": vmi("node-c")}, SUCCEEDED),  # It moved on since.
        ({"vmim": vmim("Succeeded"), "vmi": None}, SUCCEEDED),
        ({"vmim": vmim("Failed")}, FAILED),
        ({"vmim": vmim("Failed"), "vmi": None}, FAILED),
        ({"vmim": vmim("Failed"), "vmi": vmi("node-b")}, SUCCEEDED),  # Where the VM is counts.
        ({"vmim": None, "vmi": vmi("node-b")}, SUCCEEDED),
        ({"vmim": None}, FAILED),
        ({"vmim": None, "newer": "next"}, Tell(outcome=Outcome.FAILED, superseded_by="next")),
        ({"vmim": None, "newer": "next", "vmi": vmi("node-b")}, SUCCEEDED),
    ],
)
def test_how_it_ended_is_told_from_where_the_vm_is_and_kubevirts_word(changes: dict[str, Any], told: Tell) -> None:
    assert decide(sight(migration=_started(), pod=None, **changes)).steps == (told,)


def test_a_migration_object_that_is_gone_says_nothing_while_its_vm_moves() -> None:
    assert decide(sight(migration=_started(), pod=None, vmim=None, vmi=vmi(moving="1111-vmim"))).steps == ()


@pytest.mark.parametrize("phase", ["Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running"])
def test_after_the_gate_nothing_is_told_before_kubevirt_says_how_it_ended(phase: str) -> None:
    for there in (pod(gated=False), None):
        assert decide(sight(migration=_started(), vmim=vmim(phase), pod=there)).steps == ()
    aborted = sight(migration=_started(), vmim=vmim(phase, deleting=True), pod=pod(gated=False))
    assert decide(aborted).steps == ()


@pytest.mark.parametrize("started", [True, None])
def test_a_migration_that_is_deleted_while_gated_ends_at_once(started: bool | None) -> None:
    assert decide(sight(migration=ready(started=started), vmim=vmim(deleting=True))).steps == (DeletePod(), FAILED)


def test_a_migration_whose_pod_vanished_before_the_start_ends() -> None:
    assert decide(sight(migration=ready(), pod=None)).steps == (FAILED,)


def test_a_younger_migration_of_the_vm_takes_the_place_of_a_gated_one() -> None:
    expected = (DeletePod(), Tell(outcome=Outcome.FAILED, superseded_by="next"))
    assert decide(sight(migration=ready(), newer="next")).steps == expected


def test_a_migration_that_was_never_started_succeeds_only_where_the_vm_is() -> None:
    """Its gate was lifted by another hand, and the scheduler chose the node."""
    elsewhere = sight(migration=ready("node-b"), vmim=vmim("Succeeded"), vmi=vmi("node-c"), pod=pod(gated=False))
    assert decide(elsewhere).steps == (FAILED,)
    here = sight(migration=ready("node-b"), vmim=vmim("Succeeded"), vmi=vmi("node-b"), pod=pod(gated=False))
    assert decide(here).steps == (SUCCEEDED,)


def test_an_outcome_is_told_once() -> None:
    told = ready(started=True, outcome="Failed")
    assert decide(sight(migration=told, vmim=vmim("Failed"), pod=None)).steps == ()


def test_a_finished_reservation_stays_for_people_to_read_and_is_then_forgotten() -> None:
    young = migration(condition("Finished", True, "Failed", age=PATIENCE.keep - 5))
    decision = decide(sight(migration=young, pod=None))
    assert decision.steps == () and decision.look_again == pytest.approx(10)
    old = migration(condition("Finished", True, "Failed", age=PATIENCE.keep + 1))
    assert decide(sight(migration=old, pod=None)).steps == (Forget(),)


def test_a_gated_pod_of_a_finished_reservation_is_deleted_before_the_reservation_is_forgotten() -> None:
    old = migration(condition("Finished", True, "Failed", age=PATIENCE.keep + 1))
    assert decide(sight(migration=old, vmim=None)).steps == (DeletePod(),)
