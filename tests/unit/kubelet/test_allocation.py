"""Which device the next pod gets, and what its container is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import Entry, EntryAnswer, State
from mdev_node_agent.kubelet.allocation import (
    KEY_PREFIX,
    Armed,
    Existing,
    Make,
    RefusedError,
    Room,
    Stock,
    choose,
    device_files,
    environment,
    preferred,
    stock_of,
)
from mdev_node_agent.kubelet.foreign import taken_by
from mdev_node_agent.kubelet.serving import Pod, Served, Service
from mdev_node_agent.memory.ledger import Made
from mdev_node_agent.seeing.in_use import InUse, Source, Use
from mdev_node_agent.seeing.observation import Instance, Observation, Offer, Parent
from mdev_node_agent.seeing.sight import Sight
from tests.agent.reservations import entry as entry_content

GPU = "vendor.com/gpu-1"
PUBLISHED = {"model": "m", "parameters": [{"name": "memory", "type": "int", "initValue": "1024"}]}
CREATE = {"create": {"parent": "p", "type": "t", "profile": "p-" + "a" * 26}}


def sight(
    *instances: Instance, use: InUse = InUse.NO, rooms: int = 1, published: dict[str, Any] | None = None
) -> Sight:
    profile = {"backend": "mdev"} | ({"published": published} if published else {})
    offers = tuple(Offer(type=t, profile=profile, available=rooms) for t in ("t", "u"))
    observation = Observation(boot_id="b", parents=(Parent(name="p", driver="d", offers=offers),), instances=instances)
    return Sight(observation=observation, uses={i.id: Use(state=use, source=Source.PROCESS) for i in instances})


def device(key: str = "one", **changed: Any) -> Instance:
    content = {"id": key, "parent": "p", "type": "t", "values": {"memory": "1024"}, "vfio_group": "7", **changed}
    return Instance(**content)


def made(*instances: str, key: str = f"{KEY_PREFIX}1") -> dict[str, Made]:
    return {i: Made(instance=i, reservation=key, boot_id="b", backend="mdev") for i in instances}


def reserved(entry_id: str = "move-1", **changed: Any) -> Entry:
    return Entry.model_validate(entry_content(entry_id, boot_id="b", **{"device": CREATE, **changed}))


def answered(entry: Entry, state: State = State.PREPARED, instance: str | None = "one") -> dict[str, EntryAnswer]:
    return {entry.id: EntryAnswer(id=entry.id, state=state, instance=instance)}


def stock(seen: Sight, *entries: Entry, **changed: Any) -> Stock:
    nothing: dict[str, Any] = {"answers": {}, "made": {}, "held": frozenset(), "given": frozenset()}
    return stock_of(("t",), seen, entries=entries, **{**nothing, **changed})


def test_a_prepared_device_waits_for_its_pod() -> None:
    entry = reserved()
    found = stock(sight(device()), entry, answers=answered(entry))
    assert found.armed == (Armed(instance="one", owner="DeviceMigration default/move"),)


@pytest.mark.parametrize(
    "changed",
    [
        {"intent": "HandOver"},
        {"intent": "Undo"},
        {"role": "Source", "device": {"instance": "one", "profile": "p-" + "a" * 26}},
        {"role": "PoolMember"},
        {"device": {"slot": {"resource": GPU}, "profile": "p-" + "a" * 26}},
    ],
)
def test_what_is_held_for_something_else_is_not_handed_out(changed: dict[str, Any]) -> None:
    entry = reserved(**changed)
    assert stock(sight(device()), entry, answers=answered(entry)).armed == ()


@pytest.mark.parametrize("state", [s for s in State if s is not State.PREPARED])
def test_only_what_is_prepared_is_armed(state: State) -> None:
    entry = reserved()
    assert stock(sight(device()), entry, answers=answered(entry, state)).armed == ()


def test_a_device_of_another_type_is_not_armed_for_this_resource() -> None:
    entry = reserved()
    assert stock(sight(device(type="u")), entry, answers=answered(entry)).armed == ()


def test_a_prepared_device_that_a_pod_has_or_that_is_open_waits_for_nobody() -> None:
    entry = reserved()
    assert stock(sight(device()), entry, answers=answered(entry), given={"one"}).armed == ()
    assert stock(sight(device(), use=InUse.YES), entry, answers=answered(entry)).armed == ()


def test_a_device_that_is_being_prepared_counts_as_much_as_the_room_that_it_took() -> None:
    entry = reserved()
    before = stock(sight(rooms=1), entry)
    during = stock(sight(device(instance_uuid("move-1")), rooms=0), entry)
    after = stock(sight(device(), rooms=0), entry, answers=answered(entry))
    assert before.size == during.size == after.size == 1


def test_what_a_pod_left_behind_is_idle() -> None:
    assert stock(sight(device()), made=made("one")).idle == ("one",)


@pytest.mark.parametrize(
    ("seen", "changed"),
    [
        (sight(device()), {}),
        (sight(device()), {"made": made("one"), "held": {"one"}}),
        (sight(device()), {"made": made("one"), "given": {"one"}}),
        (sight(device(), use=InUse.UNKNOWN), {"made": made("one")}),
        (sight(device(), use=InUse.YES), {"made": made("one")}),
        (sight(device(type="u")), {"made": made("one")}),
    ],
    ids=["not ours", "reserved", "of a pod", "perhaps open", "open", "another type"],
)
def test_what_may_be_somebodys_is_not_idle(seen: Sight, changed: dict[str, Any]) -> None:
    assert stock(seen, **changed).idle == ()


@pytest.mark.parametrize(("value", "idle"), [("1024", ("one",)), ("4096", ())])
def test_a_device_that_was_set_to_something_is_not_idle(value: str, idle: tuple[str, ...]) -> None:
    seen = sight(device(values={"memory": value}), published=PUBLISHED)
    assert stock(seen, made=made("one", key="move-1")).idle == idle


def test_where_nothing_is_published_only_what_was_never_reserved_is_idle() -> None:
    assert stock(sight(device()), made=made("one", key="move-1")).idle == ()


def test_types_of_one_parent_are_counted_once() -> None:
    found = stock_of(("t", "u"), sight(rooms=3), entries=(), answers={}, made={}, held=(), given=())
    assert len(found.rooms) == 2 and found.size == 3


def test_the_armed_device_comes_first_then_an_idle_one_then_a_new_one() -> None:
    room = Room(parent="p", type="t", backend="mdev", available=1)
    armed = Armed(instance="armed", owner="x")
    assert choose(GPU, Stock(armed=(armed,), idle=("idle",), rooms=(room,))) == Existing(instance="armed")
    assert choose(GPU, Stock(idle=("idle",), rooms=(room,))) == Existing(instance="idle")
    assert choose(GPU, Stock(rooms=(room,))) == Make(rooms=(room,))


def test_nothing_left_is_told() -> None:
    with pytest.raises(RefusedError, match="can be made here any more") as told:
        choose(GPU, Stock(coming=1))
    assert told.value.code == "RESOURCE_EXHAUSTED"


def test_of_two_armed_devices_none_is_chosen() -> None:
    two = (Armed(instance="a", owner="x"), Armed(instance="b", owner="y"))
    with pytest.raises(RefusedError, match="a for x and b for y") as told:
        choose(GPU, Stock(armed=two, idle=("idle",)))
    assert told.value.code == "FAILED_PRECONDITION"


def test_the_variable_is_named_as_kubevirt_names_it() -> None:
    told = environment("nvidia.com/GRID_T4-1Q", [device("a"), device("b")])
    assert told == {"MDEV_PCI_RESOURCE_NVIDIA_COM_GRID_T4-1Q": "a,b"}


def test_a_container_may_open_the_groups_of_its_devices() -> None:
    assert device_files([device("a"), device("b", vfio_group="8")]) == ("/dev/vfio/vfio", "/dev/vfio/7", "/dev/vfio/8")


def test_a_device_without_a_group_cannot_be_handed_out() -> None:
    with pytest.raises(RefusedError, match="no VFIO group"):
        device_files([device(vfio_group=None)])


def test_slots_that_never_had_a_device_are_preferred() -> None:
    assert preferred(["a", "b", "c"], [], 2, bound={"a"}) == ("b", "c")


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.integers(0, 9))
def test_a_preference_is_always_one_that_the_kubelet_can_take(available: set[int], bound: set[int], size: int) -> None:
    ids = [str(number) for number in sorted(available)]
    must = ids[: size // 2]
    found = preferred(ids, must, size, {str(number) for number in bound})
    assert set(must) <= set(found) <= set(ids) and len(found) == min(size, len(ids)) == len(set(found))


def served(*pods: tuple[str, str], current: bool = True) -> Service:
    return Service(
        serving=tuple(Served(instance="one", resource=GPU, pod=Pod(namespace=n, name=p)) for n, p in pods),
        current=current,
    )


def test_a_pod_of_another_namespace_is_foreign() -> None:
    assert taken_by(reserved(), "one", served(("elsewhere", "x"))) == Pod(namespace="elsewhere", name="x")


@pytest.mark.parametrize(
    "service",
    [served(), served(("default", "target")), served(("elsewhere", "x"), current=False)],
    ids=["nobody has it", "its own namespace", "an old answer"],
)
def test_whoever_may_be_the_target_is_not_foreign(service: Service) -> None:
    assert taken_by(reserved(), "one", service) is None


def test_the_running_source_of_a_migration_is_taken_by_nobody() -> None:
    source = reserved(role="Source", device={"instance": "one", "profile": "p-" + "a" * 26})
    assert taken_by(source, "one", served(("elsewhere", "x"))) is None
