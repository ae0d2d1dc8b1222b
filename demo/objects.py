"""The API objects that the demo applies, and how it asks for others: with kubectl, as an administrator would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.controlplane.control_plane import ControlPlane

PATIENCE = 180.0
"""Seconds for any one thing to happen; emulated guests on a busy machine are slow."""

Object = dict[str, Any]


class DemoFailed(Exception):  # noqa: N818
    """The main job did not do what it should; the message says where."""


class Cluster:
    """kubectl, and waiting for what an object says."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def apply(self, *objects: Object) -> None:
        """Apply objects."""
        self._plane.kubectl(
            "apply", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        )

    def apply_file(self, path: Path) -> None:
        """Apply a manifest of the project."""
        self._plane.kubectl("apply", f"--filename={path}")

    def delete(self, kind: str, *which: str) -> None:
        """Delete an object, or what kubectl's options say, and wait until it is gone."""
        self._plane.kubectl("delete", kind, *which)

    def get(self, kind: str, name: str = "") -> Object:
        """One object, or with no name the list of all."""
        found: Object = json.loads(self._plane.kubectl("get", kind, *([name] if name else []), "--output=json").stdout)
        return found

    def tell(self, migration: str, **spec: Any) -> None:
        """Set members of a migration's spec, e.g. ``outcome="Succeeded"``."""
        self._plane.kubectl(
            "patch", "devicemigration", migration, "--type=merge", f"--patch={json.dumps({'spec': spec})}"
        )

    def mark_ready(self, node: str) -> None:
        """Create a Node that is Ready: there is no kubelet here that would."""
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Demo",
            "message": "no kubelet here",
            "lastHeartbeatTime": None,
            "lastTransitionTime": None,
        }
        self._plane.kubectl(
            "patch",
            "node",
            node,
            "--subresource=status",
            "--type=merge",
            f"--patch={json.dumps({'status': {'conditions': [condition]}})}",
        )

    def until(self, kind: str, name: str, what: str, holds: Callable[[Object], Any]) -> Any:
        """Wait until something of the object is true, and return it."""
        deadline = time.monotonic() + PATIENCE
        seen: Object = {}
        while time.monotonic() < deadline:
            answer = self._plane.kubectl("get", kind, *([name] if name else []), "--output=json", check=False)
            if answer.returncode == 0:
                seen = json.loads(answer.stdout)
                found = holds(seen)
                if found:
                    return found
            time.sleep(0.3)
        status = json.dumps(seen.get("status", seen), indent=1)[-2500:]
        raise DemoFailed(f"waited {PATIENCE:.0f} s for {kind} {name} to be {what}; its status is\n{status}")

    def condition(self, migration: str, kind: str) -> Object:
        """Wait until the migration has the condition with status True, and return the migration."""
        found: Object = self.until("devicemigration", migration, kind, lambda o: o if holds(o, kind) else None)
        return found


def holds(obj: Object, kind: str) -> bool:
    """Whether a condition of the object is True."""
    conditions = obj.get("status", {}).get("conditions", [])
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def migration(name: str, source: Mapping[str, Any], **spec: Any) -> Object:
    """A DeviceMigration in mode Prepare."""
    return {
        "apiVersion": "mdev-operator.io/v1alpha1",
        "kind": "DeviceMigration",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"mode": "Prepare", "source": dict(source), **spec},
    }


def explicit(model: str, parameter: str, value: int) -> dict[str, Any]:
    """A source that exists nowhere yet: one int parameter that cannot be disabled."""
    values = [{"name": parameter, "type": "int", "value": str(value)}]
    return {"explicit": [{"name": "device", "model": model, "values": values}]}


def from_node(node: str, device: str) -> dict[str, Any]:
    """A device that is on a node."""
    return {"node": {"name": node, "devices": [device]}}
