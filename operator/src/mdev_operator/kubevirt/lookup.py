"""Looks up, live, what a migration of a VM is decided from: the VM with its pod, and the target pod that waits for us.

Live and at each decision, because a stale word here would plan for a VM that has moved meanwhile. Two or three small
GETs, and only while a destination is looked for.
"""

from __future__ import annotations

import re
from typing import Any

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import get, list_page
from mdev_api.kube.resources import PODS
from mdev_operator.inventory.cluster import VmView
from mdev_operator.kubevirt.objects import LAUNCHERS_OF_MIGRATIONS, VMIS, target_pod
from mdev_operator.kubevirt.pod_fit import PodConstraints, constraints_of
from mdev_operator.kubevirt.vm import CREATED_BY, LAUNCHER_LABEL, vm_view
from mdev_operator.migration.source import NoSource
from mdev_operator.reservations import Send

VMIM_LABEL = "mdev-operator.io/vmim"
"""On a DeviceMigration of the adapter: the name of the VirtualMachineInstanceMigration that it is for."""

VMIM_NAME_PREFIX = "vmim-"
"""A DeviceMigration of the adapter is named by this and the UID of its VirtualMachineInstanceMigration."""

_OF_ADAPTER = re.compile(rf"{VMIM_NAME_PREFIX}(?P<uid>[a-z0-9]([a-z0-9-]{{0,61}}[a-z0-9])?)")
_LAUNCHER = "=".join(LAUNCHER_LABEL)


async def look_up_vm(send: Send, migration: DeviceMigration) -> VmView | NoSource | None:
    """The VM that ``source.vm`` names, or why it cannot move now; None if the source is no VM."""
    wanted, namespace = migration.spec.source.vm, migration.metadata.namespace
    if wanted is None:
        return None
    try:
        vmi = await send(get(VMIS, wanted.name, namespace))
    except ApiError as error:
        if not error.not_found:
            raise
        return _no_vm(wanted.name, namespace, error)
    selector = f"{_LAUNCHER},{CREATED_BY}={vmi['metadata']['uid']}"
    pods = await send(list_page(PODS, namespace=namespace, limit=None, label_selector=selector))
    return vm_view(vmi, pods["items"])


async def look_up_pod(send: Send, migration: DeviceMigration) -> PodConstraints | NoSource | None:
    """What the target pod asks of its node; None if the migration is not of the adapter.

    The pod is found by the UID in the migration's name, not by a name that a later pod may have too.
    """
    meta = migration.metadata
    named = _OF_ADAPTER.fullmatch(meta.name)
    if VMIM_LABEL not in meta.labels or named is None:
        return None
    uid = named["uid"]
    selector = f"{LAUNCHERS_OF_MIGRATIONS}={uid}"
    pods = await send(list_page(PODS, namespace=meta.namespace, limit=None, label_selector=selector))
    waiting = [pod for pod in pods["items"] if _waits(pod)]
    if len(waiting) == 1:
        return constraints_of(waiting[0])
    found = "none" if not waiting else ", ".join(pod["metadata"]["name"] for pod in waiting)
    message = (
        f"VirtualMachineInstanceMigration {meta.namespace}/{meta.labels[VMIM_LABEL]} ({uid}) is to have one target pod "
        f"that waits for its gate; there is {found}"
    )
    return NoSource(reason="TargetPodNotFound", message=message)


def _no_vm(name: str, namespace: str | None, error: ApiError) -> NoSource:
    """The API server answers 404 for an object with a reason, and for a resource that it does not serve without."""
    if error.reason == "NotFound":
        message = f"source.vm {name}: there is no VirtualMachineInstance {namespace}/{name}; is the VM started?"
    else:
        message = (
            f"source.vm {name}: this cluster has no VirtualMachineInstances: KubeVirt is not installed; "
            "name the node and its device in source.node"
        )
    return NoSource(reason="SourceNotFound", message=message)


def _waits(pod: dict[str, Any]) -> bool:
    target = target_pod(pod)
    return target.gated and not target.deleting and not target.ended
