"""A VM's migration in a real cluster: the API server's own gate, the operator and the agents as deployed with their
rights, and on two real kubelets the device plugin, the pods and what the kubelet says about them.

Played are the kernel's devices (sysfs_tree), a vendor's device plugin (device_plugin), and KubeVirt.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mdev_api.kube.client import Client
from mdev_api.kube.requests import get
from mdev_api.kube.resources import NODE_DEVICES
from tests.e2e import sysfs_tree
from tests.e2e.agents import agent_of, restart_agent
from tests.e2e.cluster import NODES, Cluster
from tests.e2e.deployment import AGENTS, RESOURCE
from tests.e2e.places import RUN
from tests.kubevirt.cluster import VirtualCluster, virtual_cluster
from tests.kubevirt.virt_controller import VMIS
from tests.waiting import eventually

Object = dict[str, Any]

SOURCE, TARGET = NODES
SIZES = (4096, 8192)
VARIABLE = "MDEV_PCI_RESOURCE_GPU_EXAMPLE_COM_GFX"
HOOK = "/var/run/kubevirt/plugins/mdev-operator.sock"
HERE = Path(__file__).parent


async def slots(client: Client, node: str) -> list[str]:
    """The free devices of the resource on a node, as its agent publishes them."""
    status = (await client.send(get(NODE_DEVICES, node))).get("status") or {}
    found = [slot for slot in status.get("slots", ()) if slot["resource"] == RESOURCE]
    return found[0].get("instances", []) if found else []


async def give(client: Client, cluster: Cluster, node: str, devices: Mapping[str, int]) -> None:
    """Have these devices on the node, and no others; wait until kubelet and agent know them."""
    sysfs_tree.make(cluster.tree(node), instances=devices, allowed=SIZES)
    restart_agent(cluster, node)  # nothing tells it of a change that no kernel made

    async def look() -> bool:
        return await slots(client, node) == sorted(devices)

    await eventually(look, timeout=60, what=f"the agent of {node} to publish {sorted(devices)}", interval=0.5)


def call_hook(cluster: Cluster, node: str, vmi: Object) -> str:
    """What virt-handler of the node is told."""
    program = (HERE / "call_hook.py").read_text()
    return cluster.kubectl(
        *("exec", "-i", f"--namespace={AGENTS}", agent_of(cluster, node), "--"),
        *("/opt/mdev/bin/python", "-c", program, HOOK),
        stdin=json.dumps(vmi),
    ).strip()


def environment_of(cluster: Cluster, pod: Object) -> dict[str, str]:
    """The environment of the program in a pod."""
    meta = pod["metadata"]
    told = cluster.kubectl("logs", f"--namespace={meta['namespace']}", meta["name"])
    return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)


@asynccontextmanager
async def virtual_machines(client: Client, cluster: Cluster) -> AsyncIterator[VirtualCluster]:
    """KubeVirt, played, whose pods tell their environment and wait to be ended."""

    async def hook(vmi: Object) -> str | None:
        current = await vms.find(VMIS, vmi["metadata"]["name"])
        assert current is not None
        answer = await asyncio.to_thread(call_hook, cluster, current["status"]["migrationState"]["targetNode"], current)
        return None if answer == "let in" else answer

    container = {"image": (RUN / "pod-image").read_text(), "command": ["sh", "-c", "env; exec sleep 3600"]}
    async with virtual_cluster(client, gated=False, container=container, hook=hook) as vms:
        yield vms


async def test_a_vm_moves_into_a_slot_that_was_held_and_written_on_a_real_kubelet(
    admin: Client, cluster: Cluster
) -> None:
    has, free = str(uuid.uuid4()), [str(uuid.uuid4()) for _ in range(2)]
    await give(admin, cluster, SOURCE, {has: 8192})
    await give(admin, cluster, TARGET, dict.fromkeys(free, 4096))
    async with virtual_machines(admin, cluster) as vms:
        await vms.player.start_vm("vm", SOURCE, RESOURCE)
        vmim = await vms.player.submit("move", "vm")
        await vms.phase("move", "Succeeded", timeout=90)
        done = await vms.finished(vmim, "Succeeded")
        (pod,) = await vms.target_pods()
        picked = environment_of(cluster, pod)[VARIABLE]

        assert (await vms.where("vm"), pod["spec"]["nodeName"]) == (TARGET, TARGET)
        assert picked in free
        assert sysfs_tree.memory_of(cluster.tree(TARGET), picked) == 8192
        assert sysfs_tree.memory_of(cluster.tree(TARGET), next(d for d in free if d != picked)) == 4096
        assert done["status"]["devices"][0]["instance"] == picked
        assert await slots(admin, TARGET) == [d for d in free if d != picked]
