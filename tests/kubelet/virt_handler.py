"""What virt-handler does with a node hook: one gRPC call on a unix socket, with the VirtualMachineInstance as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc

from mdev_node_agent.kubelet.protos import nodehook_v1alpha1_pb2 as api
from mdev_node_agent.kubelet.protos import nodehook_v1alpha1_pb2_grpc as services


def vmi(name: str, *, resource: str | None, migration: str, pod: str, namespace: str = "default") -> dict[str, Any]:
    """A VirtualMachineInstance with one GPU of ``resource`` that is about to migrate into ``pod``."""
    gpus = [] if resource is None else [{"name": "gpu", "deviceName": resource}]
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"domain": {"devices": {"gpus": gpus}}},
        "status": {"migrationState": {"migrationUid": migration, "targetPod": pod}},
    }


async def call_hook(socket: Path, content: dict[str, Any] | bytes, *, point: str = "PreMigrationTarget") -> str | None:
    """Call the hook; None if it lets the migration in, else ``<code>: <message>`` as virt-handler tells it."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    request = api.ExecuteNodeHookRequest(hookPoint=point, vmi=raw, node_context=api.NodeContext(node_name="node"))
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        try:
            await services.NodeHookServiceStub(channel).ExecuteNodeHook(request, timeout=30, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
    return None
