"""Where could a device be had? From the cluster's state to openings for the engine, and nodes that are out of question.

How much of each there is, :mod:`mdev_operator.offers.room` says. A node whose agent is silent is out of question as a
whole (design section 6): Stale is then the node's one reason, and nothing that was published there is compared any
more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mdev_api.engine.metadata import Code
from mdev_api.engine.openings import Opening
from mdev_api.kinds.device_migration import Binding
from mdev_api.kinds.node_devices import InUse, NodeDevicesStatus
from mdev_api.meaning import instance_values
from mdev_operator.inventory.cluster import Cluster, Held, instance_of
from mdev_operator.kubevirt.pod_fit import PodConstraints, misfit
from mdev_operator.offers.armed import Limits, limits
from mdev_operator.offers.rejections import NodeRejection, readable, unreadable
from mdev_operator.offers.room import counted_in, room_of
from mdev_operator.offers.slots import slot_opening

MOST_RESERVATIONS = 16
"""Entries that one NodeReservations object takes (its schema's bound)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What an attempt was made on: an instance that is there, a type of a parent, or (all None) a slot of the node.

    ``profile``: of the type, that one; None: it is not known which, so all.
    """

    node: str
    parent: str | None = None
    type: str | None = None
    profile: str | None = None
    instance: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraints:
    """What a migration asks of its destination. ``tried``: places that failed it before, never tried again.

    ``resource``: what the VM's pod asks its kubelet for; None: nobody asks a kubelet. ``pod``: the pod itself.
    ``devices``: how many go together, so how many reservations the node must have room for.
    """

    node_selector: Mapping[str, str]
    node_name: str | None
    exclude_nodes: frozenset[str]
    source_node: str | None
    tried: frozenset[Place]
    binding: Binding = Binding.EARLY
    resource: str | None = None
    pod: PodConstraints | None = None
    devices: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Openings for the engine, and what is no opening."""

    openings: tuple[Opening, ...]
    rejections: tuple[NodeRejection, ...]


def find(cluster: Cluster, constraints: Constraints) -> Found:
    """All openings of the cluster that the constraints leave, with the rest's reasons."""
    openings: list[Opening] = []
    rejections: list[NodeRejection] = []
    for node in sorted(cluster.nodes.keys() | cluster.devices.keys()):
        refused = _refusal(cluster, node, constraints)
        if refused is not None:
            rejections.append(refused)
            continue
        status = cluster.devices[node].status
        assert status is not None
        held = cluster.held_on(node)
        for opening in _on_node(cluster, node, status, held, constraints):
            if isinstance(opening, NodeRejection):
                rejections.append(opening)
            elif _was_tried(opening, constraints.tried):
                message = f"{shown(opening)} was tried before and failed (status.attempts)"
                rejections.append(NodeRejection(node=node, code="Attempted", message=message))
            else:
                openings.append(opening)
    return Found(openings=tuple(openings), rejections=tuple(rejections))


def shown(opening: Opening) -> str:
    """The opening, for people."""
    if opening.slot is not None:
        return f"{opening.type} of {opening.slot}"
    return f"{opening.type} on {opening.parent}"


def _on_node(
    cluster: Cluster, node: str, status: NodeDevicesStatus, held: tuple[Held, ...], constraints: Constraints
) -> Iterable[Opening | NodeRejection]:
    if constraints.binding is Binding.LATE:
        assert constraints.resource is not None
        return (slot_opening(cluster, node, status, held, constraints.resource),)
    left = limits(node, status, held, constraints.resource)
    if isinstance(left, NodeRejection):
        return (left,)
    found = (
        *_new_instances(cluster, node, status, held, left),
        *_idle_instances(cluster, node, status, held, left),
    )
    alone = {type_id: slot.resource for slot in status.slots for type_id in slot.types}
    return tuple(_unless_busy(o, left, alone) for o in found)


def _unless_busy(found: Opening | NodeRejection, left: Limits, alone: Mapping[str, str]) -> Opening | NodeRejection:
    """Of the types of one resource only one device at a time waits for its pod (:mod:`mdev_operator.offers.armed`)."""
    if isinstance(found, NodeRejection):
        return found
    if found.type in left.busy:
        return NodeRejection(node=found.node, code="SlotBusy", message=left.busy[found.type])
    return replace(found, alone=alone[found.type]) if found.type in alone else found


def _refusal(cluster: Cluster, node: str, constraints: Constraints) -> NodeRejection | None:
    code, message = _why_not(cluster, node, constraints)
    return NodeRejection(node=node, code=code, message=message) if code else None


def _why_not(cluster: Cluster, node: str, constraints: Constraints) -> tuple[str, str]:
    if node == constraints.source_node:
        return "SourceNode", f"{node} is where the device is now"
    if constraints.node_name is not None and node != constraints.node_name:
        return "Excluded", f"spec.nodeName asks for {constraints.node_name}"
    if node in constraints.exclude_nodes:
        return "Excluded", f"spec.excludeNodes names {node}"
    view = cluster.nodes.get(node)
    if view is None:
        return "NodeNotFound", f"there is no Node {node}"
    unlike = {k: v for k, v in constraints.node_selector.items() if view.labels.get(k) != v}
    if unlike:
        wanted = ", ".join(f"{k}={v}" for k, v in sorted(unlike.items()))
        return "Excluded", f"{node} lacks the labels that spec.nodeSelector asks for: {wanted}"
    if not view.ready:
        return "NodeNotReady", f"node {node} is not Ready"
    if not view.schedulable:
        return "NodeCordoned", f"node {node} is cordoned"
    unfit = misfit(constraints.pod, view) if constraints.pod is not None else None
    if unfit is not None:
        return unfit.code, unfit.message
    return _why_no_devices(cluster, node, constraints.devices)


def _why_no_devices(cluster: Cluster, node: str, wanted: int) -> tuple[str, str]:
    devices = cluster.devices.get(node)
    if devices is None or devices.status is None:
        return "NoDevices", f"node {node} publishes no NodeDevices: no agent runs there, or it has not looked yet"
    silent = cluster.silent(node)
    if silent is not None:
        return Code.STALE.value, silent
    if not any(parent.offers for parent in devices.status.parents) and not devices.status.instances:
        return "NoDevices", f"node {node} has no VFIO device that this project knows"
    held = len(cluster.held_on(node))
    if held + wanted > MOST_RESERVATIONS:
        of_it = f", and {wanted} more are wanted" if wanted > 1 else ""
        return "NoCapacity", f"node {node} has {held} of at most {MOST_RESERVATIONS} reservations{of_it}"
    return "", ""


def _new_instances(
    cluster: Cluster, node: str, status: NodeDevicesStatus, held: Sequence[Held], left: Limits
) -> Iterable[Opening | NodeRejection]:
    counted = counted_in(status)
    for parent in status.parents:
        for room in room_of(cluster.profiles, parent, held, counted):
            offer = room.offer
            if not left.leaves(offer.type):
                continue
            view = readable(cluster, node, offer.type, offer.profile)
            if isinstance(view, NodeRejection):
                yield view
            else:
                assert view.metadata is not None
                yield Opening(
                    node=node,
                    parent=parent.name,
                    type=offer.type,
                    profile=offer.profile,
                    metadata=view.metadata,
                    free=room.free,
                    suspect=view.suspect,
                    pool=room.pool,
                )


def _idle_instances(
    cluster: Cluster, node: str, status: NodeDevicesStatus, held: Iterable[Held], left: Limits
) -> Iterable[Opening | NodeRejection]:
    reserved = {instance_of(h) for h in held}
    for instance in status.instances:
        if not (instance.managed and instance.in_use is InUse.NO and instance.id not in reserved):
            continue
        if not left.leaves(instance.type, instance.id):
            continue
        view = readable(cluster, node, instance.type, instance.profile)
        if isinstance(view, NodeRejection):
            yield view
        else:
            values = instance_values(instance, view.profile)
            if values is None:
                yield unreadable(node, "the idle instance", instance)
                continue
            assert view.metadata is not None
            yield Opening(
                node=node,
                parent=instance.parent,
                type=instance.type,
                profile=instance.profile,
                metadata=view.metadata,
                free=1,
                instance=instance.id,
                values=values,
                suspect=view.suspect,
            )


def _was_tried(opening: Opening, tried: Collection[Place]) -> bool:
    place = _place(opening)
    return place in tried or replace(place, profile=None) in tried


def _place(opening: Opening) -> Place:
    if opening.slot is not None:
        return Place(node=opening.node)
    if opening.instance is not None:
        return Place(node=opening.node, instance=opening.instance)
    return Place(node=opening.node, parent=opening.parent, type=opening.type, profile=opening.profile)
