"""A migration whose source is a VM: which instance its pod has, and what happens when that changes."""

from __future__ import annotations

from typing import Any

from mdev_api.kinds.node_reservations import Intent, Role
from mdev_operator.inventory.cluster import VmView
from mdev_operator.migration.source import NoSource
from tests.unit.operator.world import (
    DEVICE,
    cluster,
    decided,
    digest,
    instance,
    migration,
    node_devices,
    reservations,
    reserved_by,
    shown,
)

RESOURCE = "gfx.com/GPU_8GB"
OTHER = "99999999-2222-4333-8444-555555555555"
VM = VmView(name="vm", node="a", pod_namespace="default", pod_name="virt-launcher-vm-1", resource=RESOURCE)
OF_VM: dict[str, Any] = {"vm": {"name": "vm"}}


def serving(device: str = DEVICE, pod: str = "virt-launcher-vm-1", resource: str = RESOURCE) -> dict[str, str]:
    return {"instance": device, "resource": resource, "podNamespace": "default", "podName": pod}


FOREIGN = instance("gfx-8GB", inUse="Yes", inUseSource="PodResources", managed=False)
SOURCE = node_devices("a", {"gfx-8GB": 1}, [FOREIGN], serving=[serving()])
BIG = node_devices("b", {"gfx-8GB": 2}, slots=[{"resource": RESOURCE, "free": 2, "types": ["gfx-8GB"]}])


def planned(decision: Any) -> tuple[str, str]:
    _, reason, message = shown(decision, "Planned") or ("", "", "")
    return reason, message


def test_the_device_that_the_vms_pod_has_is_pinned_also_if_it_is_not_ours() -> None:
    decision = decided(migration(OF_VM), cluster(SOURCE, BIG), vm=VM)
    (pin,) = reserved_by(decision, "a")
    assert pin.role is Role.SOURCE and pin.device.instance == DEVICE
    assert [e.role for e in reserved_by(decision, "b")] == [Role.DESTINATION]


def test_after_success_a_foreign_source_stays_whatever_the_policy() -> None:
    """sourcePolicy Remove reaches the agent as a word that it obeys for devices of its ledger only."""
    made = decided(migration(OF_VM), cluster(SOURCE, BIG), vm=VM)
    (pin,), (there,) = reserved_by(made, "a"), reserved_by(made, "b")
    held = [reservations("a", [pin]), reservations("b", [there])]
    done = migration(OF_VM, started=True, outcome="Succeeded")
    decision = decided(done, cluster(SOURCE, BIG, reserved=held))
    told = {e: intent for tell in decision.tell for e, intent in tell.intents.items()}
    assert told[pin.id] is Intent.HAND_OVER


def test_why_the_vm_cannot_move_is_told_as_it_was_found() -> None:
    why = NoSource(reason="NotSupported", message="source.vm vm: it has 2 GPUs")
    decision = decided(migration(OF_VM), cluster(SOURCE, BIG), vm=why)
    assert planned(decision) == ("NotSupported", "source.vm vm: it has 2 GPUs") and decision.reserve == ()


def test_a_device_of_another_pod_is_not_the_vms() -> None:
    source = node_devices("a", {}, [FOREIGN], serving=[serving(pod="virt-launcher-other")])
    reason, message = planned(decided(migration(OF_VM), cluster(source, BIG), vm=VM))
    assert reason == "DeviceNotFound" and "default/virt-launcher-vm-1" in message and "--kubelet-dir" not in message


def test_a_pod_of_the_same_name_in_another_namespace_is_another_pod() -> None:
    source = node_devices("a", {}, [FOREIGN], serving=[{**serving(), "podNamespace": "elsewhere"}])
    assert planned(decided(migration(OF_VM), cluster(source, BIG), vm=VM))[0] == "DeviceNotFound"


def test_a_device_of_another_resource_is_not_the_gpu() -> None:
    source = node_devices("a", {}, [FOREIGN], serving=[serving(resource="gfx.com/other")])
    assert planned(decided(migration(OF_VM), cluster(source, BIG), vm=VM))[0] == "DeviceNotFound"


def test_a_node_that_does_not_ask_its_kubelet_is_told_how_to() -> None:
    reason, message = planned(decided(migration(OF_VM), cluster(node_devices("a", {}, [FOREIGN]), BIG), vm=VM))
    assert reason == "DeviceNotFound" and "--kubelet-dir" in message


def test_a_node_without_an_agent_is_named() -> None:
    reason, message = planned(decided(migration(OF_VM), cluster(BIG), vm=VM))
    assert reason == "SourceNotFound" and "VM vm runs on a" in message


def test_a_silent_node_is_stale() -> None:
    where = cluster(SOURCE, BIG, silent={"a": "no Lease for 400 s"})
    assert planned(decided(migration(OF_VM), where, vm=VM))[0] == "SourceStale"


def test_a_vm_that_got_another_device_meanwhile_is_planned_anew() -> None:
    made = decided(migration(OF_VM), cluster(SOURCE, BIG), vm=VM)
    (pin,), (there,) = reserved_by(made, "a"), reserved_by(made, "b")
    now = node_devices("c", {}, [instance("gfx-8GB", OTHER)], serving=[serving(OTHER, "virt-launcher-vm-2")])
    held = [reservations("a", [pin]), reservations("b", [there])]
    moved = VmView(name="vm", node="c", pod_namespace="default", pod_name="virt-launcher-vm-2", resource=RESOURCE)
    decision = decided(migration(OF_VM), cluster(SOURCE, BIG, now, reserved=held), vm=moved)
    told = {e: intent for tell in decision.tell for e, intent in tell.intents.items()}
    assert told == {pin.id: Intent.UNDO, there.id: Intent.UNDO} and decision.reserve == ()
    assert (shown(decision, "Ready") or ("", ""))[1] == "SourceChanged"


def test_the_new_device_is_pinned_while_the_old_nodes_entry_still_ends() -> None:
    made = decided(migration(OF_VM), cluster(SOURCE, BIG), vm=VM)
    (pin,) = reserved_by(made, "a")
    ending = pin.model_copy(update={"intent": Intent.UNDO})
    now = node_devices("c", {}, [instance("gfx-8GB", OTHER)], serving=[serving(OTHER, "virt-launcher-vm-2")])
    moved = VmView(name="vm", node="c", pod_namespace="default", pod_name="virt-launcher-vm-2", resource=RESOURCE)
    where = cluster(SOURCE, BIG, now, reserved=[reservations("a", [ending])])
    decision = decided(migration(OF_VM), where, vm=moved)
    assert [e.device.instance for e in reserved_by(decision, "c")] == [OTHER]


def test_ready_needs_the_fresh_reading_of_a_foreign_source_too() -> None:
    made = decided(migration(OF_VM), cluster(SOURCE, BIG), vm=VM)
    (pin,), (there,) = reserved_by(made, "a"), reserved_by(made, "b")
    answer = {"id": there.id, "state": "Prepared", "instance": OTHER}
    read = {"id": pin.id, "state": "Prepared", "instance": DEVICE, "digest": digest("a", "gfx-8GB")}
    waiting = [reservations("a", [pin]), reservations("b", [there], [answer])]
    done = [reservations("a", [pin], [read]), reservations("b", [there], [answer])]
    assert (shown(decided(migration(OF_VM), cluster(SOURCE, BIG, reserved=waiting), vm=VM), "Ready") or ("",))[0] == (
        "False"
    )
    assert (shown(decided(migration(OF_VM), cluster(SOURCE, BIG, reserved=done), vm=VM), "Ready") or ("",))[0] == "True"
