"""Which device of a VM can move: from the VirtualMachineInstance and its pods to the one that holds the device now."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_operator.inventory.cluster import VmView
from mdev_operator.kubevirt.vm import vm_view
from mdev_operator.migration.source import NoSource

GPU = {"name": "gpu1", "deviceName": "gfx.com/GPU_8GB"}


def vmi(*gpus: dict[str, Any], host_devices: tuple[dict[str, Any], ...] = (), **status: Any) -> dict[str, Any]:
    """A running VM on node a, whose active pods have the UIDs pod-0 and pod-1."""
    devices = {"gpus": list(gpus), "hostDevices": list(host_devices)}
    return {
        "metadata": {"name": "vm", "namespace": "default", "uid": "vmi-uid"},
        "spec": {"domain": {"devices": devices}},
        "status": {"phase": "Running", "nodeName": "a", "activePods": {"pod-0": "a", "pod-1": "a"}, **status},
    }


def pod(name: str = "virt-launcher-vm-1", uid: str = "pod-1", node: str | None = "a", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid,
            "labels": {"kubevirt.io": more.get("label", "virt-launcher"), "kubevirt.io/nodeName": "elsewhere"},
        },
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": more.get("phase", "Running")},
    }


def why_not(found: VmView | NoSource) -> tuple[str, str]:
    assert isinstance(found, NoSource)
    return found.reason, found.message


def test_a_running_vm_with_one_gpu_is_found_with_its_pod_and_resource() -> None:
    assert vm_view(vmi(GPU), [pod()]) == VmView(
        name="vm", node="a", pod_namespace="default", pod_name="virt-launcher-vm-1", resource="gfx.com/GPU_8GB"
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(pod("target", "pod-2", "b"), id="the target of a move, on another node"),
        pytest.param(pod("gated", "pod-2", None, phase="Pending"), id="a gated target"),
        pytest.param(pod("was-here", "pod-0", "a", phase="Succeeded"), id="the pod of an earlier stay on this node"),
        pytest.param(pod("failed", "pod-9", "a"), id="a pod that is not active"),
        pytest.param(pod("hp-volume", "pod-1", "a", label="hotplug-disk"), id="a hot-plug pod"),
    ],
)
def test_of_several_pods_the_one_that_holds_the_device_is_taken(other: dict[str, Any]) -> None:
    found = vm_view(vmi(GPU), [other, pod()])
    assert isinstance(found, VmView) and found.pod_name == "virt-launcher-vm-1"
    assert why_not(vm_view(vmi(GPU), [other]))[0] == "SourceNotFound"


@pytest.mark.parametrize("phase", ["Scheduling", "Scheduled", "Succeeded", "Failed"])
def test_a_vm_that_does_not_run_has_nothing_to_move(phase: str) -> None:
    reason, message = why_not(vm_view(vmi(GPU, phase=phase), [pod()]))
    assert reason == "SourceNotFound" and phase in message


def test_several_gpus_are_not_supported_and_named() -> None:
    reason, message = why_not(vm_view(vmi(GPU, {"name": "gpu2", "deviceName": "x/y"}), [pod()]))
    assert reason == "NotSupported" and "gpu1, gpu2" in message


def test_a_gpu_of_a_resource_claim_is_not_supported() -> None:
    reason, message = why_not(vm_view(vmi({"name": "gpu1", "claimName": "c", "requestName": "r"}), [pod()]))
    assert reason == "NotSupported" and "DRA" in message


def test_host_devices_are_not_supported_even_beside_a_gpu() -> None:
    reason, message = why_not(vm_view(vmi(GPU, host_devices=({"name": "nic", "deviceName": "x/nic"},)), [pod()]))
    assert reason == "NotSupported" and "nic" in message


def test_a_vm_without_a_gpu_has_no_device() -> None:
    assert why_not(vm_view(vmi(), [pod()]))[0] == "DeviceNotFound"
