"""Has a pod that is no migration's target taken an armed device? Pure.

Allocate is not told for which pod, so a foreign pod may come first. PodResources tells afterwards who has the device.
A migration's target pod is always in the namespace of its DeviceMigration, so a pod of another one is foreign for sure:
the entry answers Lost, the operator plans again, and the foreign pod keeps what it has. A foreign pod of the same
namespace cannot be told here, because the agent knows no names of target pods: the operator tells it from what this
agent publishes, and the node hook, which is told the target's name, lets no migration into a wrong device.
"""

from __future__ import annotations

from mdev_api.kinds.node_reservations import Entry, Role
from mdev_node_agent.kubelet.serving import Pod, Service


def taken_by(entry: Entry, instance: str, service: Service) -> Pod | None:
    """The foreign pod that has the entry's device; None: none has, or the kubelet does not say now."""
    if entry.role is not Role.DESTINATION or entry.device.slot is not None or entry.owner.namespace is None:
        return None
    pods = [served.pod for served in service.serving if served.instance == instance]
    if not service.current or not pods or any(pod.namespace == entry.owner.namespace for pod in pods):
        return None
    return pods[0]
