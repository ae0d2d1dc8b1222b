"""Binding Late: a free device of the resource is held, the kubelet picks one, and only then the map names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kinds.node_reservations import Device, Entry, Intent
from mdev_operator.inventory.cluster import Cluster, VmView
from mdev_operator.kubevirt.manager import KubeVirtConfig
from mdev_operator.migration.decision import Decision
from tests.unit.operator.world import (
    DEVICE,
    cluster,
    condition,
    decided,
    digest,
    gpu,
    instance,
    migration,
    node_devices,
    on_node,
    profile_name,
    reservations,
    reserved_by,
    shown,
)

RESOURCE = "gfx.com/GPU"
VM = VmView(name="vm", node="a", pod_namespace="default", pod_name="virt-launcher-vm-1", resource=RESOURCE)
OF_VM: dict[str, Any] = {"vm": {"name": "vm"}}
HOOKED = KubeVirtConfig(name="kubevirt/kubevirt")
UNHOOKED = KubeVirtConfig(name="kubevirt/kubevirt", no_hook="KubeVirt's feature gate Plugins is off")

SERVING = {"instance": DEVICE, "resource": RESOURCE, "podNamespace": "default", "podName": "virt-launcher-vm-1"}
SOURCE = node_devices("a", {}, [instance("gfx-8GB", inUse="Yes")], serving=[SERVING])
PICKED = f"{2:08}-2222-4333-8444-555555555555"


def device_id(number: int) -> str:
    return f"{number:08}-2222-4333-8444-555555555555"


def served(name: str, *types: str, **more: Any) -> NodeDevices:
    """A node whose device plugin has free devices of these types; ``values`` in ``more``: memory of each."""
    values: Sequence[str] = more.pop("values", ())
    instances = [
        instance(t, device_id(n), inUse="No", inUseSource="PodResources") | ({"values": {"memory": v}} if v else {})
        for n, (t, v) in enumerate(zip(types, [*values, *[""] * len(types)], strict=False))
    ]
    slot = {
        "resource": RESOURCE,
        "free": len(types),
        "instances": [i["id"] for i in instances],
    }
    return node_devices(name, {}, [*instances, *more.pop("others", ())], slots=[slot], **more)


EIGHT = served("b", "gfx-8GB", "gfx-8GB")


def late(*devices: NodeDevices, config: KubeVirtConfig | None = HOOKED, **more: Any) -> Cluster:
    return cluster(SOURCE, *devices, kubevirt=config, **more)


def of_late(where: Cluster, **spec: Any) -> Decision:
    return decided(migration(OF_VM, binding="Late", **spec), where, vm=VM)


def rejected(decision: Decision) -> dict[str, str]:
    return {r.code: r.examples[0].message for r in decision.status.rejected if r.code != "SourceNode"}


def reserved(where: Cluster) -> tuple[Entry, Entry]:
    decision = of_late(where)
    (pin,), (there,) = reserved_by(decision, "a"), reserved_by(decision, "b")
    return pin, there


def held(where: Sequence[NodeDevices], pin: Entry, there: Entry, **answer: Any) -> Cluster:
    read = {"id": pin.id, "state": "Prepared", "instance": DEVICE, "digest": digest("a", "gfx-8GB")}
    answers = [{"id": there.id, **answer}] if answer else []
    return late(*where, reserved=[reservations("a", [pin], [read]), reservations("b", [there], answers)])


class TestPlanning:
    def test_a_slot_of_the_resource_is_reserved_and_no_device_is_named(self) -> None:
        pin, there = reserved(late(EIGHT))
        assert pin.device.instance == DEVICE
        assert there.device.slot is not None and there.device.slot.resource == RESOURCE
        assert there.device.profile == profile_name("gfx-8GB")
        assert there.device.create is None and there.device.instance is None
        assert [(v.name, v.value) for v in there.values] == [("memory", "8192")]

    def test_a_foreign_source_of_a_node_is_moved_by_the_resource_that_its_pod_has(self) -> None:
        decision = decided(migration(on_node(), binding="Late"), late(EIGHT))
        (there,) = reserved_by(decision, "b")
        assert there.device.slot is not None and there.device.slot.resource == RESOURCE

    def test_a_device_that_no_pod_has_cannot_be_moved_late(self) -> None:
        idle = node_devices("a", {}, [instance("gfx-8GB")])
        decision = decided(migration(on_node(), binding="Late"), cluster(idle, EIGHT))
        assert (shown(decision, "Planned") or ("", ""))[1] == "NotSupported"

    def test_an_explicit_source_names_no_resource(self) -> None:
        decision = decided(migration(gpu(8192), binding="Late"), late(EIGHT))
        assert (shown(decision, "Planned") or ("", ""))[1] == "NotSupported"

    def test_offers_of_new_devices_are_no_place_for_late(self) -> None:
        assert set(rejected(of_late(late(node_devices("b", {"gfx-8GB": 4}))))) == {"NoSlot"}

    def test_a_resource_that_our_own_plugin_serves_is_no_place_for_late(self) -> None:
        own = node_devices("b", {"gfx-8GB": 4}, slots=[{"resource": RESOURCE, "free": 4, "types": ["gfx-8GB"]}])
        assert set(rejected(of_late(late(own)))) == {"NoSlot"}

    def test_free_devices_that_do_not_fit_are_told_by_what_they_lack(self) -> None:
        assert set(rejected(of_late(late(served("b", "gfx-4GB"))))) == {"ValueNotAllowed"}

    def test_free_devices_of_several_profiles_are_no_place_even_if_one_would_fit(self) -> None:
        messages = rejected(of_late(late(served("b", "gfx-8GB", "gfx-4GB"))))
        assert set(messages) == {"MixedProfiles"}
        assert "1 gfx-4GB" in messages["MixedProfiles"] and "1 gfx-8GB" in messages["MixedProfiles"]

    def test_a_free_device_that_is_not_in_the_inventory_is_no_place(self) -> None:
        slot = {"resource": RESOURCE, "free": 2, "instances": [device_id(0), device_id(1)]}
        half = node_devices("b", {}, [instance("gfx-8GB", device_id(0))], slots=[slot])
        assert "1 of 2 not in its inventory" in rejected(of_late(late(half)))["MixedProfiles"]

    def test_one_unreadable_free_device_spoils_the_node(self) -> None:
        unreadable = [{"name": "memory", "errno": "EIO", "message": "read failed"}]
        broken = instance("gfx-8GB", device_id(1), unreadable=unreadable)
        slot = {"resource": RESOURCE, "free": 2, "instances": [device_id(0), device_id(1)]}
        where = node_devices("b", {}, [instance("gfx-8GB", device_id(0)), broken], slots=[slot])
        assert set(rejected(of_late(late(where)))) == {"Unreadable"}

    def test_devices_of_several_parents_have_no_parent_in_the_status(self) -> None:
        other = instance("gfx-8GB", device_id(1)) | {"parent": "gfx1"}
        slot = {"resource": RESOURCE, "free": 2, "instances": [device_id(0), device_id(1)]}
        both = node_devices("b", {}, [instance("gfx-8GB", device_id(0)), other], slots=[slot])
        assert [c.parent for c in of_late(late(both)).status.candidates] == [None]
        assert [c.parent for c in of_late(late(EIGHT)).status.candidates] == ["gfx0"]

    def test_a_value_in_which_the_free_devices_differ_counts_as_a_write(self) -> None:
        mixed = served("b", "gfx-varGB", "gfx-varGB", values=["8192", "4096"])
        right = served("c", "gfx-varGB", "gfx-varGB", values=["8192", "8192"])
        decision = of_late(late(mixed, right))
        assert [(c.node, c.writes) for c in decision.status.candidates] == [("c", 0), ("b", 1)]

    def test_a_held_slot_is_not_free_for_another(self) -> None:
        _, there = reserved(late(EIGHT))
        foreign = [
            there.model_copy(
                update={"id": f"other-{n}-0", "owner": there.owner.model_copy(update={"uid": f"other-{n}"})}
            )
            for n in range(2)
        ]
        assert rejected(of_late(late(EIGHT, reserved=[reservations("b", foreign[:1])]))) == {}
        messages = rejected(of_late(late(EIGHT, reserved=[reservations("b", foreign)])))
        assert "2 of them reserved" in messages["NoSlot"]

    def test_a_free_device_that_is_reserved_by_name_is_not_free(self) -> None:
        _, there = reserved(late(EIGHT))
        device = Device(instance=device_id(0), profile=profile_name("gfx-8GB"))
        owner = there.owner.model_copy(update={"uid": "other"})
        other = there.model_copy(update={"id": "other-1-0", "owner": owner, "device": device})
        one = served("b", "gfx-8GB")
        assert set(rejected(of_late(late(one, reserved=[reservations("b", [other])])))) == {"NoSlot"}

    def test_a_slot_whose_device_was_picked_is_not_counted_twice(self) -> None:
        """The picked device is not free any more by itself."""
        _, there = reserved(late(EIGHT))
        other = there.model_copy(update={"id": "other-1-0", "owner": there.owner.model_copy(update={"uid": "other"})})
        one = served("b", "gfx-8GB")
        held_only = [reservations("b", [other], [{"id": other.id, "state": "Prepared"}])]
        picked = [reservations("b", [other], [{"id": other.id, "state": "Prepared", "instance": PICKED}])]
        assert set(rejected(of_late(late(one, reserved=held_only)))) == {"NoSlot"}
        assert rejected(of_late(late(one, reserved=picked))) == {}


class TestWithoutHook:
    """Nobody calls the agents before the VM opens its device: uniform pre-configuration is all that is left."""

    def test_devices_that_are_right_already_will_do_and_the_status_says_so(self) -> None:
        decision = of_late(late(served("b", "gfx-varGB", values=["8192"]), config=UNHOOKED))
        assert [r.node for r in decision.reserve] == ["a", "b"]
        message = (shown(decision, "Planned") or ("", "", ""))[2]
        assert "uniform pre-configuration" in message and "Plugins is off" in message

    def test_devices_that_would_have_to_be_written_will_not(self) -> None:
        messages = rejected(of_late(late(served("b", "gfx-varGB", "gfx-varGB", values=["8192"]), config=UNHOOKED)))
        assert set(messages) == {"NotUniform"} and "memory" in messages["NotUniform"]

    def test_with_the_hook_they_will_and_the_status_says_what_happens(self) -> None:
        decision = of_late(late(served("b", "gfx-varGB", "gfx-varGB", values=["8192"])))
        assert [r.node for r in decision.reserve] == ["a", "b"]
        assert "verified and written before the VM opens it" in (shown(decision, "Planned") or ("", "", ""))[2]

    def test_a_cluster_without_kubevirt_has_nobody_who_calls(self) -> None:
        where = late(served("b", "gfx-varGB"), config=None)
        assert "no KubeVirt" in rejected(decided(migration(on_node(), binding="Late"), where))["NotUniform"]


class TestReady:
    def test_a_held_slot_is_ready_without_an_instance(self) -> None:
        pin, there = reserved(late(EIGHT))
        decision = of_late(held([EIGHT], pin, there, state="Prepared"))
        status, reason, message = shown(decision, "Ready") or ("", "", "")
        assert (status, reason) == ("True", "Prepared") and RESOURCE in message and "kubelet picks" in message
        (device,) = decision.status.devices
        assert (device.type, device.instance, device.source) == ("gfx-8GB", None, DEVICE)
        assert decision.status.node == "b"

    def test_ready_without_the_hook_says_that_nothing_verifies_the_device(self) -> None:
        pin, there = reserved(late(EIGHT))
        seen = held([EIGHT], pin, there, state="Prepared")
        where = late(EIGHT, config=UNHOOKED, reserved=list(seen.reservations.values()))
        assert "uniform pre-configuration" in (shown(of_late(where), "Ready") or ("", "", ""))[2]

    def test_the_map_names_the_device_once_the_kubelet_has_picked_it(self) -> None:
        pin, there = reserved(late(EIGHT))
        before = of_late(held([EIGHT], pin, there, state="Prepared"))
        ready = migration(
            OF_VM, binding="Late", started=True, conditions=[condition("Ready", True, "Prepared", age=5)]
        ).model_copy(update={"status": before.status})
        write = {"name": "memory", "type": "int", "attribute": "migration/memory", "from": "1024", "to": "8192"}
        after = decided(ready, held([EIGHT], pin, there, state="Prepared", instance=device_id(1), writes=[write]))
        (device,) = after.status.devices
        assert (device.instance, device.parent, device.type, device.writes) == (device_id(1), "gfx0", "gfx-8GB", 1)
        again = decided(ready.model_copy(update={"status": after.status}), held([EIGHT], pin, there, state="Prepared"))
        assert again.status.devices == after.status.devices

    def test_a_picked_device_that_did_not_fit_is_told_after_started(self) -> None:
        pin, there = reserved(late(EIGHT))
        before = of_late(held([EIGHT], pin, there, state="Prepared"))
        failure = {"reason": "ProfileChanged", "message": "the kubelet picked a device of another profile"}
        running = migration(OF_VM, binding="Late", started=True).model_copy(update={"status": before.status})
        decision = decided(running, held([EIGHT], pin, there, state="Failed", failure=failure))
        status, reason, message = shown(decision, "Overdue") or ("", "", "")
        assert (status, reason) == ("True", "DestinationLost") and "another profile" in message
        assert decision.tell == ()

    @pytest.mark.parametrize("state", ["Failed", "Lost"])
    def test_a_slot_that_cannot_be_held_is_tried_on_the_next_node(self, state: str) -> None:
        other = served("c", "gfx-8GB")
        pin, there = reserved(late(EIGHT, other))
        failed = of_late(held([EIGHT, other], pin, there, state=state))
        told = {e: intent for tell in failed.tell for e, intent in tell.intents.items()}
        assert told == {there.id: Intent.UNDO} and failed.status.attempts[0].node == "b"
        undone = there.model_copy(update={"intent": Intent.UNDO})
        where = held([EIGHT, other], pin, undone, state="Undone")
        attempts = [a.model_dump(exclude_none=True) for a in failed.status.attempts]
        after = decided(migration(OF_VM, binding="Late", attempts=attempts), where, vm=VM)
        assert [r.node for r in after.reserve] == ["c"]
        assert {r.code for r in after.status.rejected} >= {"Attempted"}
