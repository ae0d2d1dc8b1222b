"""A control plane on which what ``deploy/`` says is in force: the identities and what each may do."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conftest import establish_crds
from tests.controlplane.binaries import find
from tests.controlplane.control_plane import ControlPlane

TOP = Path(__file__).resolve().parents[1]
DEPLOY = TOP / "deploy"


def start_small(directory: Path) -> ControlPlane:
    """An API server of a test's own, without controllers and scheduler: what must not be in force for other tests."""
    return ControlPlane.start(directory, controllers=False, scheduler=False)


def apply_roles(plane: ControlPlane) -> None:
    """The kinds, the identities and their roles."""
    establish_crds(plane)
    plane.kubectl("apply", f"--filename={DEPLOY / 'rbac.yaml'}")


def mark_ready(plane: ControlPlane, node: str) -> None:
    """Make a Node that is Ready: there is no kubelet here that would."""
    plane.kubectl("create", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "Node", **_named(node)}))
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Test",
        "message": "no kubelet here",
        "lastHeartbeatTime": None,
        "lastTransitionTime": None,
    }
    patch = json.dumps({"status": {"conditions": [condition]}})
    plane.kubectl("patch", "node", node, "--subresource=status", "--type=merge", f"--patch={patch}")


def kubeconfig_of(plane: ControlPlane, directory: Path, *identity: str) -> Path:
    """What ``deploy/kubeconfig`` prints for ``operator`` or for ``agent NODE``, in a file."""
    command = [str(DEPLOY / "kubeconfig"), *identity]
    done = subprocess.run(command, env=as_administrator(plane, directory), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = directory / f"{'-'.join(identity)}.kubeconfig"
    path.write_text(done.stdout, encoding="utf-8")
    return path


def as_administrator(plane: ControlPlane, directory: Path) -> Mapping[str, str]:
    """An environment in which ``kubectl`` is ours and the administrator of this control plane runs it."""
    programs = directory / "programs"
    programs.mkdir(exist_ok=True)
    link = programs / "kubectl"
    if not link.exists():
        link.symlink_to(find()["kubectl"])
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(plane.kubeconfig),
        "KUBECACHEDIR": str(directory / "kubectl-cache"),
    }


def _named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}
