"""A running source whose only obstacle is a runtime-writable parameter: changed first, put back unless it succeeds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mdev_api.hashing import reading_digest
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kinds.node_reservations import Entry, Intent
from mdev_api.meaning import metadata_of
from mdev_operator.inventory.cluster import Cluster, ProfileView
from mdev_operator.migration.decision import Decision
from tests.unit.operator.world import (
    DEVICE,
    NOW,
    UID,
    cluster,
    condition,
    decided,
    instance,
    migration,
    node_devices,
    on_node,
    profile_name,
    reservations,
    reserved_by,
    shown,
    stamp,
)

MADE = "22222222-2222-4333-8444-555555555555"
DIGEST = "sha256:read-again"


def nic(type_id: str, most: int, *, runtime: bool = True) -> ProfileView:
    """A NIC with a receive limit from 100 to ``most``."""
    limit = {
        "name": "limit",
        "type": "int",
        "initValue": "100",
        "allowedValues": [f"100-{most}"],
        "runtimeWritable": runtime,
        "attribute": "migration/limit",
    }
    resolved = {"type": "Resolved", "status": "True", "reason": "Published", "lastTransitionTime": stamp(NOW)}
    whole = DeviceProfile.model_validate(
        {
            "metadata": {"name": profile_name(type_id)},
            "spec": {"backend": "mdev", "driver": {"name": "gfx"}, "type": {"id": type_id}},
            "status": {"model": "nic", "from": "Published", "parameters": [limit], "conditions": [resolved]},
        }
    )
    return ProfileView(profile=whole, metadata=metadata_of(whole), suspect=False)


PROFILES = {
    view.profile.metadata.name: view
    for view in (nic("new", 10000), nic("old", 5000), nic("older", 1000), nic("fixed", 10000, runtime=False))
}


def world(*devices: NodeDevices, **more: Any) -> Cluster:
    return replace(cluster(*devices, **more), profiles=PROFILES)


def source(limit: str, type_id: str = "new") -> NodeDevices:
    return node_devices("a", {}, [instance(type_id, inUse="Yes", values={"limit": limit})])


def digest(limit: str) -> str:
    return reading_digest(
        boot_id="boot-a",
        instance=DEVICE,
        profile=profile_name("new"),
        values={"limit": limit},
        attributes={},
        unreadable=[],
    )


FAST = source("8000")
OLD = node_devices("b", {"old": 2})
OLDER = node_devices("c", {"older": 2})


def asked(**spec: Any) -> Any:
    return migration(on_node(), sourceAdjustment="IfNeeded", **spec)


def first(*nodes: NodeDevices) -> tuple[Entry, Entry]:
    """The pin and the destination that the first decision reserves."""
    decision = decided(asked(), world(FAST, *nodes))
    (pin,) = reserved_by(decision, "a")
    (there,) = [e for reserve in decision.reserve if reserve.node != "a" for e in reserve.entries]
    return pin, there


def values(entry: Entry) -> dict[str, str]:
    return {v.name: v.value for v in entry.values}


def adjusted(pin: Entry, limit: str, **more: Any) -> dict[str, Any]:
    """The agent's answer after it wrote."""
    write = {"name": "limit", "type": "int", "attribute": "migration/limit", "from": "8000", "to": limit}
    return {
        "id": pin.id,
        "state": "Prepared",
        "instance": DEVICE,
        "writes": [write],
        "digest": digest(limit),
        **more,
    }


def prepared(entry: Entry) -> dict[str, Any]:
    return {"id": entry.id, "state": "Prepared", "instance": MADE}


def failed(entry: Entry, reason: str = "NoCapacity") -> dict[str, Any]:
    return {"id": entry.id, "state": "Failed", "failure": {"reason": reason, "step": "Write", "message": "refused"}}


def told(decision: Decision) -> dict[str, Intent]:
    return {entry: intent for tell in decision.tell for entry, intent in tell.intents.items()}


class TestPlanning:
    def test_the_pin_carries_the_value_that_the_destination_is_given_too(self) -> None:
        pin, there = first(OLD)
        limit = values(pin)["limit"]
        assert 100 <= int(limit) <= 5000 and values(there) == {"limit": limit}

    def test_the_status_says_what_is_changed_and_from_what(self) -> None:
        decision = decided(asked(mode="Plan"), world(FAST, OLD))
        (device,) = decision.status.devices
        (change,) = device.adjustments
        assert (change.name, change.from_value) == ("limit", "8000") and 100 <= int(change.to) <= 5000
        assert "limit" in (shown(decision, "Planned") or ("", "", ""))[2]

    def test_unless_the_migration_allows_it_nothing_is_changed(self) -> None:
        decision = decided(migration(on_node()), world(FAST, OLD))
        assert decision.reserve == () and [r.code for r in decision.status.rejected if r.code != "SourceNode"] == [
            "ValueNotAllowed"
        ]

    def test_where_a_destination_fits_as_it_is_nothing_is_changed(self) -> None:
        pin, there = first(OLD, node_devices("d", {"new": 1}))
        assert pin.values == () and there.boot_id == "boot-d"

    def test_what_is_not_runtime_writable_is_never_changed(self) -> None:
        decision = decided(asked(), world(source("8000", "fixed"), OLD))
        assert decision.reserve == ()

    def test_an_explicit_source_has_no_running_device_to_change(self) -> None:
        limit = {"name": "limit", "type": "int", "value": "8000"}
        explicit = {"explicit": [{"name": "nic", "model": "nic", "values": [limit]}]}
        assert decided(migration(explicit, sourceAdjustment="IfNeeded"), world(OLD)).reserve == ()


class TestReady:
    @pytest.mark.parametrize("published", ["8000", "adjusted"])
    def test_ready_waits_until_the_adjusted_device_is_published(self, published: str) -> None:
        pin, there = first(OLD)
        limit = values(pin)["limit"]
        now = source(limit if published == "adjusted" else published)
        held = [reservations("a", [pin], [adjusted(pin, limit)]), reservations("b", [there], [prepared(there)])]
        decision = decided(asked(), world(now, OLD, reserved=held))
        assert (shown(decision, "Ready") or ("",))[0] == str(published == "adjusted") and decision.tell == ()

    def test_ready_waits_until_the_source_is_adjusted(self) -> None:
        pin, there = first(OLD)
        held = [reservations("a", [pin]), reservations("b", [there], [prepared(there)])]
        decision = decided(asked(), world(FAST, OLD, reserved=held))
        assert (shown(decision, "Ready") or ("",))[0] == "False" and decision.tell == () and decision.reserve == ()

    def test_a_source_that_was_changed_by_others_meanwhile_is_not_ready(self) -> None:
        pin, there = first(OLD)
        answer = adjusted(pin, values(pin)["limit"], digest=digest("9000"))
        held = [reservations("a", [pin], [answer]), reservations("b", [there], [prepared(there)])]
        decision = decided(asked(), world(source("9000"), OLD, reserved=held))
        assert (shown(decision, "Ready") or ("", ""))[:2] == ("False", "SourceChanged")

    @pytest.mark.parametrize(("outcome", "intent"), [("Succeeded", Intent.HAND_OVER), ("Failed", Intent.UNDO)])
    def test_the_adjustment_is_kept_on_success_and_put_back_on_failure(self, outcome: str, intent: Intent) -> None:
        pin, there = first(OLD)
        limit = values(pin)["limit"]
        held = [reservations("a", [pin], [adjusted(pin, limit)]), reservations("b", [there], [prepared(there)])]
        ended = asked(conditions=[condition("Ready", True, "Prepared", age=5)], started=True, outcome=outcome)
        assert told(decided(ended, world(source(limit), OLD, reserved=held))) == {pin.id: intent, there.id: intent}


class TestNextAttempt:
    def after_failure(self, *nodes: NodeDevices, **pin_answer: Any) -> tuple[Entry, Decision]:
        """The first attempt on node b has failed and is undone; the pin with its adjustment stands."""
        pin, _ = first(OLD)
        limit = values(pin)["limit"]
        place = {"parent": "gfx0", "type": "old"}
        attempts = [{"number": 1, "node": "b", "state": "Failed", "message": "no room", **place}]
        answers = [adjusted(pin, limit)] if pin_answer.get("answered", True) else []
        held = [reservations("a", [pin], answers)]
        where = world(source(limit), OLD, *nodes, reserved=held)
        return pin, decided(asked(attempts=attempts), where)

    def test_it_is_planned_for_the_device_as_it_was_so_an_adjusted_one_is_not_taken_for_right(self) -> None:
        pin, decision = self.after_failure(node_devices("d", {"new": 1}))
        assert told(decision) == {pin.id: Intent.UNDO} and decision.reserve == ()

    def test_the_same_adjustment_serves_the_next_destination_too(self) -> None:
        _, decision = self.after_failure(node_devices("d", {"old": 1}))
        assert [reserve.node for reserve in decision.reserve] == ["d"] and decision.tell == ()

    def test_another_adjustment_needs_another_pin(self) -> None:
        pin, decision = self.after_failure(OLDER)
        assert told(decision) == {pin.id: Intent.UNDO} and decision.reserve == ()

    def test_nothing_is_planned_before_it_is_known_what_the_device_was(self) -> None:
        _, decision = self.after_failure(OLDER, answered=False)
        assert decision.reserve == () and decision.tell == ()
        assert "to adjust device" in (shown(decision, "Ready") or ("", "", ""))[2]

    def test_the_old_pin_is_waited_for(self) -> None:
        pin, _ = first(OLD)
        ending = pin.model_copy(update={"intent": Intent.UNDO})
        where = world(FAST, OLDER, reserved=[reservations("a", [ending])])
        decision = decided(asked(), where)
        assert decision.reserve == () and "to end the reservation" in (shown(decision, "Ready") or ("", "", ""))[2]

    def test_a_source_that_refuses_speaks_against_the_destination_that_needed_it(self) -> None:
        pin, there = first(OLD)
        held = [reservations("a", [pin], [failed(pin, "Refused")]), reservations("b", [there])]
        decision = decided(asked(), world(FAST, OLD, reserved=held))
        assert told(decision) == {pin.id: Intent.UNDO, there.id: Intent.UNDO}
        (attempt,) = decision.status.attempts
        assert (attempt.node, attempt.type) == ("b", "old") and "could not be adjusted" in attempt.message

    def test_ids_of_pins_are_the_same_in_every_attempt(self) -> None:
        assert first(OLD)[0].id == first(OLDER)[0].id == f"{UID}-source-0"
