"""From the kubelet's device ids to instances, who has them, and what is free."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from mdev_node_agent.kubelet.serving import (
    Allocation,
    Asked,
    FreeSlots,
    OwnResource,
    Pod,
    Served,
    Service,
    View,
    serve,
    uses_with,
)
from mdev_node_agent.seeing.in_use import InUse, Source, Use
from mdev_node_agent.seeing.observation import Instance

ONE, TWO = "11111111-aaaa-4aaa-8aaa-111111111111", "22222222-aaaa-4aaa-8aaa-222222222222"
GPU = "vendor.com/gpu"
POD = Pod(namespace="ns", name="launcher")
INSTANCES = tuple(Instance(id=i, parent="p", type="t", vfio_group=g) for i, g in ((ONE, "12"), (TWO, "13")))


def view(offered: Mapping[str, tuple[str, ...]], given_to_pod: Mapping[str, tuple[str, ...]] | None = None) -> View:
    given_now = given_to_pod or {}
    return View(
        allocations=tuple(Allocation(pod=POD, resource=r, devices=ids) for r, ids in given_now.items()),
        allocatable=offered,
    )


def served(seen: View, own: Mapping[str, OwnResource] | None = None, *, current: bool = True) -> Service:
    return serve(Asked(view=seen, current=current), INSTANCES, own)


def test_an_mdev_uuid_is_an_instance_whatever_its_case() -> None:
    service = served(view({GPU: (ONE.upper(), TWO)}, {GPU: (ONE.upper(),)}))
    assert service.serving == (Served(instance=ONE, resource=GPU, pod=POD),)
    assert service.slots == (FreeSlots(resource=GPU, instances=(TWO,)),)


def test_the_number_of_an_iommu_group_is_an_instance() -> None:
    service = served(view({GPU: ("12", "13")}, {GPU: ("13",)}))
    assert service.of_pod(POD) == (Served(instance=TWO, resource=GPU, pod=POD),)
    assert service.slots == (FreeSlots(resource=GPU, instances=(ONE,)),)


def test_a_plugin_that_numbers_its_own_devices_is_not_taken_for_one_of_groups() -> None:
    service = served(view({"other.com/thing": ("11", "12", "13")}, {"other.com/thing": ("12",)}))
    assert service.serving == () and service.slots == () and service.offered == frozenset()


def test_a_pod_keeps_its_device_when_the_plugin_is_gone() -> None:
    assert served(view({}, {GPU: ("12",)})).serving == (Served(instance=ONE, resource=GPU, pod=POD),)


def test_a_device_that_has_gone_does_not_hide_those_that_a_finished_pod_still_lists() -> None:
    service = served(view({GPU: ("12", "13")}, {GPU: ("99",)}))
    assert service.serving == ()
    assert service.slots == (FreeSlots(resource=GPU, instances=(ONE, TWO)),)


def test_an_instance_that_a_pod_has_through_one_resource_is_not_free_in_another() -> None:
    service = served(view({GPU: (ONE, TWO), "kubevirt.io/gpu": ("12", "13")}, {GPU: (ONE,)}))
    assert service.slots_of("kubevirt.io/gpu") == FreeSlots(resource="kubevirt.io/gpu", instances=(TWO,))


def test_a_free_device_that_nobody_knows_is_told_and_is_no_free_slot() -> None:
    slots = served(view({GPU: (ONE, "who-knows")})).slots_of(GPU)
    assert slots is not None and slots.unknown == ("who-knows",) and slots.free == 1


def test_resources_that_are_about_other_devices_are_not_shown() -> None:
    assert served(view({"other.com/nic": ("eth1",)})).slots == ()


def test_a_resource_of_which_nothing_is_free_is_shown_with_nothing() -> None:
    assert served(view({GPU: (ONE,)}, {GPU: (ONE,)})).slots == (FreeSlots(resource=GPU),)


def test_slots_of_our_own_plugin_count_before_anything_is_behind_them() -> None:
    own = {GPU: OwnResource(types=("t",), instances={"slot-1": ONE})}
    service = served(view({GPU: ("slot-1", "slot-2", "slot-3")}, {GPU: ("slot-1",)}), own)
    assert service.of_pod(POD) == (Served(instance=ONE, resource=GPU, pod=POD),)
    assert service.slots == (FreeSlots(resource=GPU, unknown=("slot-2", "slot-3"), types=("t",)),)
    assert service.slots[0].free == 2


def test_nothing_is_said_without_a_view() -> None:
    assert serve(Asked(fault="silent"), INSTANCES) == Service(fault="silent")


USES = {i: Use(state=InUse.UNKNOWN, source=Source.NONE) for i in (ONE, TWO)}


def test_what_a_pod_has_is_in_use_and_what_is_offered_and_free_is_not() -> None:
    uses = uses_with(served(view({GPU: (ONE, TWO)}, {GPU: (ONE,)})), USES)
    assert uses[ONE] == Use(state=InUse.YES, source=Source.POD_RESOURCES)
    assert uses[TWO] == Use(state=InUse.NO, source=Source.POD_RESOURCES)


def test_a_device_that_no_plugin_offers_is_as_the_other_source_says() -> None:
    assert uses_with(served(view({GPU: (ONE,)})), USES)[TWO] == USES[TWO]


def test_an_older_answer_of_the_kubelet_never_makes_a_no() -> None:
    uses = uses_with(served(view({GPU: (ONE, TWO)}, {GPU: (ONE,)}), current=False), USES)
    assert uses[ONE].state is InUse.YES and uses[TWO].state is InUse.UNKNOWN


def test_a_program_outside_of_any_pod_keeps_the_device_in_use() -> None:
    held = {ONE: Use(state=InUse.YES, source=Source.PROCESS)}
    assert uses_with(served(view({GPU: (ONE, TWO)})), held) == held


def test_that_a_program_has_it_open_is_told_though_a_pod_has_it_too() -> None:
    """Nothing is written to a device that is open; that a pod has it does not say so."""
    held = {ONE: Use(state=InUse.YES, source=Source.PROCESS)}
    assert uses_with(served(view({GPU: (ONE,)}, {GPU: (ONE,)})), held) == held


def test_a_pod_that_has_not_opened_its_device_yet_uses_it() -> None:
    closed = {ONE: Use(state=InUse.NO, source=Source.PROCESS)}
    uses = uses_with(served(view({GPU: (ONE,)}, {GPU: (ONE,)})), closed)
    assert uses[ONE] == Use(state=InUse.YES, source=Source.POD_RESOURCES)


IDS = st.sets(st.sampled_from([ONE, TWO, "12", "13", "0", "stranger"]))


@given(offered=IDS, taken=IDS, other=IDS)
def test_no_instance_is_ever_both_free_and_served(offered: set[str], taken: set[str], other: set[str]) -> None:
    seen = view({"a": tuple(offered), "b": tuple(other)}, {"a": tuple(taken)})
    service = served(seen)
    free = {instance for slots in service.slots for instance in slots.instances}
    assert not free & {s.instance for s in service.serving}
    uses = uses_with(service, USES)
    assert all(uses[s.instance].state is InUse.YES for s in service.serving)
    assert free <= service.offered
