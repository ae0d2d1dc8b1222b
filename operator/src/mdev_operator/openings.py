"""Where could a device be had? From the cluster's state to openings for the engine, and nodes that are out of question.

Capacity is what the kernel said, less what is promised: a reservation counts against its parent until its instance
shows in NodeDevices. Types of one parent may share a pool (a serial card's 24 ports), and nobody says how; so a
promised instance of one type takes from the others in proportion to what was free of each. That is an estimate, and
need not be more: the create's errno is the truth, and the next candidate follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mdev_api.engine.openings import Opening
from mdev_api.kinds.node_devices import InUse, NodeDevicesStatus, NodeInstance, NodeParent
from mdev_api.kinds.node_reservations import Role, State
from mdev_api.meaning import instance_values
from mdev_operator.cluster import Cluster, Held, ProfileView, instance_of

MOST_RESERVATIONS = 16
"""Entries that one NodeReservations object takes (its schema's bound)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What an attempt was made on: an instance that is there, or a type of a parent."""

    node: str
    parent: str | None = None
    type: str | None = None
    instance: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraints:
    """What a migration asks of its destination. ``tried``: places that failed it before, never tried again."""

    node_selector: Mapping[str, str]
    node_name: str | None
    exclude_nodes: frozenset[str]
    source_node: str | None
    tried: frozenset[Place]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRejection:
    """Why a node (or one place on it) is out of question before parameters are looked at."""

    node: str
    code: str
    message: str


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
        for opening in (*_new_instances(cluster, node, status, held), *_idle_instances(cluster, node, status, held)):
            if isinstance(opening, NodeRejection):
                rejections.append(opening)
            elif _place(opening) in constraints.tried:
                message = f"{opening.type} on {opening.parent} was tried before and failed (status.attempts)"
                rejections.append(NodeRejection(node=node, code="Attempted", message=message))
            else:
                openings.append(opening)
    return Found(openings=tuple(openings), rejections=tuple(rejections))


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
    return _why_no_devices(cluster, node)


def _why_no_devices(cluster: Cluster, node: str) -> tuple[str, str]:
    devices = cluster.devices.get(node)
    if devices is None or devices.status is None:
        return "NoDevices", f"node {node} publishes no NodeDevices: no agent runs there, or it has not looked yet"
    silent = cluster.silent(node)
    if silent is not None:
        return "Stale", silent
    if not any(parent.offers for parent in devices.status.parents) and not devices.status.instances:
        return "NoDevices", f"node {node} has no VFIO device that this project knows"
    if len(cluster.held_on(node)) >= MOST_RESERVATIONS:
        return "NoCapacity", f"node {node} has {MOST_RESERVATIONS} reservations, the most that one node takes"
    return "", ""


def _new_instances(
    cluster: Cluster, node: str, status: NodeDevicesStatus, held: Iterable[Held]
) -> Iterable[Opening | NodeRejection]:
    shown = {instance.id for instance in status.instances}
    for parent in status.parents:
        free = free_of(parent, held, shown)
        for offer in parent.offers:
            view = _readable(cluster, node, offer.type, offer.profile)
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
                    free=free[offer.type],
                    suspect=view.suspect,
                )


def _idle_instances(
    cluster: Cluster, node: str, status: NodeDevicesStatus, held: Iterable[Held]
) -> Iterable[Opening | NodeRejection]:
    reserved = {instance_of(h) for h in held}
    for instance in status.instances:
        if not (instance.managed and instance.in_use is InUse.NO and instance.id not in reserved):
            continue
        view = _readable(cluster, node, instance.type, instance.profile)
        if isinstance(view, NodeRejection):
            yield view
        else:
            values = instance_values(instance, view.profile)
            if values is None:
                yield _unreadable(node, instance)
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


def _readable(cluster: Cluster, node: str, type_id: str, profile: str) -> ProfileView | NodeRejection:
    view = cluster.profiles.get(profile)
    if view is None:
        message = f"{type_id} refers to DeviceProfile {profile}, which does not exist"
        return NodeRejection(node=node, code="ProfileMissing", message=message)
    if view.metadata is None:
        message = f"DeviceProfile {profile} of {type_id} was not read yet"
        return NodeRejection(node=node, code="ProfileMissing", message=message)
    return view


def _unreadable(node: str, instance: NodeInstance) -> NodeRejection:
    what = ", ".join(u.name for u in instance.unreadable)
    message = f"the idle instance {instance.id} cannot be read: {what}"
    return NodeRejection(node=node, code="Unreadable", message=message)


def _promised(held: Held, parent: str, shown: set[str]) -> bool:
    """Whether a reservation will take an instance of this parent that the kernel's count does not know yet."""
    create = held.entry.device.create
    if held.entry.role is not Role.DESTINATION or create is None or create.parent != parent:
        return False
    if instance_of(held) in shown:
        return False
    return held.answer is None or held.answer.state in (State.PENDING, State.PREPARED, State.HANDED_OVER)


def free_of(parent: NodeParent, held: Iterable[Held], shown: set[str]) -> dict[str, int]:
    """What is left of each type when the promised instances are made. ``shown``: instances that the node shows."""
    said = {offer.type: offer.available or 0 for offer in parent.offers}
    left = dict(said)
    for promised in held:
        create = promised.entry.device.create
        if create is None or not _promised(promised, parent.name, shown):
            continue
        taken = create.type
        pool = said.get(taken, 0)
        for type_id, available in said.items():
            share = 1 if type_id == taken or pool == 0 else -(-available // pool)
            left[type_id] = max(0, left[type_id] - share)
    return left


def _place(opening: Opening) -> Place:
    if opening.instance is not None:
        return Place(node=opening.node, instance=opening.instance)
    return Place(node=opening.node, parent=opening.parent, type=opening.type)
