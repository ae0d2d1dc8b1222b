"""Migrations of VMs through all of this project: gate policy, operator, agents and node hook are the real ones.

Played are KubeVirt, the kubelet's PodResources, and the kernels. The API server and the scheduler are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdev_api.kube.client import Client
from mdev_api.kube.requests import list_page
from mdev_api.kube.resources import NODE_RESERVATIONS
from tests.agent.node import Node, ensure_namespace
from tests.controlplane.control_plane import ControlPlane
from tests.kubelet.fake import FakeKubelet
from tests.kubelet.virt_handler import call_hook
from tests.kubevirt.cluster import RESOURCE, VirtualCluster, administrator, establish, virtual_cluster
from tests.kubevirt.operator import operator
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

Object = dict[str, Any]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SPACE = "test-kubevirt-operator"
DEADLINE = 8.0


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """KubeVirt's kinds and configuration, the gate policy for the resource of these tests, and the operator."""
    establish(control_plane)
    control_plane.kubectl("create", "namespace", SPACE)
    policy = (DEPLOY / "gate-policy.yaml").read_text(encoding="utf-8").replace("nvidia.com/GRID_T4-2Q", RESOURCE)
    control_plane.kubectl("apply", "--server-side", "--filename=-", input=policy)
    control_plane.kubectl("apply", "--server-side", f"--filename={DEPLOY / 'plugin.yaml'}")
    control_plane.kubectl("apply", "--server-side", "--filename=-", input=yaml.safe_dump(kubevirt()))
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with operator(control_plane.kubeconfig, log, SPACE, f"--gate-deadline={DEADLINE:g}") as said:
        yield control_plane
        print(said())
    control_plane.kubectl("delete", "--filename=-", "--wait=false", input=yaml.safe_dump(kubevirt()))
    for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
        control_plane.kubectl("delete", kind, "mdev-operator-gate")


def kubevirt() -> Object:
    """The KubeVirt CR: others than virt-handler make the devices, and node hooks are called."""
    declared = [
        {"mdevNameSelector": f"gfx-{size}", "resourceName": RESOURCE, "externalResourceProvider": True}
        for size in ("4GB", "8GB", "varGB")
    ]
    configuration = {
        "developerConfiguration": {"featureGates": ["Plugins", "VGPULiveMigration"]},
        "permittedHostDevices": {"mediatedDevices": declared},
    }
    metadata = {"name": "kubevirt", "namespace": SPACE}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": metadata,
        "spec": {"configuration": configuration},
    }


@dataclass(kw_only=True)
class Machines:
    """The nodes of one test behind the API: kernels, kubelets, agents."""

    cluster: VirtualCluster
    directory: Path
    sockets: Path
    stack: contextlib.AsyncExitStack
    kubeconfig: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    kubelets: dict[str, FakeKubelet] = field(default_factory=dict)

    async def add(self, name: str, *devices: tuple[str, int | None]) -> str:
        """A node whose plugin serves ``devices``: type, and memory if it is not the initial one. Its full name."""
        full = await self.cluster.add_node(name, devices=len(devices))
        kubelet = FakeKubelet(self.sockets / name)
        kernel = MemoryKernel(drivers=[Gfx()])
        ids = []
        for type_id, memory in devices:
            device = str(uuid.uuid4())
            kernel.write(f"class/mdev_bus/gfx0/mdev_supported_types/{type_id}/create", device)
            if memory is not None:
                kernel.write(f"bus/mdev/devices/{device}/migration/memory", str(memory))
            ids.append(device)
        kubelet.offer(RESOURCE, *ids)
        node = Node(
            name=full,
            kernel=kernel,
            client=self.cluster.client,
            kubeconfig=self.kubeconfig,
            state_dir=self.directory / name,
            kubelet_dir=kubelet.directory,
            hook_socket=self.sockets / f"{name}.sock",
        )
        self.stack.enter_context(kubelet.running())
        await self.stack.enter_async_context(node.agent())
        self.nodes[full], self.kubelets[full] = node, kubelet
        return full

    async def admit(self, pod: Object) -> bool:
        """As the kubelet: any free device of each resource that the pod asks for; False: there is none."""
        kubelet = self.kubelets[pod["spec"]["nodeName"]]
        offered = kubelet.offered(RESOURCE)
        free = [device for device in offered if device not in kubelet.given(RESOURCE)]
        if not free:
            return False
        meta = pod["metadata"]
        kubelet.give(meta["namespace"], meta["name"], RESOURCE, free[-1])
        return True

    def release(self, pod: Object) -> None:
        """As the kubelet, once the pod is gone."""
        meta = pod["metadata"]
        self.kubelets[pod["spec"]["nodeName"]].end(meta["namespace"], meta["name"])

    async def hook(self, vm: Object) -> str | None:
        """As virt-handler of the target node."""
        node = self.nodes[vm["status"]["migrationState"]["targetNode"]]
        assert node.hook_socket is not None
        return await call_hook(node.hook_socket, vm)

    def memory(self, node: str, pod: str) -> str:
        """What the device of a pod has."""
        (device,) = self.kubelets[node].given(RESOURCE, pod)
        return self.nodes[node].kernel.read(f"bus/mdev/devices/{device}/migration/memory").strip()

    async def serving(self, node: str, *, pods: int) -> None:
        """Wait until the agent has published who has which device, and what is free."""

        async def look() -> bool:
            status = await self.nodes[node].status()
            slots = [s for s in status.get("slots", ()) if s["resource"] == RESOURCE]
            return bool(slots) and len(status.get("serving", ())) == pods

        await eventually(look, timeout=30, what=f"{node} to publish its {pods} pods")


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[Client]:
    async with administrator(plane) as client:
        await ensure_namespace(client)
        yield client


@pytest.fixture
async def machines(plane: ControlPlane, admin: Client, tmp_path: Path) -> AsyncIterator[Machines]:
    sockets = Path(tempfile.mkdtemp(prefix="kv"))
    try:
        async with contextlib.AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(virtual_cluster(admin, gated=False))
            agents = await stack.enter_async_context(contextlib.AsyncExitStack())
            made = Machines(
                cluster=cluster, directory=tmp_path, sockets=sockets, stack=agents, kubeconfig=plane.kubeconfig
            )
            player = cluster.player
            player.admit, player.release, player.hook = made.admit, made.release, made.hook
            yield made
    finally:
        shutil.rmtree(sockets)


async def start_vm(machines: Machines, node: str) -> None:
    await machines.cluster.player.start_vm("vm", node, RESOURCE)
    await machines.serving(node, pods=1)


async def nothing_is_held(machines: Machines) -> None:
    """Every reservation on the nodes of this test was answered and removed."""

    async def look() -> bool:
        listed = await machines.cluster.client.send(list_page(NODE_RESERVATIONS))
        here = [o for o in listed["items"] if o["metadata"]["name"] in machines.nodes]
        return not any((o.get("spec") or {}).get("reservations") for o in here)

    await eventually(look, timeout=30, what="no reservation to be left")


async def test_a_vm_lands_on_the_node_that_can_take_its_device_and_the_device_is_made_like_it(
    machines: Machines,
) -> None:
    cluster = machines.cluster
    a, _, _ = await asyncio.gather(
        machines.add("a", ("gfx-varGB", 8192)),
        machines.add("b", ("gfx-4GB", None), ("gfx-4GB", None)),
        machines.add("c", ("gfx-varGB", None), ("gfx-varGB", 2048)),
    )
    await start_vm(machines, a)

    vmim = await cluster.player.submit("move", "vm")
    await cluster.phase("move", "Succeeded")
    done = await cluster.finished(vmim, "Succeeded")

    c = await cluster.where("vm")
    assert c.startswith("c-")
    (pod,) = await cluster.target_pods()
    assert machines.memory(c, pod["metadata"]["name"]) == "8192"
    assert done["spec"]["binding"] == "Late"
    await nothing_is_held(machines)


async def test_when_no_node_can_take_it_the_reasons_are_read_within_the_deadline_and_the_vm_stays(
    machines: Machines,
) -> None:
    cluster = machines.cluster
    a, _ = await asyncio.gather(
        machines.add("a", ("gfx-varGB", 8192)), machines.add("b", ("gfx-4GB", None), ("gfx-4GB", None))
    )
    await start_vm(machines, a)

    vmim = await cluster.player.submit("move", "vm")
    await cluster.phase("move", "Failed", timeout=DEADLINE + 10)

    notes = await cluster.notes("VirtualMachineInstance")
    assert sorted(notes) == sorted(await cluster.notes("VirtualMachineInstanceMigration"))
    b = next(node for node in machines.nodes if node.startswith("b-"))
    assert any(note.startswith("ValueNotAllowed") and b in note and "memory" in note for note in notes), notes
    await cluster.finished(vmim, "Deadline")
    assert await cluster.where("vm") == a and await cluster.target_pods() == []
    await nothing_is_held(machines)


async def test_a_device_that_cannot_be_made_right_fails_the_migration_with_the_reason_and_the_vm_stays(
    machines: Machines,
) -> None:
    cluster = machines.cluster
    a, c = await asyncio.gather(machines.add("a", ("gfx-varGB", 8192)), machines.add("c", ("gfx-varGB", None)))
    machines.nodes[c].kernel.write("module/gfx/parameters/fail_write", "memory\n")
    await start_vm(machines, a)

    vmim = await cluster.player.submit("move", "vm")
    await cluster.phase("move", "Failed")

    await cluster.finished(vmim, "Failed")
    assert cluster.player.refusals
    assert any("memory" in note for note in await cluster.notes("VirtualMachineInstance"))
    assert await cluster.where("vm") == a
    await nothing_is_held(machines)
