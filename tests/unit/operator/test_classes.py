"""Which nodes accept which class, which labels follow, and when they are written: decided without any cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine.compatibility_class import CompatibilityClass, compatibility_class, representative
from mdev_api.engine.metadata import Allowed, Metadata, Parameter, Source, SourceParameter, ValueType, Verdict
from mdev_api.engine.verdict import compare
from mdev_api.kinds.compatibility_class import CompatibilityClass as ClassObject
from mdev_api.kinds.compatibility_class import label_of
from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kube.resources import DEVICE_PROFILES, NODE_DEVICES
from mdev_operator.classes.choice import (
    CORRECT_AGAIN,
    KEPT_UNUSED,
    MOST_LABELS,
    Told,
    Usage,
    in_order,
    labels_for,
    ours,
    patch_of,
    to_forget,
    to_write,
)
from mdev_operator.classes.index import ClassIndex, Totals
from mdev_operator.classes.reconcile import status_of
from mdev_operator.classes.sight import ClassReadings, Row, look
from mdev_operator.classes.state import ClassState, definition_of
from mdev_operator.inventory.cluster import Cluster
from tests.unit.operator.world import NOW, PROFILES, cluster, instance, node_devices, profile_name, stamp

A, B = "class.mdev-operator.io/a", "class.mdev-operator.io/b"


def gpu_class(memory: int, type_id: str = "gfx-varGB") -> CompatibilityClass:
    """The class of a GPU with so much memory, as a node shows it."""
    shown = NodeDevices.model_validate(
        {"status": {"instances": [instance(type_id, values={"memory": str(memory)}, inUse="Yes")]}}
    )
    assert shown.status is not None
    found = ClassReadings().of(shown.status.instances[0], PROFILES[profile_name(type_id)].profile)
    assert found is not None
    return found


PROFILE_NAMES, NODE_NAMES, MEMORIES = ("p1", "p2", "p3"), ("n1", "n2", "n3"), ("1", "2", "3")


def memory_class(value: str) -> CompatibilityClass:
    """A class of devices with one parameter."""
    memory = SourceParameter(name="memory", type=ValueType.INT, value=value)
    found = compatibility_class(Source(model="m", parameters=(memory,)))
    assert found is not None
    return found


def accepting(values: frozenset[str]) -> Metadata:
    """An offer that takes these values."""
    memory = Parameter(name="memory", type=ValueType.INT, init=min(values), allowed=Allowed(texts=values))
    return Metadata(model="m", parameters=(memory,))


ROW = st.dictionaries(st.sampled_from(PROFILE_NAMES), st.integers(0, 3), min_size=1).map(
    lambda free: tuple(sorted(free.items()))
)
OFFER = st.frozensets(st.sampled_from(MEMORIES), min_size=1).map(accepting)
STEP = (
    st.tuples(st.just("profile"), st.sampled_from(PROFILE_NAMES), st.none() | OFFER)
    | st.tuples(st.just("node"), st.sampled_from(NODE_NAMES), st.lists(ROW, max_size=3))
    | st.tuples(st.just("class"), st.sampled_from(MEMORIES), st.booleans())
)


@settings(deadline=None)
@given(st.lists(STEP, min_size=6, max_size=25))
def test_after_any_changes_the_index_says_what_judging_everything_anew_would(
    steps: list[tuple[str, str, Any]],
) -> None:
    index = ClassIndex()
    profiles: dict[str, Metadata | None] = {}
    nodes: dict[str, list[Row]] = {}
    classes: dict[str, CompatibilityClass] = {}
    for kind, which, what in steps:
        if kind == "profile":
            index.put_profile(which, what)
            profiles[which] = what
        elif kind == "node":
            index.put_node(which, what)
            nodes[which] = what
        elif what:
            index.add_class(memory_class(which))
            classes[memory_class(which).name] = memory_class(which)
        else:
            index.remove_class(memory_class(which).name)
            classes.pop(memory_class(which).name, None)

    for name, wanted in classes.items():
        good = {p for p, m in profiles.items() if m is not None and fits(representative(wanted), m)}
        room = {n: r for n, rows in nodes.items() if (r := room_on(rows, good)) is not None}
        assert {n: index.accepted(n)[name] for n in nodes if name in index.accepted(n)} == room
        assert index.totals(name) == Totals(nodes=len(room), available=sum(room.values()))
        assert index.profiles_of(name) == sorted(good)
    for node in nodes:
        assert index.accepted(node).keys() <= classes.keys()


def fits(source: Source, offer: Metadata) -> bool:
    return compare(source, offer).verdict is Verdict.COMPATIBLE


def room_on(rows: list[Row], good: set[str]) -> int | None:
    """The room of a node: of each pool the best of what is accepted; None: nothing is accepted."""
    of_rows = [[free for profile, free in row if profile in good] for row in rows]
    return sum(max(frees) for frees in of_rows if frees) if any(of_rows) else None


@pytest.mark.parametrize("class_first", [True, False])
def test_of_a_parent_only_the_type_with_most_room_counts(class_first: bool) -> None:
    index = ClassIndex()
    for name in ("p1", "p2"):
        index.put_profile(name, accepting(frozenset({"1"})))
    if class_first:
        index.add_class(memory_class("1"))
    index.put_node("n", [(("p1", 2), ("p2", 3)), (("p1", 1),)])
    if not class_first:
        index.add_class(memory_class("1"))

    assert index.totals(memory_class("1").name) == Totals(nodes=1, available=4)


def test_a_verdict_is_asked_once_for_each_class_and_profile_however_many_nodes_there_are() -> None:
    index = ClassIndex()
    for name, view in PROFILES.items():
        index.put_profile(name, view.metadata)
    for number in range(50):
        index.put_node(f"n{number}", [((profile_name("gfx-8GB"), 2), (profile_name("gfx-varGB"), 8))])
    index.add_class(gpu_class(8192))
    index.add_class(gpu_class(4096))
    for number in range(50):
        index.put_node(f"n{number}", [((profile_name("gfx-8GB"), 1),)])

    assert index.verdicts == 2 * len(PROFILES)
    assert index.totals(gpu_class(8192).name) == Totals(nodes=50, available=50)


def seen(where: Cluster, node: str = "a") -> tuple[tuple[Row, ...], set[str]]:
    sight = look(where, node, ClassReadings())
    return sight.rows, set(sight.running)


def test_a_parent_is_one_pool_and_an_idle_instance_of_ours_another() -> None:
    idle = instance("gfx-4GB", inUse="No", managed=True)

    rows, running = seen(cluster(node_devices("a", {"gfx-8GB": 2, "gfx-varGB": 8}, [idle])))

    assert rows == (
        tuple(sorted(((profile_name("gfx-8GB"), 2), (profile_name("gfx-varGB"), 8)))),
        ((profile_name("gfx-4GB"), 1),),
    )
    assert running == set()


@pytest.mark.parametrize("in_use", ["Yes", "Unknown"])
def test_a_device_that_is_not_surely_unused_counts_as_a_running_source(in_use: str) -> None:
    device = instance("gfx-varGB", values={"memory": "4096"}, inUse=in_use)

    _, running = seen(cluster(node_devices("a", {}, [device])))

    assert running == {gpu_class(4096).name}


def test_a_device_that_cannot_be_read_has_no_class() -> None:
    broken = instance("gfx-varGB", inUse="Yes", unreadable=[{"name": "memory", "errno": "EIO", "message": "no"}])

    assert seen(cluster(node_devices("a", {}, [broken])))[1] == set()


def test_a_node_whose_agent_is_silent_accepts_nothing_but_what_runs_there_still_counts() -> None:
    device = instance("gfx-8GB", inUse="Yes")

    rows, running = seen(cluster(node_devices("a", {"gfx-8GB": 1}, [device]), silent={"a": "silent"}))

    assert rows == ()
    assert running == {gpu_class(8192, "gfx-8GB").name}


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def test_named_classes_come_first_then_running_ones_then_those_used_last() -> None:
    usages = {
        "unused-long": Usage(since=ago(minutes=50)),
        "unused-lately": Usage(since=ago(minutes=1)),
        "running": Usage(running=True, since=ago(days=1)),
        "named": Usage(named=True, since=ago(seconds=1)),
    }

    assert in_order(usages) == ["named", "running", "unused-lately", "unused-long"]


def test_a_class_that_comes_into_use_does_not_displace_one_that_was_longer_in_use() -> None:
    usages = {
        "just seen": Usage(running=True),
        "new": Usage(running=True, since=NOW),
        "old": Usage(running=True, since=ago(days=9)),
    }

    assert in_order(usages) == ["old", "new", "just seen"]


def test_more_classes_than_may_count_do_not_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdev_operator.classes.choice.MOST_CLASSES", 1)
    four, eight = gpu_class(4096), gpu_class(8192)
    objects = {four.name: recorded(four, in_use=True, age=timedelta(days=1))}
    both = [
        instance("gfx-varGB", values={"memory": "4096"}, inUse="Yes"),
        instance("gfx-varGB", "other", values={"memory": "8192"}, inUse="Yes"),
    ]

    state = state_of(cluster(node_devices("a", {}, both)), **objects)

    assert state.usages.keys() == {four.name, eight.name}
    assert list(state.places) == list(state.index.classes) == [four.name]


def test_a_node_carries_at_most_64_labels_of_the_classes_that_come_first() -> None:
    places = {f"c-{number}": number for number in range(100)}

    labels = labels_for(reversed(list(places)), places)

    assert len(labels) == MOST_LABELS == 64
    assert labels == {label_of(f"c-{number}") for number in range(64)}


def test_a_class_that_does_not_count_is_no_label() -> None:
    assert labels_for(["c-a", "c-b"], {"c-b": 0}) == {label_of("c-b")}


def test_a_class_is_forgotten_after_an_hour_without_use() -> None:
    usages = {
        "just": Usage(since=NOW - KEPT_UNUSED),
        "not yet": Usage(since=NOW - KEPT_UNUSED + timedelta(seconds=1)),
        "in use": Usage(running=True, since=ago(days=9)),
        "not recorded": Usage(),
    }

    assert to_forget(usages, NOW) == ["just"]


WANTED = frozenset({A})


def test_what_is_right_already_is_not_written() -> None:
    assert not to_write(WANTED, WANTED, None, 0.0)
    assert not to_write(WANTED, WANTED, Told(labels=WANTED), 0.0)


def test_a_change_of_what_is_wanted_is_written_at_once_even_if_the_cache_looks_right() -> None:
    assert to_write(WANTED, WANTED, Told(labels=frozenset({B}), corrected=0.0), 1.0)


def test_what_somebody_else_changed_is_put_right_once_and_again_only_after_an_hour() -> None:
    shown = frozenset({B})
    assert to_write(WANTED, shown, Told(labels=WANTED), 5.0)
    assert not to_write(WANTED, shown, Told(labels=WANTED, corrected=5.0), 5.0 + CORRECT_AGAIN - 1)
    assert to_write(WANTED, shown, Told(labels=WANTED, corrected=5.0), 5.0 + CORRECT_AGAIN)


def test_a_patch_names_only_labels_with_our_prefix() -> None:
    there = ours({A: "false", B: "true", "zone": "x", "class.example.com/a": "true"})

    assert patch_of(WANTED, there) == {A: "true", B: None}


def test_a_label_with_another_value_is_not_the_label() -> None:
    assert ours({A: "false"}) != WANTED


def test_a_patch_removes_what_was_written_before_though_the_cache_does_not_show_it_yet() -> None:
    assert patch_of(frozenset(), frozenset(), frozenset({A})) == {A: None}


def state_of(where: Cluster, **objects: ClassObject) -> ClassState:
    """A state that has everything in sight, as after a start."""
    state = ClassState()
    for name in where.profiles:
        state.changed(DEVICE_PROFILES, name)
    for name in where.devices:
        state.changed(NODE_DEVICES, name)
    state.take_in(where, objects, NOW)
    return state


def recorded(found: CompatibilityClass, in_use: bool, age: timedelta) -> ClassObject:
    """The object of a class as it was written ``age`` ago."""
    status = status_of(found, Totals(nodes=0, available=0), [], Usage(running=in_use), None, NOW - age)
    return ClassObject.model_validate({"metadata": {"name": found.name}, "status": status.model_dump(by_alias=True)})


WHERE = cluster(
    node_devices("a", {}, [instance("gfx-8GB", inUse="Yes")]),
    node_devices("b", {"gfx-8GB": 1}),
    node_devices("c", {"gfx-4GB": 1}),
)


def test_nodes_that_accept_a_running_source_get_its_label() -> None:
    state = state_of(WHERE)

    eight = label_of(gpu_class(8192).name)
    assert [state.labels(node) for node in "abc"] == [frozenset(), {eight}, frozenset()]


def test_a_class_that_was_in_use_lately_is_known_again_from_its_object_after_a_restart() -> None:
    four = gpu_class(4096)

    state = state_of(WHERE, **{four.name: recorded(four, in_use=False, age=timedelta(minutes=59))})

    assert state.labels("c") == {label_of(four.name)}


def test_a_class_whose_object_says_unused_for_an_hour_is_known_no_more() -> None:
    four = gpu_class(4096)

    state = state_of(WHERE, **{four.name: recorded(four, in_use=False, age=timedelta(minutes=60))})

    assert state.labels("c") == frozenset()
    assert four.name not in state.index.classes


def test_an_object_whose_content_does_not_give_its_name_describes_no_class() -> None:
    four, eight = gpu_class(4096), gpu_class(8192)
    forged = recorded(four, in_use=True, age=timedelta(0)).model_copy(update={"metadata": named(eight.name)})

    assert definition_of(forged) is None
    assert four.name not in state_of(WHERE, **{eight.name: forged}).index.classes


def named(name: str) -> object:
    return ClassObject.model_validate({"metadata": {"name": name}}).metadata


def test_a_migration_names_a_class_until_it_ends() -> None:
    state = state_of(WHERE)
    four = gpu_class(4096)

    state.name("migration/ns/m", representative(four))
    state.take_in(WHERE, {}, NOW)
    assert state.usages[four.name].named and state.labels("c") == {label_of(four.name)}

    state.name("migration/ns/m", None)
    state.take_in(WHERE, {}, NOW)
    assert four.name not in state.usages


def test_an_agent_that_falls_silent_loses_its_node_the_labels_when_time_is_looked_at() -> None:
    state = state_of(WHERE)
    later = replace(WHERE, silent=lambda node: "silent" if node == "b" else None)

    state.note_time(later)
    state.take_in(later, {}, NOW)

    assert state.labels("b") == frozenset()


def test_a_profile_that_comes_to_mean_something_else_changes_labels_and_classes() -> None:
    state = state_of(WHERE)
    assert state.labels("b")

    unread = {name: replace(view, metadata=None) for name, view in PROFILES.items()}
    for name in unread:
        state.changed(DEVICE_PROFILES, name)
    state.take_in(replace(WHERE, profiles=unread), {}, NOW)

    assert state.labels("b") == frozenset()


def test_a_running_source_gets_its_class_when_its_profile_is_read_later_than_the_node_was_seen() -> None:
    state = state_of(replace(WHERE, profiles={}))
    assert state.usages == {}

    for name in PROFILES:
        state.changed(DEVICE_PROFILES, name)
    state.take_in(WHERE, {}, NOW)

    assert state.usages[gpu_class(8192).name].running


def test_a_node_that_publishes_no_devices_any_more_loses_its_labels() -> None:
    state = state_of(WHERE)
    assert state.labels("b")

    state.changed(NODE_DEVICES, "b")
    state.take_in(replace(WHERE, devices={}), {}, NOW)

    assert state.labels("b") == frozenset()


def test_the_time_of_a_class_stands_while_its_use_stays_the_same() -> None:
    eight = gpu_class(8192)
    before = recorded(eight, in_use=True, age=timedelta(hours=5))

    status = status_of(eight, Totals(nodes=1, available=2), [], Usage(running=True), before, NOW)

    assert status.conditions[0].last_transition_time == stamp(ago(hours=5))
    assert (status.nodes, status.available, status.label) == (1, 2, label_of(eight.name))
