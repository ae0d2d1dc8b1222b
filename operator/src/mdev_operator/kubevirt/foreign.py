"""Has another pod than the migration's target got the device that was prepared for it? Pure.

Our device plugin is not told for which pod it allocates, so a pod that is no migration's target may come first and take
the armed device. The agent can tell a pod of another namespace, and answers Lost by itself. One of the same namespace
only the operator can tell: it knows the target pod's name, and the agent publishes which pod has which instance.
"""

from __future__ import annotations

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.node_devices import NodeDevicesStatus

TARGET_POD_ANNOTATION = "mdev-operator.io/target-pod"
"""On a DeviceMigration of the adapter: the pod that waits for the device."""


def waits_for_pod(migration: DeviceMigration) -> bool:
    """Whether it is known which pod is to get the device."""
    return TARGET_POD_ANNOTATION in migration.metadata.annotations


def taken_by(migration: DeviceMigration, node: NodeDevicesStatus | None, instance: str | None) -> str | None:
    """The foreign pod (``namespace/name``) that has the instance on that node; None: none is known to have it."""
    meta = migration.metadata
    target = meta.annotations.get(TARGET_POD_ANNOTATION)
    if target is None or node is None or instance is None:
        return None
    pods = [(s.pod_namespace, s.pod_name) for s in node.serving if s.instance == instance]
    if not pods or (meta.namespace, target) in pods:
        return None
    return "/".join(pods[0])
