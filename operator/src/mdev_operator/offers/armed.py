"""What device plugins on a node leave for binding Early.

Our own plugin hands out, for a resource, the one device that is prepared and that no pod has yet; Allocate is not told
for which pod. So of the types that one resource stands for, a node takes one device at a time that waits for its pod:
a second one would be handed to the wrong VM. And a device that another plugin serves is never taken, since the kubelet
may give it to any pod at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mdev_api.kinds.node_devices import NodeDevicesStatus
from mdev_api.kinds.node_reservations import Intent, Role, State
from mdev_operator.inventory.cluster import Held, instance_of
from mdev_operator.offers.rejections import NodeRejection


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """``types``: the only ones that may be taken (None: any). ``busy``: why not now, by type. ``others``: instances
    that other plugins serve."""

    types: frozenset[str] | None
    busy: Mapping[str, str]
    others: frozenset[str]

    def leaves(self, type_id: str, instance: str | None = None) -> bool:
        """Whether the type, or this instance of it, is any of our business."""
        return (self.types is None or type_id in self.types) and instance not in self.others


def limits(node: str, status: NodeDevicesStatus, held: Iterable[Held], resource: str | None) -> Limits | NodeRejection:
    """What is left. ``resource``: what the VM's pod asks for; then only types that our plugin serves by it will do."""
    others = frozenset(i for slot in status.slots if not slot.types for i in slot.instances)
    waiting = {t: h for h in held if (t := _waits_for_pod(h, status)) is not None}
    busy = {
        type_id: f"{h.entry.owner.kind} {h.entry.owner.name} has a device of {slot.resource} prepared on node {node} "
        "that no pod has yet, and Allocate cannot tell two apart"
        for slot in status.slots
        for t, h in waiting.items()
        if t in slot.types
        for type_id in slot.types
    }
    if resource is None:
        return Limits(types=None, busy=busy, others=others)
    slot = next((s for s in status.slots if s.resource == resource and s.types), None)
    if slot is None:
        message = f"the agent's device plugin on node {node} does not serve {resource} (--serve)"
        return NodeRejection(node=node, code="NoSlot", message=message)
    if slot.free <= 0:
        message = f"node {node} has no free device of {resource}"
        return NodeRejection(node=node, code="NoSlot", message=message)
    offered = {o.type for p in status.parents for o in p.offers} | {i.type for i in status.instances}
    if not offered & set(slot.types):
        message = f"node {node} has none of the types that {resource} stands for: {', '.join(slot.types)}"
        return NodeRejection(node=node, code="NoSlot", message=message)
    return Limits(types=frozenset(slot.types), busy=busy, others=others)


def _waits_for_pod(held: Held, status: NodeDevicesStatus) -> str | None:
    """The type of a device that is, or will be, prepared for a destination and that no pod has yet."""
    entry, answer = held.entry, held.answer
    if entry.role is not Role.DESTINATION or entry.intent is not Intent.HOLD or entry.device.slot is not None:
        return None
    if answer is not None and answer.state not in (State.PENDING, State.PREPARED):
        return None
    instance = instance_of(held)
    if any(s.instance == instance for s in status.serving):
        return None
    if entry.device.create is not None:
        return entry.device.create.type
    return next((i.type for i in status.instances if i.id == instance), None)
