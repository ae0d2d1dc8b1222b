"""What is behind a slot survives the agent, and a slot is free only when the kubelet says so for a while."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_node_agent.kubelet.slots import FILE, GONE_SECONDS, UNSEEN_SECONDS, Presence, Slot, Slots, presences

BOUND = {"s1": Slot(id="s1", resource="r", instance="one", boot_id="b")}


def follow(*looks: tuple[float, bool]) -> Presence:
    """What is known after looks at (time, is the device listed?)."""
    found: dict[str, Presence] = {}
    for now, listed in looks:
        found = presences(found, BOUND, {"one"} if listed else (), now)
    return found["s1"]


def test_a_binding_survives_the_agent(tmp_path: Path) -> None:
    Slots(tmp_path, "boot").bind("s1", "r", "one")
    assert Slots(tmp_path, "boot").bound == {"s1": Slot(id="s1", resource="r", instance="one", boot_id="boot")}


def test_a_binding_does_not_survive_a_boot(tmp_path: Path) -> None:
    Slots(tmp_path, "boot").bind("s1", "r", "one")
    assert Slots(tmp_path, "another").bound == {}


def test_an_instance_is_behind_one_slot_only(tmp_path: Path) -> None:
    slots = Slots(tmp_path, "boot")
    slots.bind("s1", "r", "one")
    slots.bind("s2", "r", "one")
    assert set(slots.bound) == set(Slots(tmp_path, "boot").bound) == {"s2"}


def test_what_is_unbound_stays_unbound(tmp_path: Path) -> None:
    slots = Slots(tmp_path, "boot")
    slots.bind("s1", "r", "one")
    slots.bind("s2", "r", "two")
    slots.unbind({"s1", "unknown"})
    assert set(slots.bound) == set(Slots(tmp_path, "boot").bound) == {"s2"}


def test_a_disk_that_takes_nothing_binds_nothing(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "file" / "below", "boot")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        slots.bind("s1", "r", "one")
    assert slots.bound == {}


@pytest.mark.parametrize("content", ["", "[]", '{"slots": [{"id": "s1"}]}', "\0"])
def test_a_damaged_file_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    slots = Slots(tmp_path, "boot")
    assert slots.bound == {} and slots.damage is not None and "which pod has which device" in slots.damage


def test_a_slot_that_is_missing_twice_is_released() -> None:
    assert follow((0, True), (1, False), (1 + GONE_SECONDS, False)).is_released(1 + GONE_SECONDS)


def test_one_look_without_it_releases_nothing() -> None:
    assert not follow((0, True), (1, False)).is_released(1000)


def test_two_looks_in_a_row_release_nothing() -> None:
    assert not follow((0, True), (1, False), (1.1, False)).is_released(1.1)


def test_a_slot_that_was_just_handed_out_has_a_minute_to_show() -> None:
    looks = [(float(second), False) for second in range(int(UNSEEN_SECONDS) + 1)]
    assert not follow(*looks[:-1]).is_released(UNSEEN_SECONDS - 1)
    assert follow(*looks).is_released(UNSEEN_SECONDS)


def test_a_slot_that_gets_another_instance_begins_anew() -> None:
    found = presences({"s1": Presence(instance="earlier", seen=True, looks=5)}, BOUND, (), 100.0)
    assert found["s1"] == Presence(instance="one", looks=1, since=100.0)


@given(st.lists(st.booleans(), max_size=30))
def test_a_slot_that_is_listed_now_is_never_released(listed: list[bool]) -> None:
    looks = [(20.0 * number, seen) for number, seen in enumerate([*listed, True])]
    assert not follow(*looks).is_released(looks[-1][0])
