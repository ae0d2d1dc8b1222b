"""Requests that the policies of deploy/ stop, and neighbours of them that they let through."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdev_api.hashing import profile_name
from tests.controlplane.control_plane import ControlPlane

OURS = "mdev-operator.io/v1alpha1"

Done = subprocess.CompletedProcess[str]
Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A kubectl command with an object on its standard input, as one of the users; nothing of it is stored."""

    user: str
    arguments: tuple[str, ...]
    obj: Object

    def make(self, plane: ControlPlane, users: Mapping[str, Path]) -> Done:
        arguments = (*self.arguments, "--dry-run=server", "--validate=false", "--filename=-")
        return plane.kubectl(*arguments, input=json.dumps(self.obj), kubeconfig=users[self.user], check=False)


def named(kind: str, name: str, **content: Any) -> Object:
    return {"apiVersion": OURS, "kind": kind, "metadata": {"name": name}, **content}


def lease(node: str) -> Object:
    metadata = {"name": node, "namespace": "mdev-node-agent"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}


def node(name: str, *, spec: Object | None = None, **metadata: Object) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, **metadata}, "spec": spec or {}}


def migration(name: str, source: Object, **spec: Any) -> Object:
    return named("DeviceMigration", name, spec={"mode": "Plan", "source": source, **spec})


EXPLICIT = {"explicit": [{"name": "gpu", "model": "m", "values": [{"name": "p", "type": "int", "value": "1"}]}]}
OF_NODE_A = {"node": {"name": "node-a", "devices": ["83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"]}}
OF_NODE_B = {"node": {"name": "node-b", "devices": ["83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"]}}
OWN_VM = {"vm": {"name": "mine"}}
STATUS = ("apply", "--server-side", "--subresource=status")
APPLY = ("apply", "--server-side")
CREATE = ("create",)
BOOT = {"status": {"bootID": "b"}}
PROFILE_SPEC = {"backend": "mdev", "driver": {"name": "d"}, "type": {"id": "t", "deviceAPI": "vfio-pci"}}
MISNAMED = "p-" + "a" * 26
"""A profile that the operator will delete: its name is not the hash of its content."""

STOPPED_BY_POLICY = {
    "node-a's agent writes what node-b offers": Attempt(
        user="agent node-a", arguments=STATUS, obj=named("NodeDevices", "node-b", **BOOT)
    ),
    "node-a's agent creates the inventory of another node": Attempt(
        user="agent node-a", arguments=CREATE, obj=named("NodeDevices", "node-c")
    ),
    "node-a's agent answers node-b's reservations": Attempt(
        user="agent node-a", arguments=STATUS, obj=named("NodeReservations", "node-b", **BOOT)
    ),
    "node-a's agent gives a sign of life for node-b": Attempt(
        user="agent node-a", arguments=APPLY, obj=lease("node-b")
    ),
    "node-a's agent writes its own instructions": Attempt(
        user="agent node-a", arguments=APPLY, obj=named("NodeReservations", "node-a", spec={"fence": 9})
    ),
    "an agent changes a profile that others refer to": Attempt(
        user="agent node-a",
        arguments=APPLY,
        obj={
            **named("DeviceProfile", MISNAMED, spec=PROFILE_SPEC),
            "metadata": {"name": MISNAMED, "labels": {"x": "y"}},
        },
    ),
    "an agent asks for a migration": Attempt(
        user="agent node-a", arguments=CREATE, obj=migration("by-an-agent", OWN_VM)
    ),
    "an agent's token that is bound to no Node publishes": Attempt(
        user="agent unbound", arguments=STATUS, obj=named("NodeDevices", "node-a", **BOOT)
    ),
    "the operator takes a Node out of service": Attempt(
        user="operator", arguments=APPLY, obj=node("node-a", spec={"unschedulable": True})
    ),
    "the operator labels a Node for another purpose": Attempt(
        user="operator", arguments=APPLY, obj=node("node-a", labels={"node-role.kubernetes.io/x": ""})
    ),
    "the operator annotates a Node": Attempt(
        user="operator", arguments=APPLY, obj=node("node-a", annotations={"x": "y"})
    ),
    "a user names a device of a node": Attempt(user="editor", arguments=CREATE, obj=migration("node", OF_NODE_A)),
    "a user places a device that exists nowhere yet": Attempt(
        user="editor", arguments=CREATE, obj=migration("explicit", EXPLICIT)
    ),
    "a user turns another's plan into a reservation": Attempt(
        user="editor", arguments=APPLY, obj=migration("planned", EXPLICIT, mode="Prepare")
    ),
    "a user with the verb for node-a names a device of node-b": Attempt(
        user="editor with node-a", arguments=CREATE, obj=migration("node", OF_NODE_B)
    ),
}
LET_THROUGH = {
    "an agent writes what its own node offers": Attempt(
        user="agent node-a", arguments=STATUS, obj=named("NodeDevices", "node-a", **BOOT)
    ),
    "an agent answers its own reservations": Attempt(
        user="agent node-a", arguments=STATUS, obj=named("NodeReservations", "node-a", **BOOT)
    ),
    "an agent gives its own sign of life": Attempt(user="agent node-a", arguments=APPLY, obj=lease("node-a")),
    "an agent creates a profile": Attempt(
        user="agent node-a", arguments=CREATE, obj=named("DeviceProfile", profile_name(PROFILE_SPEC), spec=PROFILE_SPEC)
    ),
    "the operator labels a Node for a compatibility class": Attempt(
        user="operator", arguments=APPLY, obj=node("node-a", labels={"class.mdev-operator.io/x": "true"})
    ),
    "a user asks for the own VM's devices": Attempt(user="editor", arguments=CREATE, obj=migration("vm", OWN_VM)),
    "a user with the verb places a device": Attempt(
        user="editor with all nodes", arguments=CREATE, obj=migration("explicit", EXPLICIT)
    ),
    "a user with the verb for node-a names a device of it": Attempt(
        user="editor with node-a", arguments=CREATE, obj=migration("node", OF_NODE_A)
    ),
    "a user changes a label of another's plan": Attempt(
        user="editor",
        arguments=APPLY,
        obj={**migration("planned", EXPLICIT), "metadata": {"name": "planned", "labels": {"x": "y"}}},
    ),
}
SENTENCES = {
    "node-a's agent writes what node-b offers": "the agent of node node-a may write only the objects of its own node, "
    "not nodedevices/status node-b",
    "node-a's agent writes its own instructions": "it may not UPDATE nodereservations node-a",
    "an agent's token that is bound to no Node publishes": "this token of a node agent is bound to no Node",
    "the operator labels a Node for another purpose": "only those labels of a Node that begin with "
    "class.mdev-operator.io/",
    "a user with the verb for node-a names a device of node-b": "may not name devices of node node-b: a source `node` "
    "or `explicit` needs the verb `reserve` on nodedevices.mdev-operator.io",
}
