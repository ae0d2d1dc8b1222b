"""Run in the agent's pod: what virt-handler does before a VM moves in. stdin: the VirtualMachineInstance as JSON.

Prints ``let in``, or the code and message of the refusal.
"""

from __future__ import annotations

import sys

import grpc

from mdev_node_agent.kubelet.protos import nodehook_v1alpha1_pb2 as api
from mdev_node_agent.kubelet.protos import nodehook_v1alpha1_pb2_grpc as services


def main(socket: str) -> None:
    """One call."""
    request = api.ExecuteNodeHookRequest(hookPoint="PreMigrationTarget", vmi=sys.stdin.buffer.read())
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        try:
            services.NodeHookServiceStub(channel).ExecuteNodeHook(request, timeout=30, wait_for_ready=True)
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}")
        else:
            print("let in")


if __name__ == "__main__":
    main(sys.argv[1])
