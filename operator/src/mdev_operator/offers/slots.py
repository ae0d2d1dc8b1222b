"""Openings of binding Late: one of the free devices of an extended resource, whichever the kubelet picks.

Nobody can tell the kubelet which one, so a node is an opening only if *every* free device of the resource will do: all
of one profile, all readable. They need not have the same values: the picked one is written just before the VM opens it.
What our other reservations hold is taken off: slots, and free devices that are reserved by name. A held slot counts
until the device that the kubelet picked for it is known, because from then on the device is not free anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from mdev_api.engine.openings import Opening
from mdev_api.kinds.node_devices import NodeDevicesStatus, NodeInstance, Slot
from mdev_api.kinds.node_reservations import Role, State
from mdev_api.meaning import instance_values
from mdev_operator.inventory.cluster import Cluster, Held, ProfileView, instance_of
from mdev_operator.offers.rejections import NodeRejection, readable, unreadable

_HOLDING = frozenset({State.PENDING, State.PREPARED})


def slot_opening(
    cluster: Cluster, node: str, status: NodeDevicesStatus, held: Iterable[Held], resource: str
) -> Opening | NodeRejection:
    """The opening that the resource's free devices on this node make, or why they make none."""
    slot = next((s for s in status.slots if s.resource == resource), None)
    if slot is None:
        message = f"node {node} publishes no device of {resource}: no device plugin there serves devices that it knows"
        return NodeRejection(node=node, code="NoSlot", message=message)
    if slot.types:
        message = f"on node {node} our own device plugin serves {resource}, which hands devices out by binding Early"
        return NodeRejection(node=node, code="NoSlot", message=message)
    others = tuple(held)
    named = {instance_of(h) for h in others if h.entry.device.slot is None}
    taken = sum(_holds(h, resource) for h in others) + len(named.intersection(slot.instances))
    if slot.free <= taken:
        held_too = f", {taken} of them reserved by others" if taken else ""
        message = f"node {node} has {slot.free} free devices of {resource}{held_too}"
        return NodeRejection(node=node, code="NoSlot", message=message)
    instances = [i for i in status.instances if i.id in slot.instances]
    profiles = Counter((i.profile, i.type) for i in instances)
    if len(profiles) != 1 or len(instances) < len(slot.instances):
        return _not_alike(node, slot, profiles)
    view = readable(cluster, node, f"{resource} on node {node}", instances[0].profile)
    if isinstance(view, NodeRejection):
        return view
    return _of_alike(node, slot, slot.free - taken, instances, view)


def _of_alike(
    node: str, slot: Slot, free: int, instances: list[NodeInstance], view: ProfileView
) -> Opening | NodeRejection:
    readings: list[Mapping[str, str]] = []
    for instance in instances:
        values = instance_values(instance, view.profile)
        if values is None:
            return unreadable(node, f"the kubelet may pick any free device of {slot.resource}, and", instance)
        readings.append(values)
    first, parents = instances[0], {i.parent for i in instances}
    assert view.metadata is not None
    return Opening(
        node=node,
        parent=first.parent if len(parents) == 1 else None,
        type=first.type,
        profile=first.profile,
        metadata=view.metadata,
        free=free,
        slot=slot.resource,
        values={name: text for name, text in readings[0].items() if all(r.get(name) == text for r in readings)},
        suspect=view.suspect,
    )


def _not_alike(node: str, slot: Slot, profiles: Counter[tuple[str, str]]) -> NodeRejection:
    kinds = ", ".join(f"{count} {type_id} ({profile})" for (profile, type_id), count in sorted(profiles.items()))
    known = sum(profiles.values())
    unknown = (
        f"{len(slot.instances) - known} of {slot.free} not in its inventory" if known < len(slot.instances) else ""
    )
    found = "; ".join(part for part in (kinds, unknown) if part) or "none of them is named"
    message = f"the kubelet of node {node} may pick any free device of {slot.resource}, and they are not alike: {found}"
    return NodeRejection(node=node, code="MixedProfiles", message=message)


def _holds(held: Held, resource: str) -> bool:
    slot, answer = held.entry.device.slot, held.answer
    if held.entry.role is not Role.DESTINATION or slot is None or slot.resource != resource:
        return False
    return answer is None or (answer.state in _HOLDING and answer.instance is None)
