"""From a VirtualMachineInstance and its pods to the one vGPU that can move, or why it cannot.

KubeVirt moves a VM with exactly one ``gpus[]`` of a named extended resource and nothing in ``hostDevices[]``
(its condition LiveMigratable). The VM's status does not say which device it has: only the kubelet knows what it gave
to the pod, so the pod that holds the device now is what is looked for here. While a VM moves there are two
virt-launcher pods, and pods of earlier moves stay for a while; the one that counts is on ``status.nodeName`` and among
``status.activePods``. Its labels are not asked: they are copies from whenever it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mdev_operator.inventory.cluster import VmView
from mdev_operator.migration.source import NoSource

Object = Mapping[str, Any]

LAUNCHER_LABEL = ("kubevirt.io", "virt-launcher")
CREATED_BY = "kubevirt.io/created-by"


def vm_view(vmi: Object, pods: Iterable[Object]) -> VmView | NoSource:
    """What is to move. ``pods``: those that the VM's UID created (label ``kubevirt.io/created-by``), of any state."""
    name = vmi["metadata"]["name"]
    resource = _resource(name, ((vmi.get("spec") or {}).get("domain") or {}).get("devices") or {})
    if isinstance(resource, NoSource):
        return resource
    status = vmi.get("status") or {}
    phase, node = status.get("phase") or "without a phase", status.get("nodeName")
    if phase != "Running" or not node:
        message = f"source.vm {name}: the VM is {phase}, not Running, so it has no device that could move"
        return NoSource(reason="SourceNotFound", message=message)
    pod = next((p for p in pods if _holds(p, node, status.get("activePods") or {})), None)
    if pod is None:
        message = f"source.vm {name}: it runs on node {node}, but none of its virt-launcher pods does"
        return NoSource(reason="SourceNotFound", message=message)
    meta = pod["metadata"]
    return VmView(name=name, node=node, pod_namespace=meta["namespace"], pod_name=meta["name"], resource=resource)


def _resource(name: str, devices: Object) -> str | NoSource:
    """The extended resource of the VM's only device."""
    gpus, host_devices = devices.get("gpus") or [], devices.get("hostDevices") or []
    if host_devices:
        return _unsupported(
            name,
            f"it has host devices ({_names(host_devices)}), and KubeVirt moves no VM that has any; "
            "ask for a vGPU in spec.domain.devices.gpus",
        )
    if not gpus:
        message = f"source.vm {name}: it asks for no vGPU: spec.domain.devices.gpus is empty"
        return NoSource(reason="DeviceNotFound", message=message)
    if len(gpus) > 1:
        return _unsupported(name, f"it has {len(gpus)} GPUs ({_names(gpus)}), and KubeVirt moves a VM with one at most")
    resource = gpus[0].get("deviceName")
    if not resource:
        return _unsupported(
            name,
            f"its GPU {_names(gpus)} comes from a resource claim (DRA), and KubeVirt moves only GPUs with a deviceName",
        )
    return str(resource)


def _unsupported(name: str, why: str) -> NoSource:
    return NoSource(reason="NotSupported", message=f"source.vm {name}: {why}")


def _names(devices: Iterable[Object]) -> str:
    return ", ".join(str(device.get("name")) for device in devices)


def _holds(pod: Object, node: str, active: Object) -> bool:
    """Whether this is the pod that the VM runs in: hot-plug pods and pods that ended are none."""
    meta, key = pod["metadata"], LAUNCHER_LABEL[0]
    return bool(
        (meta.get("labels") or {}).get(key) == LAUNCHER_LABEL[1]
        and (pod.get("spec") or {}).get("nodeName") == node
        and (pod.get("status") or {}).get("phase") == "Running"
        and meta["uid"] in active
    )
