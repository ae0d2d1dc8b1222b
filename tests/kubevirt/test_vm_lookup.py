"""A VM and its waiting target pod looked up on the real API server, with and without KubeVirt's resources in it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.reflector import Reflector
from mdev_api.kube.requests import create, delete, merge_patch
from mdev_api.kube.resources import NAMESPACES, PODS, Resource
from mdev_operator.inventory.cluster import VmView
from mdev_operator.inventory.inventory import Inventory
from mdev_operator.kubevirt.lookup import look_up_pod, look_up_vm
from mdev_operator.kubevirt.manager import PLUGINS
from mdev_operator.kubevirt.objects import KUBEVIRTS, VMIS
from mdev_operator.kubevirt.optional import OptionalReflector
from mdev_operator.kubevirt.pod_fit import PodConstraints
from mdev_operator.migration.source import NoSource
from tests.conftest import establish_crds
from tests.controlplane.control_plane import ControlPlane
from tests.waiting import eventually

Object = dict[str, Any]

CRDS = Path(__file__).resolve().parents[1] / "kubevirt" / "crds"
GATE = "mdev-operator.io/device"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module alone: it begins without KubeVirt, and tests run in their order."""
    with ControlPlane.start(tmp_path_factory.mktemp("bare"), controllers=False, scheduler=False) as plane:
        establish_crds(plane)
        yield plane


@pytest.fixture
async def client(bare: ControlPlane) -> AsyncIterator[Client]:
    async with Client(load(bare.kubeconfig)) as client:
        yield client


@pytest.fixture
async def namespace(client: Client) -> str:
    name = f"vms-{uuid.uuid4().hex[:8]}"
    await client.send(create(NAMESPACES, {"metadata": {"name": name}}))
    return name


def install(plane: ControlPlane) -> None:
    """KubeVirt's resources; again does nothing."""
    files = [f"--filename={path}" for path in sorted(CRDS.glob("*.yaml"))]
    plane.kubectl("apply", "--server-side", *files)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *files)


def of_vm(namespace: str, name: str = "m", **metadata: Any) -> DeviceMigration:
    return DeviceMigration.model_validate(
        {
            "metadata": {"name": name, "namespace": namespace, "uid": "u", **metadata},
            "spec": {"mode": "Prepare", "source": {"vm": {"name": "vm"}}},
        }
    )


def pod(labels: dict[str, str], name: str, node: str | None = None, gated: bool = False, **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubevirt.io": "virt-launcher", **labels}},
        "spec": {
            "containers": [{"name": "compute", "image": "none"}],
            **({"nodeName": node} if node else {}),
            **({"schedulingGates": [{"name": GATE}]} if gated else {}),
            **spec,
        },
    }


async def runs(client: Client, namespace: str, made: Object) -> Object:
    stored = await client.send(create(PODS, made, namespace))
    status = {"status": {"phase": "Running"}}
    return await client.send(merge_patch(PODS, stored["metadata"]["name"], status, namespace, subresource="status"))


@contextlib.asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_without_kubevirt_a_vm_cannot_be_a_source_and_that_is_the_reason(client: Client, namespace: str) -> None:
    found = await look_up_vm(client.send, of_vm(namespace))
    assert isinstance(found, NoSource)
    assert found.reason == "SourceNotFound" and "KubeVirt is not installed" in found.message


async def test_a_resource_that_comes_later_is_followed_from_then_on(bare: ControlPlane, client: Client) -> None:
    later = Resource(group="later.test", version="v1", plural="things", kind="Thing", namespaced=False)
    seen: list[str] = []
    reflector = Reflector(client, later, lambda key, _new, _old: seen.append(key))
    optional = OptionalReflector(client, reflector, interval=0.1)
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    crds = Resource(
        group="apiextensions.k8s.io",
        version="v1",
        plural="customresourcedefinitions",
        kind="CustomResourceDefinition",
        namespaced=False,
    )
    definition = {
        "metadata": {"name": "things.later.test"},
        "spec": {
            "group": "later.test",
            "scope": "Cluster",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [version],
        },
    }
    async with running(optional.run()):
        await asyncio.wait_for(optional.synced.wait(), timeout=10)
        await client.send(create(crds, definition))
        bare.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/things.later.test")
        await client.send(create(later, {"metadata": {"name": "first"}}))

        async def told(*names: str) -> bool:
            return seen == list(names)

        await eventually(lambda: told("first"), timeout=20, what="the object to be told")
        await client.send(create(later, {"metadata": {"name": "second"}}))
        await eventually(lambda: told("first", "second"), timeout=20, what="the watch to tell another one")


async def test_kubevirts_configuration_is_known_from_when_it_is_installed_and_told_when_it_changes(
    bare: ControlPlane, client: Client, namespace: str
) -> None:
    changes: list[Resource] = []
    inventory = Inventory(
        client, "mdev-node-agent", lambda r, _name: changes.append(r), lambda _node: None, look_interval=0.2
    )

    async def known(**expected: Any) -> bool:
        config = inventory.cluster().kubevirt
        seen = {} if config is None else {"no_hook": config.no_hook, "external": [d.selector for d in config.declared]}
        return seen == expected

    async def kubevirt(body: Object) -> None:
        await client.send(merge_patch(KUBEVIRTS, "kubevirt", body, namespace))

    async with running(inventory.run()):
        await asyncio.wait_for(inventory.synced(), timeout=20)
        assert await known(), "without KubeVirt the inventory is complete, and knows that there is none"
        install(bare)
        await client.send(create(KUBEVIRTS, {"metadata": {"name": "kubevirt"}, "spec": {}}, namespace))
        off = "KubeVirt's feature gate Plugins is off"
        await eventually(lambda: known(no_hook=off, external=[]), timeout=20, what="KubeVirt to be seen")

        entry = {"mdevNameSelector": "t", "resourceName": "r/t", "externalResourceProvider": True}
        permitted = {"permittedHostDevices": {"mediatedDevices": [entry]}}
        gates = {"developerConfiguration": {"featureGates": ["Plugins"]}}
        await kubevirt({"spec": {"configuration": {**permitted, **gates}}})
        none = "there is no KubeVirt Plugin mdev-operator"
        await eventually(lambda: known(no_hook=none, external=["t"]), timeout=10, what="the new configuration")

        hook = {"permittedHooks": ["PreMigrationTarget"], "socket": "/var/run/kubevirt/x.sock"}
        await client.send(create(PLUGINS, {"metadata": {"name": "mdev-operator"}, "spec": {"nodeHooks": [hook]}}))
        await eventually(lambda: known(no_hook=None, external=["t"]), timeout=10, what="the Plugin")
        await kubevirt({"metadata": {"labels": {"of-no": "interest"}}})
        await client.send(delete(PLUGINS, "mdev-operator"))
        await eventually(lambda: known(no_hook=none, external=["t"]), timeout=10, what="the Plugin's end")
    assert [r for r in changes if r in (KUBEVIRTS, PLUGINS)] == [KUBEVIRTS, KUBEVIRTS, PLUGINS, PLUGINS]


async def test_a_vm_that_does_not_exist_is_told_by_its_name(bare: ControlPlane, client: Client, namespace: str) -> None:
    install(bare)
    found = await look_up_vm(client.send, of_vm(namespace))
    assert isinstance(found, NoSource) and f"VirtualMachineInstance {namespace}/vm" in found.message


async def test_a_running_vm_is_found_with_the_pod_that_holds_its_device(
    bare: ControlPlane, client: Client, namespace: str
) -> None:
    install(bare)
    devices = {"gpus": [{"name": "gpu1", "deviceName": "gfx.com/GPU"}]}
    vmi = {"metadata": {"name": "vm"}, "spec": {"domain": {"devices": devices}}}
    stored = await client.send(create(VMIS, vmi, namespace))
    mine = {"kubevirt.io/created-by": stored["metadata"]["uid"]}
    active = await runs(client, namespace, pod(mine, "virt-launcher-vm-1", "node-a"))
    await runs(client, namespace, pod({"kubevirt.io/created-by": "another"}, "virt-launcher-other", "node-a"))
    await client.send(create(PODS, pod(mine, "virt-launcher-vm-2", gated=True), namespace))
    status = {"phase": "Running", "nodeName": "node-a", "activePods": {active["metadata"]["uid"]: "node-a"}}
    await client.send(merge_patch(VMIS, "vm", {"status": status}, namespace))
    assert await look_up_vm(client.send, of_vm(namespace)) == VmView(
        name="vm",
        node="node-a",
        pod_namespace=namespace,
        pod_name="virt-launcher-vm-1",
        resource="gfx.com/GPU",
    )


async def test_the_pod_that_waits_for_a_migration_is_found_by_the_migrations_uid(
    client: Client, namespace: str
) -> None:
    vmim_uid = str(uuid.uuid4())
    mine = {"kubevirt.io/migrationJobUID": vmim_uid}
    await runs(client, namespace, pod({"kubevirt.io/migrationJobUID": str(uuid.uuid4())}, "before", "node-a"))
    await client.send(
        create(
            PODS,
            pod(mine, "hp-volume", gated=True)
            | {"metadata": {"name": "hp-volume", "labels": {**mine, "kubevirt.io": "hotplug-disk"}}},
            namespace,
        )
    )
    waiting = pod(mine, "virt-launcher-vm-2", gated=True, nodeSelector={"zone": "z1"})
    await client.send(create(PODS, waiting, namespace))
    migration = of_vm(namespace, f"vmim-{vmim_uid}", labels={"mdev-operator.io/vmim": "kubevirt-evacuation-1"})
    found = await look_up_pod(client.send, migration)
    assert isinstance(found, PodConstraints)
    assert (found.name, found.node_selector) == ("virt-launcher-vm-2", {"zone": "z1"})


async def test_a_migration_whose_pod_is_gone_or_ungated_waits_for_none(client: Client, namespace: str) -> None:
    vmim_uid = str(uuid.uuid4())
    migration = of_vm(namespace, f"vmim-{vmim_uid}", labels={"mdev-operator.io/vmim": "mine"})
    found = await look_up_pod(client.send, migration)
    assert isinstance(found, NoSource) and found.reason == "TargetPodNotFound" and vmim_uid in found.message
    await client.send(create(PODS, pod({"kubevirt.io/migrationJobUID": vmim_uid}, "ungated"), namespace))
    assert isinstance(await look_up_pod(client.send, migration), NoSource)


async def test_a_migration_that_a_user_made_waits_for_no_pod(client: Client, namespace: str) -> None:
    assert await look_up_pod(client.send, of_vm(namespace)) is None
    assert await look_up_pod(client.send, of_vm(namespace, f"vmim-{uuid.uuid4()}")) is None
