"""Binding Early where device plugins serve devices: only our own plugin's types, one waiting device at a time."""

from __future__ import annotations

from typing import Any

from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kinds.node_reservations import Entry, Intent
from mdev_operator.inventory.cluster import VmView
from mdev_operator.migration.decision import Decision
from tests.unit.operator.world import (
    DEVICE,
    cluster,
    decided,
    gpu,
    instance,
    migration,
    node_devices,
    reservations,
    reserved_by,
)

RESOURCE = "gfx.com/GPU"
VM = VmView(name="vm", node="a", pod_namespace="default", pod_name="virt-launcher-vm-1", resource=RESOURCE)
SERVING = {"instance": DEVICE, "resource": RESOURCE, "podNamespace": "default", "podName": "virt-launcher-vm-1"}
SOURCE = node_devices("a", {}, [instance("gfx-varGB", values={"memory": "4096"})], serving=[SERVING])
OTHER = "99999999-2222-4333-8444-555555555555"


def slot(*types: str, resource: str = RESOURCE, free: int = 4, instances: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"resource": resource, "free": free, "types": list(types), "instances": list(instances)}


def of_vm(*devices: NodeDevices, **more: Any) -> Decision:
    return decided(migration({"vm": {"name": "vm"}}), cluster(SOURCE, *devices, **more), vm=VM)


def codes(decision: Decision) -> list[str]:
    return [r.code for r in decision.status.rejected if r.code != "SourceNode"]


def types(decision: Decision, node: str = "b") -> list[str]:
    return [e.device.create.type for e in reserved_by(decision, node) if e.device.create is not None]


def test_only_types_that_the_resource_stands_for_are_made() -> None:
    offers = {"gfx-4GB": 4, "gfx-varGB": 4}
    assert types(of_vm(node_devices("b", offers, slots=[slot("gfx-4GB", "gfx-varGB")]))) == ["gfx-4GB"]
    assert types(of_vm(node_devices("b", offers, slots=[slot("gfx-varGB")]))) == ["gfx-varGB"]


def test_a_node_whose_plugin_does_not_serve_the_resource_is_no_place() -> None:
    offers = {"gfx-4GB": 4}
    assert codes(of_vm(node_devices("b", offers))) == ["NoSlot"]
    assert codes(of_vm(node_devices("b", offers, slots=[slot("gfx-4GB", resource="gfx.com/other")]))) == ["NoSlot"]


def test_a_resource_that_another_plugin_serves_is_no_place_for_early() -> None:
    foreign = slot(instances=("i-1",))
    assert codes(of_vm(node_devices("b", {"gfx-4GB": 4}, [instance("gfx-4GB", "i-1")], slots=[foreign]))) == ["NoSlot"]


def test_a_node_without_a_free_device_of_the_resource_is_no_place() -> None:
    assert codes(of_vm(node_devices("b", {"gfx-4GB": 4}, slots=[slot("gfx-4GB", free=0)]))) == ["NoSlot"]


def test_a_resource_of_types_that_the_node_does_not_have_is_no_place() -> None:
    assert codes(of_vm(node_devices("b", {"gfx-4GB": 4}, slots=[slot("gfx-96GB")]))) == ["NoSlot"]


def test_a_type_that_is_served_and_does_not_fit_is_told_by_what_it_lacks() -> None:
    assert codes(of_vm(node_devices("b", {"gfx-8GB": 4, "gfx-4GB": 1}, slots=[slot("gfx-8GB")]))) == ["ValueNotAllowed"]


def test_a_migration_that_no_pod_asks_a_kubelet_for_takes_any_type() -> None:
    decision = decided(migration(gpu(4096)), cluster(node_devices("b", {"gfx-4GB": 4}, slots=[slot("gfx-varGB")])))
    assert types(decision) == ["gfx-4GB"]


def test_an_idle_device_that_another_plugin_may_give_away_is_not_taken() -> None:
    idle = instance("gfx-4GB", OTHER, managed=True, inUse="No", inUseSource="PodResources")
    foreign = node_devices("b", {}, [idle], slots=[slot(resource="x/y", instances=(OTHER,))])
    assert decided(migration(gpu(4096)), cluster(foreign)).reserve == ()
    ours = node_devices("b", {}, [idle])
    assert [e.device.instance for e in reserved_by(decided(migration(gpu(4096)), cluster(ours)), "b")] == [OTHER]


TWO = node_devices("b", {"gfx-4GB": 4, "gfx-varGB": 4}, slots=[slot("gfx-4GB", "gfx-varGB")])


def another(entry: Entry, **changes: Any) -> Entry:
    owner = entry.owner.model_copy(update={"uid": "other", "name": "first"})
    return entry.model_copy(update={"id": "other-1-0", "group": "other-1", "owner": owner, **changes})


def test_two_devices_that_wait_for_pods_of_one_resource_would_be_mixed_up() -> None:
    (entry,) = reserved_by(of_vm(TWO), "b")
    decision = of_vm(TWO, reserved=[reservations("b", [another(entry)])])
    assert codes(decision) == ["SlotBusy"] and "first" in decision.status.rejected[0].examples[0].message


def test_once_the_other_pod_has_its_device_the_node_is_free_again() -> None:
    (entry,) = reserved_by(of_vm(TWO), "b")
    other = another(entry)
    answer = {"id": other.id, "state": "Prepared", "instance": OTHER}
    taken = {"instance": OTHER, "resource": RESOURCE, "podNamespace": "default", "podName": "other"}
    got_it = node_devices("b", {"gfx-4GB": 4}, [instance("gfx-4GB", OTHER)], slots=[slot("gfx-4GB")], serving=[taken])
    assert types(of_vm(got_it, reserved=[reservations("b", [other], [answer])])) == ["gfx-4GB"]


def test_a_device_that_is_being_undone_waits_for_no_pod() -> None:
    (entry,) = reserved_by(of_vm(TWO), "b")
    assert types(of_vm(TWO, reserved=[reservations("b", [another(entry, intent=Intent.UNDO)])])) == ["gfx-4GB"]


def test_a_device_of_a_type_that_no_resource_stands_for_disturbs_nobody() -> None:
    where = node_devices("b", {"gfx-4GB": 4, "gfx-varGB": 4}, slots=[slot("gfx-varGB")])
    (entry,) = reserved_by(decided(migration(gpu(4096)), cluster(where)), "b")
    assert types(of_vm(where, reserved=[reservations("b", [another(entry)])])) == ["gfx-varGB"]
