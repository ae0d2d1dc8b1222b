"""VMs in the cluster: KubeVirt is played, its pods and everything below them are real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import get
from mdev_api.kube.resources import NODE_DEVICES
from tests.e2e import sysfs_tree
from tests.e2e.agents import agent_of, restart_agent
from tests.e2e.cluster import Cluster
from tests.e2e.deployment import AGENTS, PYTHON, RESOURCE
from tests.e2e.places import RUN
from tests.kubevirt.cluster import VirtualCluster, virtual_cluster
from tests.kubevirt.virt_controller import VMIS
from tests.waiting import eventually

Object = dict[str, Any]

SIZES = (4096, 8192)
HOOK = "/var/run/kubevirt/plugins/mdev-operator.sock"
HERE = Path(__file__).parent
PATIENCE = 90.0


async def slot(client: Client, node: str, resource: str) -> Object:
    """The free devices of the resource on a node, as its agent publishes them; empty if it does not."""
    try:
        status = (await client.send(get(NODE_DEVICES, node))).get("status") or {}
    except ApiError as error:
        if not error.not_found:
            raise
        return {}
    return next((slot for slot in status.get("slots", ()) if slot["resource"] == resource), {})


async def give(
    client: Client, cluster: Cluster, node: str, devices: Mapping[str, int] | None = None, available: int = 0
) -> None:
    """Have these devices on the node, and room for so many more; wait until kubelet and agent know of them."""
    devices = devices or {}
    sysfs_tree.make(cluster.tree(node), instances=devices, allowed=SIZES, available=available)
    restart_agent(cluster, node)  # nothing tells it of a change that no kernel made

    async def look() -> bool:
        there = (await slot(client, node, RESOURCE)).get("instances", [])
        return bool(there == sorted(devices))

    await eventually(look, timeout=PATIENCE, what=f"the agent of {node} to publish {sorted(devices)}", interval=0.5)


def call_hook(cluster: Cluster, node: str, vmi: Object) -> str | None:
    """What virt-handler of the node would be told instead of letting the VM in."""
    program = (HERE / "call_hook.py").read_text()
    where = ("exec", "-i", f"--namespace={AGENTS}", agent_of(cluster, node), "--")
    answer = cluster.kubectl(*where, PYTHON, "-c", program, HOOK, stdin=json.dumps(vmi)).strip()
    return None if answer == "let in" else answer


def environment_of(cluster: Cluster, pod: Object) -> dict[str, str]:
    """The environment of the program in a pod, as the pod itself has told it."""
    meta = pod["metadata"]
    told = cluster.kubectl("logs", f"--namespace={meta['namespace']}", meta["name"])
    return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)


@asynccontextmanager
async def virtual_machines(client: Client, cluster: Cluster) -> AsyncIterator[VirtualCluster]:
    """KubeVirt for one test, whose pods tell their environment and wait to be ended."""

    async def hook(vmi: Object) -> str | None:
        current = await vms.find(VMIS, vmi["metadata"]["name"])
        assert current is not None
        node = current["status"]["migrationState"]["targetNode"]
        return await asyncio.to_thread(call_hook, cluster, node, current)

    script = "env; trap 'exit 0' TERM; sleep 3600 & wait"
    container = {"image": (RUN / "pod-image").read_text(), "command": ["sh", "-c", script]}
    async with virtual_cluster(client, gated=False, container=container, hook=hook) as vms:
        yield vms
