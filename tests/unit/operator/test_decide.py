"""What next for one migration: each test is a situation and the decision that follows."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import Entry, Intent, Role
from mdev_operator.inventory.cluster import Cluster, NodeView
from mdev_operator.migration.decision import Decision
from tests.unit.operator.world import (
    DEVICE,
    UID,
    cluster,
    condition,
    decided,
    digest,
    gpu,
    instance,
    migration,
    node_devices,
    on_node,
    profile_name,
    reservations,
    reserved_by,
    shown,
)

SOURCE = node_devices("a", {"gfx-8GB": 1}, [instance("gfx-8GB", inUse="Yes", inUseSource="Process")])
BIG = node_devices("b", {"gfx-8GB": 2, "gfx-varGB": 16})
SMALL = node_devices("c", {"gfx-4GB": 4})


def entries_of(where: Cluster, **spec: Any) -> dict[str, list[Entry]]:
    """What the first decision for a fresh migration reserves, by node."""
    first = decided(migration(**spec), where)
    return {reserve.node: list(reserve.entries) for reserve in first.reserve}


def prepared(entry: Entry, instance_id: str = "22222222-2222-4333-8444-555555555555") -> dict[str, Any]:
    return {"id": entry.id, "state": "Prepared", "instance": instance_id}


def failed(entry: Entry, reason: str = "NoCapacity") -> dict[str, Any]:
    failure = {"reason": reason, "step": "Create", "errno": "ENOSPC", "message": "the kernel has no room"}
    return {"id": entry.id, "state": "Failed", "failure": failure}


def told(decision: Decision) -> dict[str, Intent]:
    return {entry: intent for tell in decision.tell for entry, intent in tell.intents.items()}


def ready_on_b(entry: Entry) -> Cluster:
    return cluster(BIG, reserved=[reservations("b", [entry], [prepared(entry)])])


class TestPlanning:
    def test_a_new_migration_reserves_the_best_candidate(self) -> None:
        decision = decided(migration(), cluster(BIG, SMALL))
        (entry,) = reserved_by(decision, "b")
        assert entry.role is Role.DESTINATION and entry.intent is Intent.HOLD
        assert entry.device.create is not None and entry.device.create.type == "gfx-8GB"
        assert [(v.name, v.value, v.attribute) for v in entry.values] == [("memory", "8192", "migration/memory")]
        assert entry.boot_id == "boot-b"

    def test_a_device_of_a_node_is_pinned_before_anything_is_reserved_elsewhere(self) -> None:
        decision = decided(migration(on_node()), cluster(SOURCE, BIG))
        assert [reserve.node for reserve in decision.reserve] == ["a", "b"]
        (pin,) = reserved_by(decision, "a")
        assert pin.role is Role.SOURCE and pin.device.instance == DEVICE

    def test_a_node_without_any_candidate_is_told_by_what_its_right_model_lacks(self) -> None:
        mixed = node_devices("c", {"gfx-4GB": 4, "nic": 1})
        decision = decided(migration(), cluster(BIG, mixed))
        assert [(r.code, r.nodes, r.examples[0].parameter) for r in decision.status.rejected] == [
            ("ValueNotAllowed", 1, "memory")
        ]

    def test_a_node_with_nothing_but_other_models_is_told_so(self) -> None:
        decision = decided(migration(), cluster(node_devices("n", {"nic": 1})))
        assert [r.code for r in decision.status.rejected] == ["ModelMismatch"]

    def test_no_destination_says_why_in_the_condition(self) -> None:
        decision = decided(migration(), cluster(SMALL))
        assert decision.reserve == ()
        status, reason, message = shown(decision, "Planned") or ("", "", "")
        assert (status, reason) == ("False", "NoDestination")
        assert "ValueNotAllowed memory" in message and "c:" in message

    def test_the_source_node_is_no_destination(self) -> None:
        decision = decided(migration(on_node()), cluster(SOURCE))
        assert [r.code for r in decision.status.rejected] == ["SourceNode"]

    @pytest.mark.parametrize(
        ("view", "code"),
        [
            (NodeView(name="b", labels={}, ready=False, schedulable=True), "NodeNotReady"),
            (NodeView(name="b", labels={}, ready=True, schedulable=False), "NodeCordoned"),
        ],
    )
    def test_a_node_that_is_not_well_is_no_destination(self, view: NodeView, code: str) -> None:
        decision = decided(migration(), cluster(BIG, nodes={"b": view}))
        assert decision.reserve == () and [r.code for r in decision.status.rejected] == [code]

    def test_a_node_whose_agent_is_silent_is_no_destination(self) -> None:
        decision = decided(migration(), cluster(BIG, silent={"b": "no Lease"}))
        assert decision.reserve == () and [r.code for r in decision.status.rejected] == ["Stale"]

    def test_what_is_promised_to_another_is_not_free(self) -> None:
        one = node_devices("b", {"gfx-8GB": 1})
        (other,) = entries_of(cluster(one))["b"]
        foreign = other.model_copy(
            update={"id": "other-1-0", "group": "other-1", "owner": other.owner.model_copy(update={"uid": "other"})}
        )
        decision = decided(migration(), cluster(one, reserved=[reservations("b", [foreign])]))
        assert decision.reserve == () and [r.code for r in decision.status.rejected] == ["NoCapacity"]

    def test_mode_plan_reserves_nothing_and_follows_the_cluster(self) -> None:
        decision = decided(migration(mode="Plan"), cluster(BIG))
        assert decision.reserve == () and decision.follow and not decision.finalizer
        assert decision.status.candidates[0].node == "b"

    def test_node_name_excludes_all_other_nodes(self) -> None:
        decision = decided(migration(gpu(4096), nodeName="c"), cluster(BIG, SMALL))
        assert [r.node for r in decision.reserve] == ["c"]


class TestSource:
    def test_an_unknown_node_is_told_with_its_name(self) -> None:
        decision = decided(migration(on_node("zz")), cluster(BIG))
        status, reason, message = shown(decision, "Planned") or ("", "", "")
        assert (status, reason) == ("False", "SourceNotFound") and "zz" in message and decision.follow

    def test_an_unknown_device_is_told_with_what_is_there(self) -> None:
        decision = decided(migration(on_node("a", "nope")), cluster(SOURCE, BIG))
        _, reason, message = shown(decision, "Planned") or ("", "", "")
        assert reason == "DeviceNotFound" and "nope" in message and DEVICE in message

    def test_an_unreadable_parameter_leaves_it_unplanned(self) -> None:
        unreadable = [{"name": "memory", "errno": "EIO", "message": "read failed"}]
        broken = node_devices("a", {}, [instance("gfx-8GB", unreadable=unreadable)])
        decision = decided(migration(on_node()), cluster(broken, BIG))
        _, reason, message = shown(decision, "Planned") or ("", "", "")
        assert reason == "Unreadable" and "memory" in message and decision.reserve == ()

    def test_a_device_that_another_migration_holds_is_busy(self) -> None:
        where = cluster(SOURCE, BIG)
        (pin,) = entries_of(where, source=on_node())["a"]
        other = pin.model_copy(
            update={"id": "other-source-0", "owner": pin.owner.model_copy(update={"uid": "other", "name": "first"})}
        )
        decision = decided(migration(on_node()), cluster(SOURCE, BIG, reserved=[reservations("a", [other])]))
        _, reason, message = shown(decision, "Planned") or ("", "", "")
        assert reason == "SourceBusy" and "default/first" in message and decision.reserve == ()

    def test_a_device_that_another_migration_let_go_is_busy_until_its_entry_is_gone(self) -> None:
        where = cluster(SOURCE, BIG)
        (pin,) = entries_of(where, source=on_node())["a"]
        owner = pin.owner.model_copy(update={"uid": "other", "name": "first"})
        other = pin.model_copy(update={"id": "other-source-0", "owner": owner, "intent": Intent.HAND_OVER})
        decision = decided(migration(on_node()), cluster(SOURCE, BIG, reserved=[reservations("a", [other])]))
        _, reason, message = shown(decision, "Planned") or ("", "", "")
        assert reason == "SourceBusy" and "HandOver" in message and decision.reserve == ()

    def test_a_source_node_that_takes_no_more_reservations_is_told_as_the_reason(self) -> None:
        (pin,) = entries_of(cluster(SOURCE, BIG), source=on_node())["a"]
        others = [
            pin.model_copy(
                update={
                    "id": f"other-{n}-source-0",
                    "owner": pin.owner.model_copy(update={"uid": f"other-{n}"}),
                    "device": pin.device.model_copy(update={"instance": f"instance-{n}"}),
                }
            )
            for n in range(16)
        ]
        decision = decided(migration(on_node()), cluster(SOURCE, BIG, reserved=[reservations("a", others)]))
        assert (shown(decision, "Ready") or ("", ""))[:2] == ("False", "SourceBusy") and decision.reserve == ()

    def test_ready_waits_for_the_source_agents_own_reading(self) -> None:
        made = entries_of(cluster(SOURCE, BIG), source=on_node())
        (pin,), (there,) = made["a"], made["b"]
        where = cluster(SOURCE, BIG, reserved=[reservations("a", [pin]), reservations("b", [there], [prepared(there)])])
        assert (shown(decided(migration(on_node()), where), "Ready") or ("",))[0] == "False"

    def test_a_reading_that_differs_from_what_was_planned_with_is_not_ready(self) -> None:
        made = entries_of(cluster(SOURCE, BIG), source=on_node())
        (pin,), (there,) = made["a"], made["b"]
        other = {"id": pin.id, "state": "Prepared", "instance": DEVICE, "digest": "sha256:other"}
        held = [reservations("a", [pin], [other]), reservations("b", [there], [prepared(there)])]
        decision = decided(migration(on_node()), cluster(SOURCE, BIG, reserved=held))
        assert (shown(decision, "Ready") or ("", ""))[:2] == ("False", "SourceChanged")

    def test_prepared_and_read_again_is_ready_with_node_and_device(self) -> None:
        made = entries_of(cluster(SOURCE, BIG), source=on_node())
        (pin,), (there,) = made["a"], made["b"]
        read = {"id": pin.id, "state": "Prepared", "instance": DEVICE, "digest": digest("a", "gfx-8GB")}
        held = [reservations("a", [pin], [read]), reservations("b", [there], [prepared(there)])]
        decision = decided(migration(on_node()), cluster(SOURCE, BIG, reserved=held))
        assert (shown(decision, "Ready") or ("", ""))[:2] == ("True", "Prepared")
        (device,) = decision.status.devices
        assert decision.status.node == "b" and device.source == DEVICE and device.type == "gfx-8GB"


class TestAttempts:
    def test_a_failed_attempt_is_recorded_and_undone(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        decision = decided(migration(), cluster(BIG, reserved=[reservations("b", [entry], [failed(entry)])]))
        (attempt,) = decision.status.attempts
        assert attempt.node == "b" and attempt.type == "gfx-8GB" and "no room" in attempt.message
        assert attempt.profile == profile_name("gfx-8GB") and attempt.others == ()
        assert told(decision) == {entry.id: Intent.UNDO} and decision.reserve == ()

    def test_the_next_candidate_follows_and_the_failed_one_is_not_tried_again(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        where = cluster(BIG, reserved=[reservations("b", [entry], [failed(entry)])])
        attempts = [a.model_dump(exclude_none=True) for a in decided(migration(), where).status.attempts]
        undone = entry.model_copy(update={"intent": Intent.UNDO})
        decision = decided(
            migration(attempts=attempts), cluster(BIG, reserved=[reservations("b", [undone], [failed(entry)])])
        )
        (second,) = reserved_by(decision, "b")
        assert second.device.create is not None and second.device.create.type == "gfx-varGB"
        assert second.id == f"{UID}-2-0"

    def test_what_a_failed_attempt_has_made_is_no_candidate_while_it_is_still_shown(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        where = cluster(BIG, reserved=[reservations("b", [entry], [failed(entry)])])
        attempts = [a.model_dump(exclude_none=True) for a in decided(migration(), where).status.attempts]
        made = instance("gfx-8GB", instance_uuid(entry.id), managed=True, inUse="No")
        late = node_devices("b", {"gfx-8GB": 1, "gfx-varGB": 16}, [made])
        (second,) = reserved_by(decided(migration(attempts=attempts), cluster(late)), "b")
        assert second.device.instance is None

    def test_an_agent_that_falls_silent_while_preparing_is_given_up(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        where = cluster(BIG, reserved=[reservations("b", [entry])], silent={"b": "no Lease for 400 s"})
        decision = decided(migration(), where)
        assert told(decision) == {entry.id: Intent.UNDO} and "400 s" in decision.status.attempts[0].message

    def test_too_late_undoes_everything_with_the_last_reason(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        late = migration(conditions=[condition("Ready", False, "Preparing", age=601)])
        decision = decided(late, cluster(BIG, reserved=[reservations("b", [entry])]))
        assert told(decision) == {entry.id: Intent.UNDO}
        after = decided(late, cluster(BIG))
        status, reason, message = shown(after, "Finished") or ("", "", "")
        assert (status, reason) == ("True", "Deadline") and "Preparing" in message and not after.finalizer


class TestEnd:
    READY = condition("Ready", True, "Prepared", age=5)

    def test_success_hands_the_destination_over(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        done = migration(conditions=[self.READY], started=True, outcome="Succeeded")
        assert told(decided(done, ready_on_b(entry))) == {entry.id: Intent.HAND_OVER}

    @pytest.mark.parametrize(("policy", "intent"), [("Keep", Intent.HAND_OVER), ("Remove", Intent.REMOVE_IF_UNUSED)])
    def test_success_treats_the_source_by_policy(self, policy: str, intent: Intent) -> None:
        made = entries_of(cluster(SOURCE, BIG), source=on_node())
        (pin,), (there,) = made["a"], made["b"]
        held = [reservations("a", [pin]), reservations("b", [there], [prepared(there)])]
        done = migration(on_node(), conditions=[self.READY], started=True, outcome="Succeeded", sourcePolicy=policy)
        decision = decided(done, cluster(SOURCE, BIG, reserved=held))
        assert told(decision) == {pin.id: intent, there.id: Intent.HAND_OVER}

    def test_failure_undoes_the_destination_and_puts_the_source_back(self) -> None:
        made = entries_of(cluster(SOURCE, BIG), source=on_node())
        (pin,), (there,) = made["a"], made["b"]
        held = [reservations("a", [pin]), reservations("b", [there], [prepared(there)])]
        done = migration(on_node(), conditions=[self.READY], started=True, outcome="Failed")
        decision = decided(done, cluster(SOURCE, BIG, reserved=held))
        assert told(decision) == {pin.id: Intent.UNDO, there.id: Intent.UNDO}

    def test_finished_comes_when_every_entry_has_its_final_intent(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        done = migration(conditions=[self.READY], started=True, outcome="Succeeded")
        over = entry.model_copy(update={"intent": Intent.HAND_OVER})
        decision = decided(done, ready_on_b(over))
        assert (shown(decision, "Finished") or ("", ""))[:2] == ("True", "Succeeded")
        assert (shown(decision, "Ready") or ("",))[0] == "False" and not decision.finalizer

    def test_ready_that_nobody_starts_expires_and_is_undone_only_if_unused(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        old = migration(conditions=[condition("Ready", True, "Prepared", age=601)])
        first = decided(old, ready_on_b(entry))
        assert ((shown(first, "Ready") or ())[:2], told(first)) == (("False", "Expired"), {})
        late = migration(conditions=[condition("Ready", False, "Expired")], started=True)
        assert told(decided(late, ready_on_b(entry))) == {entry.id: Intent.UNDO_IF_UNUSED}

    def test_a_started_migration_never_expires_but_is_told_overdue(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        old = migration(conditions=[condition("Ready", True, "Prepared", age=6000)], started=True)
        decision = decided(old, ready_on_b(entry))
        assert decision.tell == () and (shown(decision, "Overdue") or ("",))[0] == "True"

    def test_deleted_before_ready_is_undone_at_once(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        decision = decided(migration(deleted=True), cluster(BIG, reserved=[reservations("b", [entry])]))
        assert told(decision) == {entry.id: Intent.UNDO} and decision.finalizer

    def test_deleted_when_ready_is_undone_only_if_unused(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        first = decided(migration(deleted=True, conditions=[self.READY]), ready_on_b(entry))
        assert ((shown(first, "Ready") or ())[:2], told(first)) == (("False", "Deleted"), {}) and first.finalizer
        for reason in ("Deleted", "Expired"):
            late = migration(deleted=True, conditions=[condition("Ready", False, reason)], started=True)
            assert told(decided(late, ready_on_b(entry))) == {entry.id: Intent.UNDO_IF_UNUSED}

    def test_deleted_after_started_holds_everything_until_the_outcome_is_told(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        decision = decided(migration(deleted=True, started=True, conditions=[self.READY]), ready_on_b(entry))
        assert decision.tell == () and decision.finalizer and (shown(decision, "Overdue") or ("",))[0] == "True"

    def test_deleted_with_nothing_reserved_lets_the_finalizer_go(self) -> None:
        assert not decided(migration(deleted=True), cluster(BIG)).finalizer

    def test_a_prepared_device_that_is_lost_before_started_is_looked_for_elsewhere(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        lost = {"id": entry.id, "state": "Failed", "failure": {"reason": "NodeRebooted", "message": "rebooted"}}
        decision = decided(
            migration(conditions=[self.READY]), cluster(BIG, reserved=[reservations("b", [entry], [lost])])
        )
        assert told(decision) == {entry.id: Intent.UNDO_IF_UNUSED} and decision.status.node is None
        assert (shown(decision, "Ready") or ("", ""))[:2] == ("False", "Lost")


@pytest.mark.parametrize("how", ["deadline", "deleted"])
def test_what_somebody_may_have_is_undone_only_if_unused_however_the_migration_ends(how: str) -> None:
    (entry,) = entries_of(cluster(BIG))["b"]
    lost = entry.model_copy(update={"intent": Intent.UNDO_IF_UNUSED})
    age = 10_000 if how == "deadline" else 1
    what = migration(conditions=[condition("Ready", False, "Lost", age=age)], deleted=how == "deleted")
    assert told(decided(what, cluster(BIG, reserved=[reservations("b", [lost], [prepared(lost)])]))) == {}


@pytest.mark.parametrize(("state", "intent"), [("Pending", Intent.UNDO), ("Lost", Intent.UNDO_IF_UNUSED)])
def test_an_attempt_that_was_recorded_is_let_go_and_never_taken_up_again(state: str, intent: Intent) -> None:
    """The operator ended between the two, or its word is still on its way and may arrive after Ready."""
    (entry,) = entries_of(cluster(BIG))["b"]
    recorded = {"number": 1, "node": "b", "state": state, "message": "the node was not ready"}
    decision = decided(migration(attempts=[recorded]), ready_on_b(entry))
    assert told(decision) == {entry.id: intent} and (shown(decision, "Ready") or ("False",))[0] == "False"
