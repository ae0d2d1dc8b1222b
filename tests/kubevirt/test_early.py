"""Two VMs move to one node at once, and each gets the device that was prepared for it: our own plugin, binding Early.

The agents, their device plugin and the operator are the real ones; KubeVirt, the kubelet's device manager and the
kernels are played. The kubelet does not tell a plugin which pod a device is for: only the order of things can.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdev_api.kube.client import Client
from mdev_api.kube.requests import merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS, NODES
from mdev_node_agent.kubelet import plugin
from tests.agent.node import Node, ensure_namespace
from tests.controlplane.control_plane import ControlPlane
from tests.kubelet.device_manager import AdmissionError, DeviceManager
from tests.kubelet.fake import FakeKubelet
from tests.kubevirt.cluster import VirtualCluster, administrator, establish, virtual_cluster
from tests.kubevirt.operator import operator
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

Object = dict[str, Any]

SPACE = "test-kubevirt-early"
RESOURCE = "gpu.example.com/gfx-early"


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """KubeVirt's kinds, a KubeVirt CR that leaves the resource to others, and the operator."""
    establish(control_plane)
    control_plane.kubectl("create", "namespace", SPACE)
    control_plane.kubectl("apply", "--server-side", "--filename=-", input=yaml.safe_dump(kubevirt()))
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with operator(control_plane.kubeconfig, log, SPACE, "--gate-deadline=40") as said:
        yield control_plane
        print(said())
    control_plane.kubectl("delete", "--filename=-", "--wait=false", input=yaml.safe_dump(kubevirt()))


def kubevirt() -> Object:
    """The KubeVirt CR."""
    declared = {"mdevNameSelector": "gfx-varGB", "resourceName": RESOURCE, "externalResourceProvider": True}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt", "namespace": SPACE},
        "spec": {"configuration": {"permittedHostDevices": {"mediatedDevices": [declared]}}},
    }


@dataclass(kw_only=True)
class Machines:
    """The nodes behind the API, each with a kubelet's device manager, and which device each pod was given."""

    cluster: VirtualCluster
    nodes: dict[str, Node] = field(default_factory=dict)
    managers: dict[str, DeviceManager] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)

    async def admit(self, pod: Object) -> bool:
        """As the kubelet: whatever the plugin prefers and hands out."""
        meta, manager = pod["metadata"], self.managers[pod["spec"]["nodeName"]]
        try:
            made = await asyncio.to_thread(manager.admit, meta["namespace"], meta["name"], RESOURCE)
        except AdmissionError:
            return False
        (self.given[meta["name"]],) = made.environment.values()
        return True

    def release(self, pod: Object) -> None:
        """As the kubelet, once the pod is gone."""
        self.managers[pod["spec"]["nodeName"]].end(pod["metadata"]["namespace"], pod["metadata"]["name"])

    def attribute(self, node: str, pod: str) -> str:
        """The file with the memory of a pod's device."""
        return f"bus/mdev/devices/{self.given[pod]}/migration/memory"


@pytest.fixture
async def machines(plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machines]:
    monkeypatch.setattr(plugin, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(plugin, "PAUSE_SECONDS", 0.2)
    sockets = Path(tempfile.mkdtemp(prefix="ke"))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, sockets)
        client = await stack.enter_async_context(administrator(plane))
        await ensure_namespace(client)
        cluster = await stack.enter_async_context(virtual_cluster(client))
        made = Machines(cluster=cluster)
        cluster.player.admit, cluster.player.release = made.admit, made.release
        for name in ("a", "b"):
            full = await cluster.add_node(name)
            room = {RESOURCE: "4"}
            await client.send(
                merge_patch(NODES, full, {"status": {"capacity": room, "allocatable": room}}, subresource="status")
            )
            kubelet = FakeKubelet(sockets / name)
            made.managers[full] = DeviceManager(kubelet)
            stack.enter_context(kubelet.running())
            stack.enter_context(made.managers[full].running())
            made.nodes[full] = _node(full, client, plane, tmp_path / name, kubelet)
            await stack.enter_async_context(made.nodes[full].agent(rescan_seconds=1.0))
            await _offered(made.managers[full])
        yield made


def _node(name: str, client: Client, plane: ControlPlane, state_dir: Path, kubelet: FakeKubelet) -> Node:
    return Node(
        name=name,
        kernel=MemoryKernel(drivers=[Gfx()]),
        client=client,
        kubeconfig=plane.kubeconfig,
        state_dir=state_dir,
        kubelet_dir=kubelet.directory,
        serve=(f"{RESOURCE}=gfx-varGB",),
    )


async def _offered(manager: DeviceManager) -> None:
    async def look() -> bool:
        return bool(manager.healthy(RESOURCE))

    await eventually(look, timeout=20, what="the plugin to offer devices")


async def start_vm(machines: Machines, name: str, node: str, memory: int) -> None:
    """A VM on the node with a device of this size, as its agent shows it."""
    await machines.cluster.player.start_vm(name, node, RESOURCE)
    (pod,) = [p for p in machines.given if p.startswith(f"virt-launcher-{name}-")]
    machines.nodes[node].kernel.write(machines.attribute(node, pod), str(memory))

    async def look() -> bool:
        instance = (await machines.nodes[node].instances()).get(machines.given[pod])
        return instance is not None and instance.get("values", {}).get("memory") == str(memory)

    await eventually(look, timeout=20, what=f"the device of {name} with {memory}")


async def test_two_vms_that_move_to_one_node_at_once_each_get_their_own_device(machines: Machines) -> None:
    cluster = machines.cluster
    a, b = machines.nodes
    sizes = {"big": 8192, "small": 4096}
    for name, memory in sizes.items():
        await start_vm(machines, name, a, memory)

    vmims = {name: await cluster.player.submit(f"move-{name}", name) for name in sizes}
    for vmim in vmims.values():
        done = await cluster.finished(vmim, "Succeeded")
        assert done["spec"]["binding"] == "Early"

    for name, memory in sizes.items():
        assert await cluster.where(name) == b
        labels = {p["metadata"]["name"]: p["metadata"]["labels"] for p in await cluster.target_pods()}
        uid = vmims[name]["metadata"]["uid"]
        (pod,) = [p for p, have in labels.items() if have["kubevirt.io/migrationJobUID"] == uid]
        assert machines.nodes[b].kernel.read(machines.attribute(b, pod)).strip() == str(memory), name


async def test_a_foreign_pod_of_the_same_namespace_that_takes_the_device_ends_the_migration_with_that_reason(
    machines: Machines,
) -> None:
    cluster = machines.cluster
    a, b = machines.nodes
    await start_vm(machines, "vm", a, 8192)
    cluster.player.kubelet_holds.add(b)
    vmim = await cluster.player.submit("move", "vm")
    name = f"vmim-{vmim['metadata']['uid']}"
    await cluster.until(DEVICE_MIGRATIONS, name, "started", lambda o: bool(o and o["spec"].get("started")))

    taken = await asyncio.to_thread(machines.managers[b].admit, cluster.namespace, "intruder", RESOURCE)

    done = await cluster.finished(vmim, "Failed")
    assert done["spec"]["outcome"] == "Failed"
    await cluster.phase("move", "Failed")
    assert any(f"pod {cluster.namespace}/intruder" in note for note in await cluster.notes("VirtualMachineInstance"))
    assert await cluster.where("vm") == a
    (device,) = taken.environment.values()
    assert device in await machines.nodes[b].instances(), "what the foreign pod has must stay"
