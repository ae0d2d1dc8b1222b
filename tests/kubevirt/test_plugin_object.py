"""The Plugin object as shipped: KubeVirt's own schema takes it, and what it names is what the other manifests make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml
from cel_expr_python import cel

from tests.controlplane.control_plane import ControlPlane
from tests.kubevirt import bodies
from tests.kubevirt.cluster import abolish, establish
from tests.kubevirt.gate_cases import DEPLOY

MANIFEST = DEPLOY / "plugin.yaml"
PLUGIN: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
MOUNTED = ("/var/run/kubevirt", "/var/lib/kubelet")
"""Directories of the host that virt-handler sees under the same name."""


@pytest.fixture
def kubevirt(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """KubeVirt's kinds."""
    establish(control_plane)
    yield control_plane
    abolish(control_plane)


def test_kubevirt_takes_it_as_it_is_written(kubevirt: ControlPlane) -> None:
    kubevirt.kubectl("create", "--dry-run=server", "--validate=strict", f"--filename={MANIFEST}")


def test_the_policy_that_it_names_is_the_gate() -> None:
    gate = yaml.safe_load_all((DEPLOY / "gate-policy.yaml").read_text(encoding="utf-8"))
    policies = [d["metadata"]["name"] for d in gate if d["kind"] == "MutatingAdmissionPolicy"]

    assert [p["name"] for p in PLUGIN["spec"]["mutatingAdmissionPolicies"]] == policies


def test_its_socket_is_below_a_directory_that_virt_handler_mounts() -> None:
    sockets = [PurePosixPath(hook["socket"]) for hook in PLUGIN["spec"]["nodeHooks"]]

    assert all(any(socket.is_relative_to(mount) for mount in MOUNTED) for socket in sockets)


@pytest.mark.parametrize(
    ("devices", "asked"),
    [
        ({"gpus": [{"name": "gpu1", "deviceName": "nvidia.com/GRID_T4-2Q"}]}, True),
        ({"gpus": []}, False),
        ({"disks": [{"name": "root"}]}, False),
        ({}, False),
    ],
    ids=["with a vGPU", "with an empty list", "without", "without any device"],
)
def test_the_hook_is_called_for_vms_with_a_vgpu_only(devices: dict[str, Any], asked: bool) -> None:
    condition = PLUGIN["spec"]["nodeHooks"][0]["condition"]
    vmi = bodies.vmi("default", "vm", "nvidia.com/GRID_T4-2Q", spec={"domain": {"devices": devices}})

    expression = cel.NewEnv(variables={"vmi": cel.Type.DYN}).compile(condition)

    assert expression.eval(data={"vmi": vmi}).value() is asked


def test_its_socket_is_the_one_that_the_agent_serves() -> None:
    agent = (DEPLOY / "node-agent.yaml").read_text(encoding="utf-8")

    assert f"- --hook-socket={PLUGIN['spec']['nodeHooks'][0]['socket']}\n" in agent
