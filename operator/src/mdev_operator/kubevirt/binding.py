"""Which binding a VM's resource takes, and whose turn it is where the kubelet could confuse two pods.

Early needs both: the KubeVirt CR leaves the resource to somebody else (``externalResourceProvider: true``), and that
somebody is our own device plugin. Allocate then hands out the one armed device of the node, and it is not told for
which pod; so of the pods bound Early to one node for one resource only one may be between its gate and the kubelet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mdev_api.kinds.device_migration import Binding, DeviceMigration
from mdev_api.kinds.node_devices import NodeDevices
from mdev_operator.kubevirt.manager import KubeVirtConfig
from mdev_operator.kubevirt.objects import TargetPod

RESOURCE_ANNOTATION = "mdev-operator.io/resource"
"""On a DeviceMigration of the adapter: the extended resource that the VM's device is requested by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """A migration that has started, and its target pod if there is one."""

    migration: DeviceMigration
    pod: TargetPod | None


def binding_for(resource: str | None, config: KubeVirtConfig | None, devices: Iterable[NodeDevices]) -> Binding:
    """Early if KubeVirt leaves the resource to others and our agents serve it, else Late."""
    declared = config.declared if config is not None else ()
    external = any(d.external and d.resource == resource for d in declared)
    return Binding.EARLY if external and any(_serves(node, resource) for node in devices) else Binding.LATE


def whose_turn(mine: DeviceMigration, others: Iterable[Bound]) -> str | None:
    """Who has to get its device first on the node that ``mine`` was prepared on; None: nobody, go on."""
    resource = mine.metadata.annotations.get(RESOURCE_ANNOTATION)
    for other in others:
        m, pod = other.migration, other.pod
        same = m.status.node == mine.status.node and m.metadata.annotations.get(RESOURCE_ANNOTATION) == resource
        under_way = m.spec.started and m.spec.outcome is None and m.spec.binding is Binding.EARLY
        if m.metadata.uid == mine.metadata.uid or not same or not under_way:
            continue
        if pod is not None and not pod.ended and not pod.admitted:
            return f"pod {pod.namespace}/{pod.name} is to take its {resource} there first"
    return None


def _serves(node: NodeDevices, resource: str | None) -> bool:
    slots = node.status.slots if node.status is not None else ()
    return any(slot.resource == resource and slot.types for slot in slots)
