"""Which pod has which instance, and which instances the kubelet may give to the next pod: pure.

A device id is what a device plugin calls a device. Three kinds are known: the UUID of the mdev (NVIDIA's plugin), the
number of its IOMMU group (KubeVirt's own plugin), and the slot ids of this agent's plugin, which keeps what is behind
each. Numbers are only taken for groups if all that the resource offers are groups of instances of this node: other
plugins number their devices too.

In use: a pod has it - Yes. A device plugin of this node offers it and no pod has it - No, but only by an answer of this
very look. A program that has it open outside of any pod is still a Yes: that is the processes' word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mdev_node_agent.seeing.in_use import InUse, Source, Use
from mdev_node_agent.seeing.observation import Instance


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """A pod as the kubelet's PodResources know it: without its UID."""

    namespace: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """Devices of one resource that one pod has."""

    pod: Pod
    resource: str
    devices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What the kubelet says. ``allocatable``: the healthy devices of each resource, whoever has them."""

    allocations: tuple[Allocation, ...] = ()
    allocatable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The newest view. ``current``: it is the answer of this very question. ``fault``: why there is none, a sentence.

    An older view is kept for a while, because a kubelet that restarts takes nothing from any pod.
    """

    view: View | None = None
    current: bool = False
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnResource:
    """A resource that this agent's own plugin serves.

    ``types``: the types of which it makes a device when a pod gets one; ``instances``: what is behind a device id.
    ``given``: of these, the instances that it handed out and did not get back, whether or not the kubelet lists them
    already; ``idle``: instances that it could hand out.
    """

    types: tuple[str, ...] = ()
    instances: Mapping[str, str] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A pod has this instance."""

    instance: str
    resource: str
    pod: Pod


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeSlots:
    """Devices of a resource that no pod has.

    ``instances``: those that exist on this node, sorted. ``unknown``: device ids of which nobody knows the instance;
    the kubelet may pick them too. ``types`` as in :class:`OwnResource`.
    """

    resource: str
    instances: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    @property
    def free(self) -> int:
        """How many devices a pod can get that this node knows: of an own resource, any."""
        return len(self.instances) + (len(self.unknown) if self.types else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """What device plugins do with the instances of this node.

    ``slots``: every resource that offers, or is about, instances of this node. ``offered``: instances behind some
    healthy device, or that our own plugin could hand out. ``given``: those that it has handed out. ``current``,
    ``fault``: as of :class:`Asked`; ``kept``: from an earlier answer.
    """

    serving: tuple[Served, ...] = ()
    slots: tuple[FreeSlots, ...] = ()
    offered: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    current: bool = False
    kept: bool = False
    fault: str | None = None

    @property
    def asked(self) -> bool:
        """Does anybody ask the kubelet here?"""
        return self.current or self.fault is not None or self.kept

    def of_pod(self, pod: Pod) -> tuple[Served, ...]:
        """What this pod has."""
        return tuple(served for served in self.serving if served.pod == pod)

    def slots_of(self, resource: str) -> FreeSlots | None:
        """The free devices of this resource; None: it is not about instances of this node."""
        return next((slots for slots in self.slots if slots.resource == resource), None)


def serve(asked: Asked, instances: Sequence[Instance], own: Mapping[str, OwnResource] | None = None) -> Service:
    """What the kubelet's view means for these instances."""
    own = own or {}
    handed_out = frozenset(instance for resource in own.values() for instance in resource.given)
    if asked.view is None:
        return Service(given=handed_out, fault=asked.fault)
    view = asked.view
    known = _Instances(instances)
    behind = {resource: known.behind(view, resource, own.get(resource)) for resource in _resources(view)}
    serving = {
        Served(instance=behind[given.resource][device], resource=given.resource, pod=given.pod)
        for given in view.allocations
        for device in given.devices
        if device in behind[given.resource]
    }
    taken = {served.instance for served in serving}
    slots = []
    for resource, ids in sorted(view.allocatable.items()):
        if not behind[resource] and resource not in own:
            continue
        given = {device for a in view.allocations if a.resource == resource for device in a.devices}
        free = [device for device in ids if device not in given]
        found = {behind[resource][device] for device in free if device in behind[resource]}
        slots.append(
            FreeSlots(
                resource=resource,
                instances=tuple(sorted(found - taken - handed_out)),
                unknown=tuple(sorted(device for device in free if device not in behind[resource])),
                types=own[resource].types if resource in own else (),
            )
        )
    offered = {
        behind[resource][device]
        for resource, ids in view.allocatable.items()
        for device in ids
        if device in behind[resource]
    }
    offered |= {instance for r, mine in own.items() if _all_known(view, r, mine) for instance in mine.idle}
    return Service(
        serving=tuple(sorted(serving, key=lambda s: (s.instance, s.resource, s.pod.namespace, s.pod.name))),
        slots=tuple(slots),
        offered=frozenset(offered),
        given=handed_out,
        current=asked.current,
        kept=not asked.current,
        fault=asked.fault,
    )


def uses_with(service: Service, uses: Mapping[str, Use]) -> dict[str, Use]:
    """What the other source says (``uses``, by instance), and what the kubelet adds to it."""
    taken = {served.instance for served in service.serving} | service.given
    return {instance: _use(service, instance, use, instance in taken) for instance, use in uses.items()}


def _use(service: Service, instance: str, use: Use, taken: bool) -> Use:
    if use.state is InUse.YES:
        return use
    if taken:
        return Use(state=InUse.YES, source=Source.POD_RESOURCES)
    if use.state is InUse.UNKNOWN and service.current and instance in service.offered:
        return Use(state=InUse.NO, source=Source.POD_RESOURCES)
    return use


def _all_known(view: View, resource: str, own: OwnResource) -> bool:
    """Is it known what every pod has of the resource? Otherwise it could be any instance."""
    given = (device for a in view.allocations if a.resource == resource for device in a.devices)
    return all(device in own.instances for device in given)


def _resources(view: View) -> set[str]:
    return set(view.allocatable) | {given.resource for given in view.allocations}


class _Instances:
    """The instances of a node by what device plugins call them."""

    def __init__(self, instances: Iterable[Instance]) -> None:
        self._ids = {instance.id.lower(): instance.id for instance in instances}
        self._groups = {instance.vfio_group: instance.id for instance in instances if instance.vfio_group is not None}

    def behind(self, view: View, resource: str, own: OwnResource | None) -> dict[str, str]:
        """Device id -> instance, for every device of the resource of which the instance is known."""
        offered = view.allocatable.get(resource, ())
        given = [device for a in view.allocations if a.resource == resource for device in a.devices]
        devices = [*offered, *given]
        if own is not None:
            return {device: own.instances[device] for device in devices if device in own.instances}
        if all(device in self._groups for device in offered or given):
            return {device: self._groups[device] for device in devices if device in self._groups}
        return {device: self._ids[device.lower()] for device in devices if device.lower() in self._ids}
