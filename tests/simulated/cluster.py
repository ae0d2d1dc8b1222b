"""A few simulated nodes on the shared API server for one test, and what the test does with DeviceMigrations.

All that is made carries a name that no other test uses, migrations go only to nodes of their own test, and everything
is taken away at the end, so that tests share one API server and one operator.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import create, delete, get, merge_patch
from mdev_api.kube.resources import (
    DEVICE_MIGRATIONS,
    LEASES,
    NAMESPACES,
    NODE_DEVICES,
    NODE_RESERVATIONS,
    NODES,
    Resource,
)
from mdev_node_agent.settings import Deadlines
from tests.memkernel.driver import Module
from tests.memkernel.kernel import MemoryKernel
from tests.simulated.node import SimulatedNode
from tests.waiting import eventually

Object = dict[str, Any]

PATIENCE = 25.0
"""Seconds for any one thing to happen; on a quiet machine all do within two, or one interval of mode Plan."""

AGENT_NAMESPACE = "mdev-node-agent"
LABEL = "test.mdev-operator.io/of"
DEADLINES = Deadlines(call=2.0, remove=0.5)


@dataclass(kw_only=True)
class SimulatedCluster:
    """``operator_log`` is shown when a wait fails. Names are given without the part that makes them unique."""

    client: Client
    kubeconfig: Path
    directory: Path
    operator_log: Callable[[], str]
    unique: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    nodes: dict[str, SimulatedNode] = field(default_factory=dict)
    made: list[tuple[Resource, str, str | None]] = field(default_factory=list)

    def full(self, name: str) -> str:
        """The name as the API server has it."""
        return f"{name}-{self.unique}"

    async def make(self, resource: Resource, body: Object) -> Object:
        """Create an object that is deleted at the end."""
        meta = body["metadata"]
        made = await self.client.send(create(resource, body, meta.get("namespace")))
        self.made.append((resource, meta["name"], meta.get("namespace")))
        return made

    async def add_node(
        self, name: str, *drivers: Module, rescan_seconds: float = 60.0, kubeconfig: Path | None = None
    ) -> MemoryKernel:
        """A Node that is Ready, with a kernel and an agent; returns when its NodeDevices are published.

        ``kubeconfig``: the agent's own instead of the cluster's.
        """
        await ensure_namespaces(self.client, AGENT_NAMESPACE)
        full = self.full(name)
        await self.mark(name)
        kernel = MemoryKernel(drivers=drivers)
        chosen = kubeconfig or self.kubeconfig
        node = SimulatedNode(full, kernel, kubeconfig=chosen, state_dir=self.directory / full)
        self.nodes[name] = node
        node.start(rescan_seconds=rescan_seconds, deadlines=DEADLINES)
        await self.until(NODE_DEVICES, full, "published with offers", _offers)
        await self.until(LEASES, full, "there", lambda lease: True, namespace=AGENT_NAMESPACE)
        return kernel

    async def mark(self, name: str, *, ready: bool = True, unschedulable: bool = False) -> None:
        """Make the Node, or change it: there is no kubelet here that would."""
        full = self.full(name)
        spec = {"unschedulable": unschedulable}
        metadata = {"name": full, "labels": {LABEL: self.unique}}
        try:
            await self.client.send(merge_patch(NODES, full, {"spec": spec}))
        except ApiError as error:
            if not error.not_found:
                raise
            await self.make(NODES, {"metadata": metadata, "spec": spec})
        condition = {
            "type": "Ready",
            "status": str(ready),
            "reason": "Test",
            "message": "no kubelet here",
            "lastHeartbeatTime": None,
            "lastTransitionTime": None,
        }
        await self.client.send(merge_patch(NODES, full, {"status": {"conditions": [condition]}}, subresource="status"))

    async def migrate(self, name: str, source: Mapping[str, Any], **spec: Any) -> Object:
        """Create a DeviceMigration, by default in mode Prepare and to any node of this test."""
        body: Object = {
            "metadata": {"name": self.full(name), "namespace": "default"},
            "spec": {"mode": "Prepare", "nodeSelector": {LABEL: self.unique}, "source": dict(source), **spec},
        }
        return await self.make(DEVICE_MIGRATIONS, body)

    def of_node(self, name: str, device: str) -> Object:
        """A source: a device of a node of this test."""
        return {"node": {"name": self.full(name), "devices": [device]}}

    async def tell(self, name: str, **spec: Any) -> Object:
        """Change members of a migration's spec; the migration as it is then."""
        return await self.client.send(merge_patch(DEVICE_MIGRATIONS, self.full(name), {"spec": spec}, "default"))

    async def forget(self, name: str) -> None:
        """Have a migration deleted."""
        await self.client.send(delete(DEVICE_MIGRATIONS, self.full(name), "default"))

    async def migration(self, name: str) -> Object | None:
        """The migration as it is; None: gone."""
        return await self._get(DEVICE_MIGRATIONS, self.full(name), "default")

    async def until(
        self,
        resource: Resource,
        name: str,
        what: str,
        holds: Callable[[Object], Any],
        *,
        namespace: str | None = None,
        timeout: float = PATIENCE,
    ) -> Object:
        """Wait until the object is as it should be, and return it; failing, say how it is and what the operator did."""
        seen: Object | None = None

        async def look() -> Object | None:
            nonlocal seen
            seen = await self._get(resource, name, namespace)
            return seen if seen is not None and holds(seen) else None

        try:
            return await eventually(look, timeout=timeout, what=f"{resource.kind} {name} to be {what}", interval=0.1)
        except TimeoutError:
            self._fail(f"waited {timeout:g} s for {resource.kind} {name} to be {what}", seen)
            raise

    async def shows(self, name: str, kind: str, status: str, reason: str | None = None, **options: Any) -> Object:
        """Wait until the migration has this condition, and return the migration."""

        def holds(obj: Object) -> bool:
            seen = condition(obj, kind)
            return seen is not None and seen["status"] == status and reason in (None, seen["reason"])

        what = f"{kind}={status}" + (f" ({reason})" if reason else "")
        return await self.until(DEVICE_MIGRATIONS, self.full(name), what, holds, namespace="default", **options)

    async def ready(self, name: str) -> Object:
        """Wait until the migration is Ready."""
        return await self.shows(name, "Ready", "True")

    async def gone(self, name: str, resource: Resource = DEVICE_MIGRATIONS, namespace: str | None = "default") -> None:
        """Wait until the object is gone. ``name`` as it was given for a migration, else in full."""
        full = self.full(name) if resource == DEVICE_MIGRATIONS else name
        seen: Object | None = None

        async def look() -> bool:
            nonlocal seen
            seen = await self._get(resource, full, namespace)
            return seen is None

        try:
            await eventually(look, timeout=PATIENCE, what=f"{full} to be gone", interval=0.1)
        except TimeoutError:
            self._fail(f"waited {PATIENCE:g} s for {resource.kind} {full} to be gone", seen)

    async def holds(self, what: str, look: Callable[[], Any]) -> None:
        """Wait until something outside the API holds, such as a kernel's devices."""

        async def ask() -> Any:
            return look()

        try:
            await eventually(ask, timeout=PATIENCE, what=what)
        except TimeoutError as error:
            self._fail(str(error), None)

    async def no_entries(self, node: str) -> None:
        """Wait until a node holds no reservation any more."""
        await self.until(NODE_RESERVATIONS, self.full(node), "empty", lambda o: not o["spec"].get("reservations"))

    async def entries(self, node: str) -> list[Object]:
        """The reservations of a node."""
        seen = await self._get(NODE_RESERVATIONS, self.full(node), None) or {}
        entries: list[Object] = seen.get("spec", {}).get("reservations", [])
        return entries

    async def clear(self) -> None:
        """End the agents and take away all that was made."""
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in self.nodes.values()))
        for resource, name, namespace in reversed(self.made):
            if resource == DEVICE_MIGRATIONS:
                await self._quietly(merge_patch(resource, name, {"metadata": {"finalizers": None}}, namespace))
            await self._quietly(delete(resource, name, namespace))
        for node in self.nodes:
            for resource in (NODE_RESERVATIONS, NODE_DEVICES):
                await self._quietly(delete(resource, self.full(node)))
            await self._quietly(delete(LEASES, self.full(node), AGENT_NAMESPACE))

    async def _get(self, resource: Resource, name: str, namespace: str | None) -> Object | None:
        try:
            return await self.client.send(get(resource, name, namespace))
        except ApiError as error:
            if not error.not_found:
                raise
            return None

    async def _quietly(self, request: Any) -> None:
        try:
            await self.client.send(request)
        except ApiError as error:
            if not error.not_found:
                raise

    def _fail(self, why: str, seen: Object | None) -> None:
        shown = json.dumps(seen and {"spec": seen.get("spec"), "status": seen.get("status")}, indent=1)
        ended = "".join(f"\nthe agent of {n.name} ended: {e!r}" for n in self.nodes.values() if (e := n.ended_with()))
        raise AssertionError(f"{why}; it is\n{shown[-4000:]}{ended}\nthe operator:\n{self.operator_log()[-5000:]}")


async def ensure_namespaces(client: Client, *names: str) -> None:
    """Make namespaces that may be there."""
    for name in names:
        try:
            await client.send(create(NAMESPACES, {"metadata": {"name": name}}))
        except ApiError as error:
            if not error.already_exists:
                raise


def condition(obj: Object, kind: str) -> Object | None:
    """A condition of an object."""
    conditions: Iterable[Object] = (obj.get("status") or {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == kind), None)


def message_of(obj: Object, kind: str) -> str:
    """What a condition says to people."""
    found = condition(obj, kind)
    return str(found["message"]) if found else ""


def gpu(memory: int) -> Object:
    """An explicit source: a GPU of the sample driver gfx."""
    values = [{"name": "memory", "type": "int", "value": str(memory)}]
    return {"explicit": [{"name": "gpu", "model": "com.gfx/GPU", "values": values}]}


def instance(migration: Object) -> str:
    """The destination device of a migration that is Ready."""
    found: str = migration["status"]["devices"][0]["instance"]
    return found


def rejections(migration: Object) -> dict[str, list[Object]]:
    """The examples by code."""
    return {r["code"]: r["examples"] for r in migration.get("status", {}).get("rejected", ())}


def _offers(devices: Object) -> bool:
    parents = devices.get("status", {}).get("parents", ())
    return any(parent.get("offers") for parent in parents)
