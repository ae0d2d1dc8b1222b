"""VFs as the operator reckons with them: addresses that agents choose, functions that are there anyway."""

from __future__ import annotations

from typing import Any

from mdev_api.kinds.node_reservations import Entry, NodeReservations
from mdev_operator.inventory.cluster import Held
from mdev_operator.offers.room import counted_in, room_of
from mdev_operator.tidying.collect import answered
from tests.agent.reservations import entry
from tests.unit.operator.world import PROFILES, instance, node_devices, profile_name, reservations

VF = "0000:65:00.4"


def new(intent: str = "Hold") -> Entry:
    device = {"create": {"parent": "gfx0", "type": "gfx-8GB", "profile": profile_name("gfx-8GB")}}
    return Entry.model_validate(entry("move-1", boot_id="boot-b", device=device, intent=intent))


def undone(**more: Any) -> NodeReservations:
    return reservations("b", [new("Undo")], [{"id": "move-1", "state": "Undone", **more}])


def test_an_entry_stays_until_its_function_is_shown_as_nobody_s() -> None:
    shown = node_devices("b", {"gfx-8GB": 1}, [instance("gfx-8GB", VF, managed=True)])
    assert answered(undone(instance=VF), shown) == []
    assert answered(undone(instance=VF), node_devices("b", {"gfx-8GB": 2})) == ["move-1"]


def test_a_function_that_was_there_before_is_promised_until_it_is_managed() -> None:
    held = reservations("b", [new()], [{"id": "move-1", "state": "Prepared", "instance": VF}])
    promised = Held(node="b", entry=held.spec.reservations[0], answer=held.answer("move-1"))
    for managed, left in ((False, 1), (True, 2)):
        status = node_devices("b", {"gfx-8GB": 2}, [instance("gfx-8GB", VF, managed=managed)]).status
        assert status is not None
        (room,) = room_of(PROFILES, status.parents[0], [promised], counted_in(status))
        assert room.free == left
