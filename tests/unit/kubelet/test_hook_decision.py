"""What the hook does with a VM, its pod's devices, and the reservations of this node."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.kinds.node_reservations import Entry, EntryAnswer
from mdev_node_agent.kubelet.hook_decision import Bind, Code, Decision, Pass, Refuse, Vmi, VmiError, decide, vmi_of
from mdev_node_agent.kubelet.serving import FreeSlots, Pod, Served, Service
from tests.agent.reservations import entry as entry_content
from tests.kubelet.virt_handler import vmi as vmi_content

GPU, POD, MIGRATION = "vendor.com/gpu", "launcher", "7d6e"
PROFILE = "p-" + "a" * 26
VMI = Vmi(namespace="default", name="vm", resources=frozenset({GPU}), migration_uid=MIGRATION, target_pod=POD)
THERE = Pod(namespace="default", name=POD)
SERVED = Service(
    serving=(Served(instance="i-1", resource=GPU, pod=THERE),), slots=(FreeSlots(resource=GPU),), current=True
)
SLOT = {"slot": {"resource": GPU}, "profile": PROFILE}
NAMED = {"instance": "i-1", "profile": PROFILE}


def held(
    device: dict[str, Any] = SLOT, *, entry_id: str = "e-1", intent: str = "Hold", owner: dict[str, str] | None = None
) -> Entry:
    content = entry_content(entry_id, boot_id="b", device=device, intent=intent)
    named = {"kind": "DeviceMigration", "namespace": "default", "name": f"vmim-{MIGRATION}", "uid": "u"}
    return Entry.model_validate({**content, "owner": {**named, **(owner or {})}})


def answered(state: str, *, entry_id: str = "e-1", **more: Any) -> dict[str, EntryAnswer]:
    return {entry_id: EntryAnswer.model_validate({"id": entry_id, "state": state, **more})}


def decided(
    *entries: Entry,
    service: Service = SERVED,
    answers: dict[str, EntryAnswer] | None = None,
    known: bool = True,
    vmi: Vmi = VMI,
) -> Decision:
    [decision] = decide(vmi, service, entries, answers or {}, known=known)
    return decision


def refusal(decision: Decision) -> tuple[Code, str]:
    assert isinstance(decision, Refuse), decision
    return decision.code, decision.message


def test_the_slot_of_the_migration_is_bound_to_what_its_pod_has() -> None:
    decision = decided(held(), answers=answered("Prepared"))
    assert decision == Bind(entry="e-1", instance="i-1")


def test_a_slot_that_is_bound_to_it_passes() -> None:
    assert isinstance(decided(held(), answers=answered("Prepared", instance="i-1")), Pass)


def test_a_slot_that_was_handed_over_passes() -> None:
    said = answered("HandedOver", instance="i-1")
    assert isinstance(decided(held(intent="HandOver"), answers=said), Pass)


def test_a_device_that_was_prepared_for_the_migration_by_name_passes() -> None:
    assert isinstance(decided(held(NAMED), answers=answered("Prepared", instance="i-1")), Pass)


def test_a_device_whose_preparation_failed_is_refused_with_its_reason() -> None:
    failure = {"reason": "Refused", "message": "the kernel refused"}
    said = answered("Failed", instance="i-1", failure=failure)
    code, message = refusal(decided(held(NAMED), answers=said))
    assert code is Code.FAILED_PRECONDITION and "Refused: the kernel refused" in message


def test_another_device_than_the_prepared_one_is_refused_and_both_are_named() -> None:
    said = answered("Prepared", instance="i-2")
    code, message = refusal(decided(held(NAMED | {"instance": "i-2"}), answers=said))
    assert code is Code.FAILED_PRECONDITION and "i-1" in message and "device i-2" in message


def test_a_slot_that_is_bound_to_another_device_is_not_bound_again() -> None:
    code, _ = refusal(decided(held(), answers=answered("Prepared", instance="i-2")))
    assert code is Code.FAILED_PRECONDITION


@pytest.mark.parametrize("owner", [{"name": "vmim-other"}, {"namespace": "elsewhere"}])
def test_a_reservation_of_another_migration_does_not_count(owner: dict[str, str]) -> None:
    code, message = refusal(decided(held(owner=owner), answers=answered("Prepared")))
    assert code is Code.FAILED_PRECONDITION and "gate was bypassed" in message


def test_a_reservation_that_is_given_up_does_not_count() -> None:
    _, message = refusal(decided(held(intent="Undo"), answers=answered("Prepared")))
    assert "are being given up" in message


def test_a_later_attempt_counts_beside_one_that_is_given_up() -> None:
    entries = held(entry_id="e-0", intent="Undo"), held(entry_id="e-1")
    assert decided(*entries, answers=answered("Prepared")) == Bind(entry="e-1", instance="i-1")


def test_a_slot_of_another_resource_is_not_bound() -> None:
    other = {"slot": {"resource": "vendor.com/other"}, "profile": PROFILE}
    _, message = refusal(decided(held(other), answers=answered("Prepared")))
    assert "a device of vendor.com/other" in message


def test_nothing_is_let_in_before_the_api_server_has_said_what_stands() -> None:
    code, _ = refusal(decided(known=False))
    assert code is Code.UNAVAILABLE


NONE = Service(slots=(FreeSlots(resource=GPU),), current=True)


def test_a_device_of_ours_that_the_kubelet_does_not_name_yet_is_waited_for() -> None:
    code, message = refusal(decided(service=NONE))
    assert code is Code.UNAVAILABLE and GPU in message


def test_a_reserved_device_that_the_kubelet_does_not_name_is_waited_for() -> None:
    code, _ = refusal(decided(held(), service=Service(current=True)))
    assert code is Code.UNAVAILABLE


def test_a_vm_whose_device_is_none_of_ours_passes() -> None:
    assert isinstance(decided(service=Service(current=True)), Pass)


@pytest.mark.parametrize("service", [Service(fault="silent"), Service(kept=True)])
def test_without_a_word_of_the_kubelet_nothing_is_let_in(service: Service) -> None:
    code, _ = refusal(decided(service=service))
    assert code is Code.UNAVAILABLE


def test_a_vm_that_names_no_migration_is_waited_for() -> None:
    vmi = Vmi(namespace="default", name="vm", resources=frozenset({GPU}))
    assert refusal(decided(vmi=vmi))[0] is Code.UNAVAILABLE


def test_every_device_of_the_pod_needs_its_reservation() -> None:
    two = Service(serving=(*SERVED.serving, Served(instance="i-2", resource=GPU, pod=THERE)), current=True)
    decisions = decide(VMI, two, [held()], answered("Prepared", instance="i-1"), known=True)
    assert [type(decision) for decision in decisions] == [Pass, Refuse]


def test_a_vmi_is_read_as_virt_handler_sends_it() -> None:
    content = vmi_content("vm", resource=GPU, migration=MIGRATION, pod=POD)
    assert vmi_of(json.dumps(content).encode()) == VMI


def test_what_has_no_status_names_no_migration() -> None:
    vmi = vmi_of(b'{"metadata": {"namespace": "n", "name": "v"}, "spec": {"domain": {}}}')
    assert (vmi.migration_uid, vmi.target_pod, vmi.resources) == ("", "", frozenset())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "domain", "devices", "gpus", "name", "namespace", "deviceName"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON | st.binary())
def test_whatever_is_sent_is_read_or_refused_with_a_sentence(content: Any) -> None:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    try:
        vmi_of(raw)
    except VmiError as error:
        assert str(error).startswith("the VirtualMachineInstance cannot be understood")
