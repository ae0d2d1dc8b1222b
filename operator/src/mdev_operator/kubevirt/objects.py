"""What is read of KubeVirt's objects and of its pods, and nothing else of them.

Which of a virt-launcher pod's labels can be believed was measured: ``kubevirt.io/migrationJobUID`` names the migration
that the pod was *made* for and stays for as long as the pod lives, so a running source pod carries the UID of the
migration that brought it; ``kubevirt.io/nodeName`` and ``kubevirt.io/migrationTargetNodeName`` are copies of the VM's
labels at creation and name nodes of before. So a target pod is recognised by that UID together with our gate, which
only a pod that has not been scheduled can have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mdev_api.kube import times
from mdev_api.kube.resources import Resource

Object = Mapping[str, Any]

GROUP = "kubevirt.io"
VERSION = "v1"


def _kubevirt(plural: str, kind: str) -> Resource:
    return Resource(group=GROUP, version=VERSION, plural=plural, kind=kind, namespaced=True)


VMIS = _kubevirt("virtualmachineinstances", "VirtualMachineInstance")
VMIMS = _kubevirt("virtualmachineinstancemigrations", "VirtualMachineInstanceMigration")
KUBEVIRTS = _kubevirt("kubevirts", "KubeVirt")

GATE = "mdev-operator.io/device"
"""The scheduling gate that admission puts on target pods with a device of ours."""

MIGRATION_UID = "kubevirt.io/migrationJobUID"
"""Label of a pod: UID of the VirtualMachineInstanceMigration that it was made for."""

MIGRATION_NAME = "kubevirt.io/migrationJobName"
"""Annotation of a pod: name of the same."""

LAUNCHERS_OF_MIGRATIONS = f"kubevirt.io=virt-launcher,{MIGRATION_UID}"
"""Label selector; without its first half hot-plug pods would be among them."""

UNSCHEDULABLE_TIMEOUT = "kubevirt.io/migrationUnschedulablePodTimeoutSeconds"
PENDING_TIMEOUT = "kubevirt.io/migrationPendingPodTimeoutSeconds"

FINAL_PHASES = frozenset({"Succeeded", "Failed"})
WAITING_PHASES = frozenset({"", "Pending"})
"""Phases in which virt-controller has not yet taken a migration up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vmim:
    """A VirtualMachineInstanceMigration. ``patience``: seconds from a pod's creation after which virt-controller may
    delete it for being unschedulable or pending, whichever is less."""

    namespace: str
    name: str
    uid: str
    vmi: str
    phase: str
    deleting: bool
    created: datetime
    added_node_selector: Mapping[str, str]
    patience: float

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.phase in FINAL_PHASES


@dataclass(frozen=True, kw_only=True, slots=True)
class Vmi:
    """A VirtualMachineInstance. ``node``: where the VM runs. ``moving``: UID of a migration that is under way now.

    ``resource``: the extended resource of its first GPU.
    """

    namespace: str
    name: str
    uid: str
    node: str | None
    moving: str | None
    resource: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetPod:
    """A pod made for a migration. ``admitted``: the kubelet has taken it in, so its device was allocated or refused.

    ``unschedulable``: why the scheduler finds no node for it, in the scheduler's words; None: it does not say so.
    """

    namespace: str
    name: str
    uid: str
    version: str
    vmim: str | None
    vmim_uid: str
    created: datetime
    gated: bool
    deleting: bool
    ended: bool
    admitted: bool
    unschedulable: str | None
    node_selector: Mapping[str, str]


def vmim_of(obj: Object) -> Vmim:
    """Read a VirtualMachineInstanceMigration."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    annotations = meta.get("annotations") or {}
    patience = min(
        _seconds(annotations.get(UNSCHEDULABLE_TIMEOUT), 300.0), _seconds(annotations.get(PENDING_TIMEOUT), 900.0)
    )
    return Vmim(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        vmi=str(spec.get("vmiName") or ""),
        phase=str((obj.get("status") or {}).get("phase") or ""),
        deleting=meta.get("deletionTimestamp") is not None,
        created=times.parse(meta["creationTimestamp"]),
        added_node_selector=spec.get("addedNodeSelector") or {},
        patience=patience,
    )


def vmi_of(obj: Object) -> Vmi:
    """Read a VirtualMachineInstance."""
    meta, status = obj["metadata"], obj.get("status") or {}
    devices = ((obj.get("spec") or {}).get("domain") or {}).get("devices") or {}
    state = status.get("migrationState") or {}
    over = any(state.get(key) for key in ("completed", "failed", "endTimestamp"))
    return Vmi(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        node=status.get("nodeName") or None,
        moving=state.get("migrationUid") if state.get("startTimestamp") and not over else None,
        resource=next((gpu["deviceName"] for gpu in devices.get("gpus") or () if gpu.get("deviceName")), None),
    )


def target_pod(pod: Object) -> TargetPod:
    """Read a pod that :data:`LAUNCHERS_OF_MIGRATIONS` selects."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    phase = status.get("phase") or "Pending"
    return TargetPod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=meta["resourceVersion"],
        vmim=(meta.get("annotations") or {}).get(MIGRATION_NAME),
        vmim_uid=meta["labels"][MIGRATION_UID],
        created=times.parse(meta["creationTimestamp"]),
        gated=any(gate.get("name") == GATE for gate in spec.get("schedulingGates") or ()),
        deleting=meta.get("deletionTimestamp") is not None,
        ended=phase in ("Succeeded", "Failed"),
        admitted=phase != "Pending" or any(status.get(f"{kind}Statuses") for kind in ("container", "initContainer")),
        unschedulable=_unschedulable(status),
        node_selector=spec.get("nodeSelector") or {},
    )


def slim_pod(pod: dict[str, Any]) -> dict[str, Any]:
    """A pod without what nobody here looks at: there is one for each VM that ever moved."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "annotations", "creationTimestamp")
    return {
        "metadata": {key: meta[key] for key in (*kept, "deletionTimestamp") if key in meta},
        "spec": {"schedulingGates": spec.get("schedulingGates") or []},
        "status": {"phase": status.get("phase"), "containerStatuses": bool(status.get("containerStatuses"))},
    }


def _unschedulable(status: Object) -> str | None:
    for condition in status.get("conditions") or ():
        if (condition.get("type"), condition.get("status")) == ("PodScheduled", "False"):
            return condition.get("message") or "" if condition.get("reason") == "Unschedulable" else None
    return None


def _seconds(text: object, default: float) -> float:
    """An annotation's number of seconds; KubeVirt ignores what is none."""
    try:
        return float(int(str(text)))
    except ValueError:
        return default
