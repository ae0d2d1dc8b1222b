"""KubeVirt on a real API server: its CRDs, nodes that can run VMs, and what a test asks of one VM's migration."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import create, delete, get, list_page, merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS, EVENTS, NAMESPACES, NODES, PODS, Resource
from tests.controlplane.control_plane import ControlPlane
from tests.kubevirt.bodies import GATE, NODE_LABELS
from tests.kubevirt.virt_controller import VMIMS, VMIS, VirtController
from tests.waiting import eventually, wait_until

Object = dict[str, Any]

CRDS = Path(__file__).resolve().parent / "crds"
RESOURCE = "gpu.example.com/gfx"
PATIENCE = 30.0
"""Seconds for any one thing to happen."""


def establish(plane: ControlPlane) -> None:
    """Have the API server serve KubeVirt's kinds, each listed once.

    A kind that goes before its storage was ready stays for ever: the API server's finalizer fails with "storage is
    (re)initializing" (condition Terminating of the CRD) and does not try again.
    """
    paths = sorted(CRDS.glob("*.yaml"))
    files = [f"--filename={path}" for path in paths]
    plane.kubectl("apply", "--server-side", *files)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *files)
    for spec in (yaml.safe_load(path.read_text())["spec"] for path in paths):
        url = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        wait_until(
            lambda url=url: plane.kubectl("get", f"--raw={url}", check=False).returncode == 0,
            timeout=30,
            what=f"{url} to be served",
        )


def abolish(plane: ControlPlane) -> None:
    """Have it not: the objects go with their kinds, also those whose finalizer nobody will ever take away."""
    kind = f"{VMIMS.plural}.{VMIMS.group}"
    for vmim in json.loads(plane.kubectl("get", kind, "--all-namespaces", "--output=json").stdout)["items"]:
        where = [f"--namespace={vmim['metadata']['namespace']}", kind, vmim["metadata"]["name"]]
        plane.kubectl("patch", *where, "--type=merge", '--patch={"metadata":{"finalizers":null}}', check=False)
    files = [f"--filename={path}" for path in sorted(CRDS.glob("*.yaml"))]
    plane.kubectl("delete", "--ignore-not-found", *files)


@dataclass(kw_only=True)
class VirtualCluster:
    """Namespace and nodes of one test, and the player of KubeVirt in them."""

    client: Client
    namespace: str
    player: VirtController
    nodes: list[str] = field(default_factory=list)

    async def add_node(self, name: str, *, devices: int = 2, **labels: str) -> str:
        """A Node that can run VMs and has ``devices`` of the resource; its full name."""
        full = f"{name}-{self.namespace}"
        labels = {**NODE_LABELS, "kubernetes.io/hostname": full, **labels}
        await self.client.send(create(NODES, {"metadata": {"name": full, "labels": labels}}))
        self.nodes.append(full)
        ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "no kubelet here"}
        moments = {"lastHeartbeatTime": None, "lastTransitionTime": None}
        room = {"cpu": "8", "memory": "16Gi", "pods": "110", RESOURCE: str(devices)}
        status = {"conditions": [{**ready, **moments}], "capacity": room, "allocatable": room}
        await self.client.send(merge_patch(NODES, full, {"status": status}, subresource="status"))
        return full

    async def phase(self, name: str, *phases: str, timeout: float = PATIENCE) -> Object:
        """Wait until the migration is in one of these phases."""

        def holds(obj: Object | None) -> bool:
            return obj is not None and (obj.get("status") or {}).get("phase") in phases

        return await self.until(VMIMS, name, f"in {' or '.join(phases)}", holds, timeout=timeout)

    async def until(
        self,
        resource: Resource,
        name: str,
        what: str,
        holds: Callable[[Object | None], Any],
        timeout: float = PATIENCE,
    ) -> Object:
        """Wait until the object (None: gone) is as it should be."""
        seen: Object | None = None

        async def look() -> Any:
            nonlocal seen
            seen = await self.find(resource, name)
            return holds(seen)

        try:
            await eventually(look, timeout=timeout, what=f"{resource.kind} {name} to be {what}")
        except TimeoutError as error:
            shown = await self.everything()
            raise AssertionError(f"{error}; it is {json.dumps(seen, indent=1)[:3000]}\n{shown[:6000]}") from None
        return seen or {}

    async def find(self, resource: Resource, name: str) -> Object | None:
        """The object as it is; None: there is none."""
        try:
            return await self.client.send(get(resource, name, self.namespace))
        except ApiError as error:
            if not error.not_found:
                raise
            return None

    async def all(self, resource: Resource) -> list[Object]:
        """All objects of this test's namespace."""
        items: list[Object] = (await self.client.send(list_page(resource, namespace=self.namespace)))["items"]
        return items

    async def target_pods(self) -> list[Object]:
        """Pods that were made for a migration."""
        return [p for p in await self.all(PODS) if "kubevirt.io/migrationJobUID" in p["metadata"]["labels"]]

    async def gated(self) -> list[Object]:
        """Those that still wait for us."""
        return [
            p for p in await self.target_pods() if GATE in [g["name"] for g in p["spec"].get("schedulingGates", ())]
        ]

    async def reservation(self, vmim: Object) -> Object | None:
        """The adapter's DeviceMigration for a migration."""
        return await self.find(DEVICE_MIGRATIONS, f"vmim-{vmim['metadata']['uid']}")

    async def finished(self, vmim: Object, reason: str) -> Object:
        """Wait until that DeviceMigration has finished for this reason."""

        def holds(obj: Object | None) -> bool:
            conditions = ((obj or {}).get("status") or {}).get("conditions", ())
            return any(c["type"] == "Finished" and c["reason"] == reason for c in conditions)

        name = f"vmim-{vmim['metadata']['uid']}"
        return await self.until(DEVICE_MIGRATIONS, name, f"Finished ({reason})", holds)

    async def notes(self, kind: str) -> list[str]:
        """What Events of ours tell about objects of this kind."""
        ours = [e for e in await self.all(EVENTS) if e.get("reportingController") == "mdev-operator.io/kubevirt"]
        return [e["note"] for e in ours if e["regarding"]["kind"] == kind]

    async def where(self, vm: str) -> str:
        """The node that the VM runs on."""
        found = await self.find(VMIS, vm)
        assert found is not None
        node: str = found["status"]["nodeName"]
        return node

    async def everything(self) -> str:
        """For the message of a test that fails."""
        shown = {}
        for resource in (VMIMS, DEVICE_MIGRATIONS, PODS):
            for obj in await self.all(resource):
                status = obj.get("status") or {}
                shown[f"{resource.kind} {obj['metadata']['name']}"] = {
                    "meta": {k: obj["metadata"].get(k) for k in ("uid", "deletionTimestamp", "finalizers")},
                    "spec": {k: obj["spec"].get(k) for k in ("started", "outcome", "schedulingGates", "nodeName")},
                    "status": {k: status.get(k) for k in ("phase", "conditions", "node")},
                }
        return json.dumps(shown, indent=1)


@contextlib.asynccontextmanager
async def administrator(plane: ControlPlane) -> AsyncIterator[Client]:
    """A client whose connections are closed when the block has ended: a request that is cancelled, as at the end of
    each part here, still says good-bye in TLS, and would outlive the event loop of its test."""
    async with Client(load(plane.kubeconfig)) as client:
        yield client
    selector = getattr(asyncio.get_running_loop(), "_selector")  # noqa: B009  (no public name; mypy knows none either)

    async def look() -> bool:
        return not any(_is_connection(fd) for fd in selector.get_map())

    await eventually(look, timeout=10, what="all connections to be closed", interval=0.01)


def _is_connection(fd: int) -> bool:
    """To an API server: not the loop's own pipe, nor the one by which gRPC wakes it."""
    copy = os.dup(fd)
    try:
        with socket.socket(fileno=copy) as found:
            return found.family == socket.AF_INET
    except OSError:
        os.close(copy)
        return False


@contextlib.asynccontextmanager
async def virtual_cluster(client: Client, **options: Any) -> AsyncIterator[VirtualCluster]:
    """One test's part of the shared API server; ``options`` for the player, which plays within the block."""
    namespace = f"vms-{uuid.uuid4().hex[:6]}"
    await client.send(create(NAMESPACES, {"metadata": {"name": namespace}}))
    player = VirtController(client=client, namespace=namespace, **options)
    cluster = VirtualCluster(client=client, namespace=namespace, player=player)
    async with playing(player.run):
        try:
            await _default_account(cluster)
            yield cluster
        finally:
            await _clear(cluster)


@contextlib.asynccontextmanager
async def playing(*parts: Callable[[], Any]) -> AsyncIterator[None]:
    """Run parts beside the block; one that ends with an error fails the test."""
    tasks = [asyncio.create_task(part()) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [e for e in ended if isinstance(e, Exception)]
    if errors:
        raise errors[0]


async def _default_account(cluster: VirtualCluster) -> None:
    """Until the controllers made it, every pod in the namespace is refused."""
    accounts = Resource(group="", version="v1", plural="serviceaccounts", kind="ServiceAccount", namespaced=True)
    await cluster.until(accounts, "default", "there", lambda obj: obj is not None)


async def _clear(cluster: VirtualCluster) -> None:
    for resource in (VMIMS, DEVICE_MIGRATIONS):
        for obj in await cluster.all(resource):
            name = obj["metadata"]["name"]
            await _quietly(
                cluster.client,
                [
                    merge_patch(resource, name, {"metadata": {"finalizers": None}}, cluster.namespace),
                    delete(resource, name, cluster.namespace),
                ],
            )
    for obj in await cluster.all(VMIS):
        await _quietly(cluster.client, [delete(VMIS, obj["metadata"]["name"], cluster.namespace)])
    await _quietly(cluster.client, [delete(NODES, node) for node in cluster.nodes])
    await _quietly(cluster.client, [delete(NAMESPACES, cluster.namespace)])


async def _quietly(client: Client, requests: Iterable[Any]) -> None:
    for request in requests:
        try:
            await client.send(request)
        except ApiError as error:
            if not error.not_found:
                raise
