"""Objects of KubeVirt 1.9 as its own programs make them, as far as anything outside them looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

NODE_LABELS = {
    "kubevirt.io/schedulable": "true",
    "kubernetes.io/arch": "amd64",
    "machine-type.node.kubevirt.io/q35": "true",
}
"""What virt-handler and the kubelet put on every node that can run VMs."""

FINALIZER = "kubevirt.io/migrationJobFinalize"
GATE = "mdev-operator.io/device"


def vmi(namespace: str, name: str, resource: str, *, spec: Mapping[str, Any] | None = None) -> Object:
    """A VirtualMachineInstance with one vGPU, not yet placed."""
    gpu = {"name": "gpu1", "deviceName": resource}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": name, "namespace": namespace, "labels": {"vm.kubevirt.io/name": name}},
        "spec": {"domain": {"devices": {"gpus": [gpu]}}, **(spec or {})},
        "status": {"phase": "Pending"},
    }


def vmim(namespace: str, name: str, vmi_name: str, **more: Any) -> Object:
    """A migration as virt-api lets it in: its mutator adds label and finalizer. ``more``: spec and annotations."""
    annotations = more.pop("annotations", None) or {}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"kubevirt.io/vmi-name": vmi_name},
            "annotations": annotations,
            "finalizers": [FINALIZER],
        },
        "spec": {"vmiName": vmi_name, **more},
    }


def launcher(vm: Object, *, affinity: Mapping[str, Any] | None = None) -> Object:
    """A virt-launcher pod of the VM: labels copied from the VM as they are now, limits by the resource of its GPU."""
    meta = vm["metadata"]
    gpu = vm["spec"]["domain"]["devices"]["gpus"][0]["deviceName"]
    limits = {"cpu": "100m", "memory": "64Mi", gpu: "1"}
    return {
        "metadata": {
            "generateName": f"virt-launcher-{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": {
                **meta.get("labels", {}),
                "kubevirt.io": "virt-launcher",
                "kubevirt.io/created-by": meta["uid"],
                "vmi.kubevirt.io/id": meta["name"],
            },
            "annotations": {"kubevirt.io/domain": meta["name"]},
            "ownerReferences": [
                {
                    "apiVersion": "kubevirt.io/v1",
                    "kind": "VirtualMachineInstance",
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 30,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "compute",
                    "image": "registry.invalid/kubevirt/virt-launcher:v1.9.0",
                    "resources": {"limits": limits, "requests": limits},
                }
            ],
            "affinity": dict(affinity or {}),
        },
    }


def target(vm: Object, migration: Object, *, gated: bool) -> Object:
    """The target pod of a migration, as virt-controller's createTargetPod makes it for a VM with a host-model CPU."""
    pod = launcher(vm, affinity=_affinity(vm))
    meta, spec = pod["metadata"], pod["spec"]
    meta["labels"]["kubevirt.io/migrationJobUID"] = migration["metadata"]["uid"]
    meta["annotations"]["kubevirt.io/migrationJobName"] = migration["metadata"]["name"]
    spec["nodeSelector"] = {
        **(migration["spec"].get("addedNodeSelector") or {}),
        **NODE_LABELS,
        **(vm["spec"].get("nodeSelector") or {}),
    }
    if vm["spec"].get("tolerations"):
        spec["tolerations"] = vm["spec"]["tolerations"]
    if gated:
        spec["schedulingGates"] = [{"name": GATE}]
    return pod


def _affinity(vm: Object) -> Object:
    """The VM's own, with the host model's requirement in each of its terms, and away from the VM's other pods."""
    own = vm["spec"].get("affinity") or {}
    obsolete = {"key": "node-labeller.kubevirt.io/obsolete-host-model", "operator": "DoesNotExist"}
    required = ((own.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")) or {}
    terms = []
    for term in required.get("nodeSelectorTerms") or [{"matchExpressions": []}]:
        if term:
            terms.append({**term, "matchExpressions": [*term.get("matchExpressions", ()), obsolete]})
        else:
            terms.append(term)
    away = {
        "labelSelector": {"matchLabels": {"kubevirt.io/created-by": vm["metadata"]["uid"]}},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {
        **own,
        "nodeAffinity": {
            **(own.get("nodeAffinity") or {}),
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
        },
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [away]},
    }
