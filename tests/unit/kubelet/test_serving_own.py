"""What our own plugin knows beyond the kubelet's list: what it has just handed out, and what it could hand out."""

from __future__ import annotations

import pytest

from mdev_node_agent.kubelet.serving import Allocation, Asked, OwnResource, Pod, Service, View, serve, uses_with
from mdev_node_agent.seeing.in_use import InUse, Source, Use
from mdev_node_agent.seeing.observation import Instance

GPU = "vendor.com/gpu"
POD = Pod(namespace="ns", name="launcher")
INSTANCES = (Instance(id="one", parent="p", type="t"), Instance(id="two", parent="p", type="t"))
NO, UNKNOWN = Use(state=InUse.NO, source=Source.PROCESS), Use(state=InUse.UNKNOWN, source=Source.NONE)
BY_KUBELET = {state: Use(state=state, source=Source.POD_RESOURCES) for state in InUse}


def service(*, listed: tuple[str, ...] = (), own: OwnResource, current: bool = True) -> Service:
    given = (Allocation(pod=POD, resource=GPU, devices=listed),) if listed else ()
    view = View(allocations=given, allocatable={GPU: ("s1", "s2")})
    return serve(Asked(view=view, current=current), INSTANCES, {GPU: own})


def use(seen: Service, instance: str = "one", before: Use = UNKNOWN) -> Use:
    return uses_with(seen, {instance: before})[instance]


def test_what_was_just_handed_out_is_in_use_before_the_kubelet_lists_it() -> None:
    own = OwnResource(types=("t",), instances={"s1": "one"}, given=frozenset({"one"}))
    assert use(service(own=own), before=NO) == BY_KUBELET[InUse.YES]


def test_what_was_handed_out_is_in_use_while_the_kubelet_says_nothing() -> None:
    own = OwnResource(types=("t",), instances={"s1": "one"}, given=frozenset({"one"}))
    assert use(serve(Asked(), INSTANCES, {GPU: own}), before=NO) == BY_KUBELET[InUse.YES]


def test_what_was_handed_out_is_no_free_instance() -> None:
    own = OwnResource(types=("t",), instances={"s1": "one"}, given=frozenset({"one"}))
    (slots,) = service(own=own).slots
    assert (slots.instances, slots.unknown, slots.free) == ((), ("s2",), 1)


def test_what_could_be_handed_out_is_not_in_use() -> None:
    own = OwnResource(types=("t",), instances={"s2": "two"}, given=frozenset({"two"}), idle=frozenset({"one"}))
    assert use(service(listed=("s2",), own=own)) == BY_KUBELET[InUse.NO]


@pytest.mark.parametrize("changed", [{"listed": ("s9",)}, {"current": False}], ids=["unknown slot", "old answer"])
def test_nothing_is_unused_while_a_pod_has_nobody_knows_what(changed: dict[str, object]) -> None:
    own = OwnResource(types=("t",), idle=frozenset({"one"}))
    assert use(service(own=own, **changed)) == UNKNOWN  # type: ignore[arg-type]
