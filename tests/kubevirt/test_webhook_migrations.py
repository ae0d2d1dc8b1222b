"""The early word on VM migrations: the real API server asks, with KubeVirt's kinds, about a VM that exists in it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from mdev_api.engine.compatibility_class import class_of
from mdev_api.hashing import profile_name
from mdev_api.kinds.compatibility_class import label_of
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_devices import NodeInstance
from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import apply_status, create, delete, merge_patch
from mdev_api.kube.resources import (
    DEVICE_PROFILES,
    LEASES,
    NAMESPACES,
    NODE_DEVICES,
    NODES,
    PODS,
    Resource,
)
from mdev_api.meaning import source_of
from mdev_operator.kubevirt.objects import VMIMS, VMIS
from mdev_operator.webhook.rotation import RotationSettings
from mdev_operator.webhook.run import WebhookSettings
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.kubevirt import bodies
from tests.kubevirt.cluster import abolish, establish
from tests.kubevirt.test_webhook_rotation import serving
from tests.kubevirt.webhooks import HOST, drop, identity, put, shipped
from tests.waiting import eventually

CONFIGURATION = "mdev-operator-migrations"
AGENTS = "mdev-node-agent"
RESOURCE = "gpu.example.com/gfx"
DEVICE = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module", autouse=True)
def kubevirt(control_plane: ControlPlane) -> Iterator[None]:
    """KubeVirt's kinds."""
    establish(control_plane)
    yield
    abolish(control_plane)


@dataclass(kw_only=True)
class World:
    """A VM with an 8 GB device on node a; node b offers what a test says."""

    client: Client
    namespace: str
    port: int

    async def offer(self, memory: int) -> None:
        """Have node b offer devices of this memory."""
        await self._devices("b", memory, instances=[], serving=[])

    async def label(self, labels: dict[str, str]) -> None:
        """Give node b these labels."""
        await self.client.send(merge_patch(NODES, self.node("b"), {"metadata": {"labels": labels}}))

    async def migrate(self, **spec: Any) -> dict[str, Any]:
        """Create a migration of the VM; the object as the API server admitted it."""
        body = bodies.vmim(self.namespace, f"m-{uuid.uuid4().hex[:8]}", "vm", **spec)
        body["metadata"]["finalizers"] = []
        return await self.client.send(create(VMIMS, body, self.namespace))

    def node(self, name: str) -> str:
        """The full name of a node of this test."""
        return f"{name}-{self.namespace}"

    async def make(self) -> None:
        """Nodes, devices, the VM and its pod."""
        for name in ("a", "b"):
            await self.client.send(create(NODES, {"metadata": {"name": self.node(name)}}))
            lease = {"holderIdentity": name, "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
            await self.client.send(create(LEASES, {"metadata": {"name": self.node(name)}, "spec": lease}, AGENTS))
            await self.client.send(create(NODE_DEVICES, {"metadata": {"name": self.node(name)}}))
        vmi = await self.client.send(create(VMIS, bodies.vmi(self.namespace, "vm", RESOURCE), self.namespace))
        pod = bodies.launcher(vmi)
        pod["spec"]["nodeName"] = self.node("a")
        made = await self.client.send(create(PODS, pod, self.namespace))
        pod_name, pod_uid = made["metadata"]["name"], made["metadata"]["uid"]
        await self._status(PODS, pod_name, {"phase": "Running"})
        running = {"phase": "Running", "nodeName": self.node("a"), "activePods": {pod_uid: self.node("a")}}
        await self.client.send(merge_patch(VMIS, "vm", {"status": running}, self.namespace))
        instance = {"id": DEVICE, "parent": "gfx0", "type": "gfx-8GB", "inUse": "Yes", "inUseSource": "PodResources"}
        served = {"instance": DEVICE, "resource": RESOURCE, "podNamespace": self.namespace, "podName": pod_name}
        await self._devices("a", 8192, instances=[instance], serving=[served])

    async def _devices(
        self, node: str, memory: int, instances: list[dict[str, Any]], serving: list[dict[str, Any]]
    ) -> None:
        spec, status = self.profile(memory)
        name, type_id = profile_name(spec), spec["type"]["id"]
        try:
            await self.client.send(create(DEVICE_PROFILES, {"metadata": {"name": name}, "spec": spec}))
        except ApiError as error:
            if not error.already_exists:
                raise
        await self.client.send(apply_status(DEVICE_PROFILES, name, status, "test"))
        devices = {
            "bootID": "boot",
            "parents": [
                {
                    "name": "gfx0",
                    "driver": "gfx",
                    "offers": [{"type": type_id, "profile": name, "available": 1}],
                }
            ],
            "instances": [{**instance, "profile": name} for instance in instances],
            "serving": serving,
        }
        await self.client.send(apply_status(NODE_DEVICES, self.node(node), devices, "test"))

    def profile(self, memory: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Spec and status of a profile of this test alone."""
        spec = {
            "backend": "mdev",
            "driver": {"name": "gfx", "version": self.namespace},
            "type": {"id": f"gfx-{memory // 1024}GB"},
        }
        parameter = {"name": "memory", "type": "int", "initValue": str(memory), "allowedValues": [str(memory)]}
        condition = {"type": "Resolved", "status": "True", "reason": "Published", "message": ""}
        moment = {"lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        status = {
            "model": f"com.gfx/{self.namespace}",
            "from": "Published",
            "parameters": [parameter],
            "conditions": [condition | moment],
        }
        return spec, status

    def class_label(self) -> str:
        """Key of the label that carries the class of the VM's device."""
        spec, status = self.profile(8192)
        name = profile_name(spec)
        profile = DeviceProfile.model_validate({"metadata": {"name": name}, "spec": spec, "status": status})
        instance = NodeInstance.model_validate({"id": DEVICE, "parent": "gfx0", "type": "gfx-8GB", "profile": name})
        found = class_of(source_of(instance, profile))
        assert found is not None
        return label_of(found)

    async def _status(self, resource: Resource, name: str, status: dict[str, Any]) -> None:
        await self.client.send(merge_patch(resource, name, {"status": status}, self.namespace, subresource="status"))


@pytest.fixture
async def world(control_plane: ControlPlane) -> AsyncIterator[World]:
    """The VM, and the webhook server with its own rights in this process; nothing is offered on node b yet."""
    namespace = f"early-{uuid.uuid4().hex[:8]}"
    async with Client(load(control_plane.kubeconfig)) as client:
        await client.send(create(NAMESPACES, {"metadata": {"name": namespace}}))
        world = World(client=client, namespace=namespace, port=free_ports(1)[0])
        await _until_pods_are_admitted(world)
        await put(client, shipped("migrations-webhook.yaml", world.port))
        own = RotationSettings(
            namespace="mdev-operator", secret="mdev-operator-webhook", configurations=[CONFIGURATION], hosts=[HOST]
        )
        settings = WebhookSettings(
            host=HOST,
            port=world.port,
            rotation=own,
            migrations=True,
            interval=0.1,
            drain=0,
        )
        with identity(control_plane) as kubeconfig:
            await world.make()
            async with Client(load(kubeconfig)) as own_client, serving(own_client, settings):
                yield world
        await drop(client, CONFIGURATION)
        for name in ("a", "b"):
            await client.send(delete(LEASES, world.node(name), AGENTS))
            await client.send(delete(NODE_DEVICES, world.node(name)))
            await client.send(delete(NODES, world.node(name)))
        await client.send(delete(NAMESPACES, namespace))


async def _until_pods_are_admitted(world: World) -> None:
    """Until the controllers gave the namespace its service account, every pod in it is refused."""
    accounts = Resource(group="", version="v1", plural="serviceaccounts", kind="ServiceAccount", namespaced=True)

    async def there() -> bool:
        try:
            await world.client.send(merge_patch(accounts, "default", {}, world.namespace))
        except ApiError:
            return False
        return True

    await eventually(there, timeout=15, what="the namespace to have its service account")


async def refusal(world: World, **spec: Any) -> str:
    """Wait until a migration is refused; the message."""

    async def refused() -> str | None:
        try:
            await world.migrate(**spec)
        except ApiError as error:
            return error.message
        return None

    return await eventually(refused, timeout=30, what="a migration to be refused")


async def selector(world: World, **spec: Any) -> dict[str, str]:
    """Wait until a migration gets the label of its class; its addedNodeSelector."""

    async def labelled() -> dict[str, str] | None:
        made: dict[str, str] = (await world.migrate(**spec))["spec"].get("addedNodeSelector") or {}
        return made if world.class_label() in made else None

    return await eventually(labelled, timeout=30, what="a migration to get the label of its class")


async def test_a_migration_that_no_node_could_ever_take_is_refused_with_the_reason(world: World) -> None:
    await world.offer(4096)

    message = await refusal(world)

    assert message.startswith(
        'admission webhook "migrations.mdev-operator.io" denied the request: mdev-operator: VM vm'
    )
    assert f"ValueNotAllowed memory on 1 (e.g. {world.node('b')}:" in message


async def test_when_a_node_comes_to_offer_what_fits_the_migration_is_let_through(world: World) -> None:
    await world.offer(4096)
    await refusal(world)

    await world.offer(8192)

    async def admitted() -> bool:
        try:
            await world.migrate()
        except ApiError:
            return False
        return True

    await eventually(admitted, timeout=30, what="the migration to be let through")


async def test_the_label_of_the_class_is_added_beside_the_users_own_keys(world: World) -> None:
    await world.offer(8192)
    await world.label({world.class_label(): "true", "zone": "one"})

    assert await selector(world) == {world.class_label(): "true"}
    assert await selector(world, addedNodeSelector={"zone": "one"}) == {world.class_label(): "true", "zone": "one"}


async def test_while_no_replica_answers_migrations_are_created_as_ever(world: World) -> None:
    await world.offer(4096)
    await refusal(world)
    await put(world.client, shipped("migrations-webhook.yaml", free_ports(1)[0]))

    async def admitted() -> bool:
        try:
            made = await world.migrate()
        except ApiError:
            return False
        return "addedNodeSelector" not in made["spec"]

    await eventually(admitted, timeout=30, what="the migration to be let through")
