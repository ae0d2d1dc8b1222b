"""Several devices of one migration: all on one node or none, judged and let go as one."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_api.kinds.node_reservations import Entry, Intent, NodeReservations, Role
from mdev_operator.migration.decision import Decision
from tests.unit.operator.world import (
    DEVICE,
    UID,
    cluster,
    condition,
    decided,
    digest,
    instance,
    migration,
    node_devices,
    reservations,
    reserved_by,
    shown,
)

SECOND = "33333333-2222-4333-8444-555555555555"
MADE = [f"{n:08}-2222-4333-8444-555555555555" for n in range(2)]
SOURCE = node_devices("a", {}, [instance("gfx-8GB", inUse="Yes"), instance("gfx-4GB", SECOND, inUse="Yes")])
BOTH = node_devices("b", {"gfx-8GB": 2, "gfx-4GB": 4})
OF_NODE: dict[str, Any] = {"node": {"name": "a", "devices": [DEVICE, SECOND]}}


def gpus(*memory: int) -> dict[str, Any]:
    values = [[{"name": "memory", "type": "int", "value": str(mb)}] for mb in memory]
    return {"explicit": [{"name": f"gpu{n}", "model": "com.gfx/GPU", "values": v} for n, v in enumerate(values)]}


PAIR = gpus(8192, 4096)


def reserved(source: dict[str, Any] = PAIR) -> dict[str, list[Entry]]:
    first = decided(migration(source), cluster(SOURCE, BOTH))
    return {reserve.node: list(reserve.entries) for reserve in first.reserve}


def prepared(entry: Entry, number: int) -> dict[str, Any]:
    return {"id": entry.id, "state": "Prepared", "instance": MADE[number]}


def failed(entry: Entry) -> dict[str, Any]:
    return {"id": entry.id, "state": "Failed", "failure": {"reason": "NoCapacity", "message": "no room"}}


def told(decision: Decision) -> dict[str, Intent]:
    return {entry: intent for tell in decision.tell for entry, intent in tell.intents.items()}


def held(*answers: Any, source: dict[str, Any] = PAIR) -> NodeReservations:
    """The group on node b; for each entry a function that answers it, or None."""
    there = reserved(source)["b"]
    return reservations("b", there, [a(e) for a, e in zip(answers, there, strict=True) if a is not None])


class TestPlanning:
    def test_both_come_in_one_patch_as_one_group_in_the_order_of_the_devices(self) -> None:
        (first, second) = reserved()["b"]
        assert [first.id, second.id] == [f"{UID}-1-0", f"{UID}-1-1"]
        assert {first.group, second.group} == {f"{UID}-1"}
        assert [e.device.create and e.device.create.type for e in (first, second)] == ["gfx-8GB", "gfx-4GB"]

    def test_the_devices_of_a_node_are_pinned_in_one_patch_before_anything_else(self) -> None:
        decision = decided(migration(OF_NODE), cluster(SOURCE, BOTH))
        assert [reserve.node for reserve in decision.reserve] == ["a", "b"]
        pins = reserved_by(decision, "a")
        assert [(p.id, p.device.instance) for p in pins] == [
            (f"{UID}-source-0", DEVICE),
            (f"{UID}-source-1", SECOND),
        ]
        assert {p.role for p in pins} == {Role.SOURCE} and {p.group for p in pins} == {f"{UID}-1"}

    def test_where_only_one_fits_nothing_is_reserved_and_the_other_is_named(self) -> None:
        decision = decided(migration(PAIR), cluster(node_devices("b", {"gfx-8GB": 2})))
        _, reason, message = shown(decision, "Planned") or ("", "", "")
        assert decision.reserve == () and reason == "NoDestination"
        assert "all 2 devices" in message and "gpu1" in message and "gpu0" not in message

    def test_where_each_fits_but_not_both_only_room_is_missing(self) -> None:
        decision = decided(migration(gpus(8192, 8192)), cluster(node_devices("b", {"gfx-8GB": 1})))
        (rejection,) = decision.status.rejected
        assert rejection.code == "NoCapacity" and "1 of the 2 devices" in rejection.examples[0].message
        assert decision.reserve == ()

    def test_they_are_never_spread_over_nodes(self) -> None:
        split = (node_devices("b", {"gfx-8GB": 2}), node_devices("c", {"gfx-4GB": 2}))
        decision = decided(migration(PAIR), cluster(*split))
        assert decision.reserve == ()
        assert [(r.code, r.nodes) for r in decision.status.rejected] == [("ValueNotAllowed", 2)]

    def test_the_ranking_says_where_each_would_go(self) -> None:
        decision = decided(migration(PAIR, mode="Plan"), cluster(BOTH))
        (best,) = decision.status.candidates
        assert best.type is None and [(d.name, d.type) for d in best.devices] == [
            ("gpu0", "gfx-8GB"),
            ("gpu1", "gfx-4GB"),
        ]
        assert "gpu0: a new gfx-8GB" in best.why

    def test_a_node_needs_room_for_all_reservations(self) -> None:
        (entry,) = reserved(gpus(8192))["b"]
        others = [
            entry.model_copy(
                update={"id": f"x{n}-1-0", "group": f"x{n}-1", "owner": entry.owner.model_copy(update={"uid": f"x{n}"})}
            )
            for n in range(15)
        ]
        wide = node_devices("b", {"gfx-8GB": 99, "gfx-4GB": 99})
        decision = decided(migration(PAIR), cluster(wide, reserved=[reservations("b", others)]))
        assert decision.reserve == () and "2 more are wanted" in decision.status.rejected[0].examples[0].message

    def test_two_that_wait_for_pods_of_one_resource_would_be_mixed_up(self) -> None:
        served = node_devices(
            "b",
            {"gfx-8GB": 2, "gfx-4GB": 4},
            slots=[{"resource": "gfx.com/GPU", "free": 2, "types": ["gfx-8GB", "gfx-4GB"]}],
        )
        assert decided(migration(PAIR), cluster(served)).reserve == ()

    def test_binding_late_takes_one_device_only(self) -> None:
        decision = decided(migration(OF_NODE, binding="Late"), cluster(SOURCE, BOTH))
        assert (shown(decision, "Planned") or ("", ""))[1] == "NotSupported"

    def test_one_device_that_cannot_be_read_holds_all_up(self) -> None:
        unreadable = [{"name": "memory", "errno": "EIO", "message": "read failed"}]
        half = node_devices("a", {}, [instance("gfx-8GB"), instance("gfx-4GB", SECOND, unreadable=unreadable)])
        decision = decided(migration(OF_NODE), cluster(half, BOTH))
        _, reason, message = shown(decision, "Planned") or ("", "", "")
        assert (reason, SECOND in message, decision.reserve) == ("Unreadable", True, ())


class TestGroup:
    def test_one_prepared_is_not_ready(self) -> None:
        where = cluster(BOTH, reserved=[held(lambda e: prepared(e, 0), None)])
        status, reason, message = shown(decided(migration(PAIR), where), "Ready") or ("", "", "")
        assert (status, reason) == ("False", "Preparing") and "1 of 2" in message

    def test_all_prepared_is_ready_with_the_whole_map(self) -> None:
        where = cluster(BOTH, reserved=[held(lambda e: prepared(e, 0), lambda e: prepared(e, 1))])
        decision = decided(migration(PAIR), where)
        assert (shown(decision, "Ready") or ("",))[0] == "True" and decision.status.node == "b"
        assert [(d.name, d.type, d.instance) for d in decision.status.devices] == [
            ("gpu0", "gfx-8GB", MADE[0]),
            ("gpu1", "gfx-4GB", MADE[1]),
        ]

    @pytest.mark.parametrize("bad", [0, 1])
    def test_one_failed_undoes_all_and_the_attempt_names_the_device_and_its_place(self, bad: int) -> None:
        answers: list[Any] = [lambda e: prepared(e, 0), lambda e: prepared(e, 1)]
        answers[bad] = failed
        decision = decided(migration(PAIR), cluster(BOTH, reserved=[held(*answers)]))
        assert told(decision) == {f"{UID}-1-0": Intent.UNDO, f"{UID}-1-1": Intent.UNDO} and decision.reserve == ()
        (attempt,) = decision.status.attempts
        assert attempt.type == ("gfx-8GB", "gfx-4GB")[bad] and attempt.message.startswith(f"gpu{bad}: ")

    def test_where_several_failed_the_place_of_each_is_recorded_and_none_is_tried_again(self) -> None:
        there = held(failed, failed)
        attempts = decided(migration(PAIR), cluster(BOTH, reserved=[there])).status.attempts
        (attempt,) = attempts
        assert (attempt.type, [other.type for other in attempt.others]) == ("gfx-8GB", ["gfx-4GB"])
        records = [a.model_dump(by_alias=True, exclude_none=True) for a in attempts]
        again = decided(migration(gpus(4096), attempts=records), cluster(BOTH))
        assert again.reserve == () and "Attempted" in (shown(again, "Planned") or ("", "", ""))[2]

    def test_a_reservation_that_vanished_undoes_the_others(self) -> None:
        (first, _) = reserved()["b"]
        where = cluster(BOTH, reserved=[reservations("b", [first], [prepared(first, 0)])])
        decision = decided(migration(PAIR), where)
        assert told(decision) == {first.id: Intent.UNDO} and "1 of 2" in decision.status.attempts[0].message

    def test_ready_waits_for_the_fresh_reading_of_every_source(self) -> None:
        made = reserved(OF_NODE)
        answers = [
            {"id": pin.id, "state": "Prepared", "instance": device, "digest": digest("a", type_id, device)}
            for pin, device, type_id in zip(made["a"], (DEVICE, SECOND), ("gfx-8GB", "gfx-4GB"), strict=True)
        ]
        there = held(lambda e: prepared(e, 0), lambda e: prepared(e, 1), source=OF_NODE)
        for read, ready in ((answers, "True"), (answers[:1], "False"), (answers[1:], "False")):
            where = cluster(SOURCE, BOTH, reserved=[reservations("a", made["a"], read), there])
            assert (shown(decided(migration(OF_NODE), where), "Ready") or ("",))[0] == ready

    def test_a_pin_that_vanished_is_made_again_alone(self) -> None:
        made = reserved(OF_NODE)
        there = held(lambda e: prepared(e, 0), lambda e: prepared(e, 1), source=OF_NODE)
        where = cluster(SOURCE, BOTH, reserved=[reservations("a", made["a"][:1]), there])
        assert [e.id for e in reserved_by(decided(migration(OF_NODE), where), "a")] == [f"{UID}-source-1"]


class TestEnd:
    def ready(self, **spec: Any) -> Any:
        devices = [{"name": f"gpu{n}", "type": t, "instance": MADE[n]} for n, t in enumerate(("gfx-8GB", "gfx-4GB"))]
        is_ready = migration(PAIR, conditions=[condition("Ready", True, "Prepared", age=5)], **spec)
        status = is_ready.status.model_copy(update={"node": "b"}).model_validate(
            {**is_ready.status.model_dump(by_alias=True), "node": "b", "devices": devices}
        )
        return is_ready.model_copy(update={"status": status})

    def both(self) -> Any:
        return held(lambda e: prepared(e, 0), lambda e: prepared(e, 1))

    @pytest.mark.parametrize(("outcome", "intent"), [("Succeeded", Intent.HAND_OVER), ("Failed", Intent.UNDO)])
    def test_the_outcome_is_told_to_all(self, outcome: str, intent: Intent) -> None:
        decision = decided(self.ready(started=True, outcome=outcome), cluster(BOTH, reserved=[self.both()]))
        assert told(decision) == {f"{UID}-1-0": intent, f"{UID}-1-1": intent}

    def test_one_lost_before_started_lets_all_go_and_looks_elsewhere(self) -> None:
        lost = held(lambda e: prepared(e, 0), lambda e: {"id": e.id, "state": "Lost", "instance": MADE[1]})
        decision = decided(self.ready(), cluster(BOTH, reserved=[lost]))
        assert set(told(decision).values()) == {Intent.UNDO_IF_UNUSED} and len(told(decision)) == 2
        assert decision.status.node is None and decision.status.attempts[0].message.startswith("gpu1: ")

    def test_while_both_stand_nothing_changes(self) -> None:
        is_ready = self.ready()
        decision = decided(is_ready, cluster(BOTH, reserved=[self.both()]))
        assert decision.status == is_ready.status and decision.tell == ()
