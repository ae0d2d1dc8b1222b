"""A small kubelet: PodResources v1 on a real unix socket, with pods and devices as a test wants them.

As the real one it forgets nothing when it restarts but what device plugins offer, which they tell it anew.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from mdev_node_agent.kubelet.protos import podresources_v1_pb2 as api
from mdev_node_agent.kubelet.protos import podresources_v1_pb2_grpc as services


class FakeKubelet:
    """``directory`` is the kubelet's, as ``--kubelet-dir`` names it; keep its path short (a socket's has 107 bytes)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked = 0
        """How many times List was called."""
        self.hangs = False
        """Let calls wait until they are given up."""
        self._given: dict[tuple[str, str], dict[str, list[str]]] = {}
        self._offered: dict[str, list[str]] = {}
        self._server: Any = None
        self._stopping = threading.Event()

    @property
    def socket(self) -> Path:
        """The socket of PodResources."""
        return self.directory / "pod-resources" / "kubelet.sock"

    def offered(self, resource: str) -> list[str]:
        """The devices of the resource that are offered."""
        return list(self._offered.get(resource, ()))

    def given(self, resource: str, pod: str | None = None) -> list[str]:
        """The devices of the resource that pods have, or that this one has."""
        return [
            device
            for (_, name), devices in self._given.items()
            for device in devices.get(resource, ())
            if pod in (None, name)
        ]

    def offer(self, resource: str, *devices: str) -> None:
        """A device plugin offers these devices as healthy, and no others."""
        self._offered[resource] = list(devices)

    def give(self, namespace: str, pod: str, resource: str, *devices: str) -> None:
        """The pod has these devices of the resource."""
        self._given.setdefault((namespace, pod), {})[resource] = list(devices)

    def end(self, namespace: str, pod: str) -> None:
        """The pod is gone."""
        self._given.pop((namespace, pod), None)

    def start(self) -> None:
        """Serve. A socket that an earlier kubelet left behind is replaced."""
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self._stopping.clear()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4))
        services.add_PodResourcesListerServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.socket}")
        self._server.start()

    def stop(self) -> None:
        """End; what device plugins offered is forgotten."""
        self._stopping.set()
        self._server.stop(None).wait()
        self._offered.clear()

    @contextmanager
    def running(self) -> Iterator[FakeKubelet]:
        """Served within the block."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def List(self, request: Any, context: Any) -> api.ListPodResourcesResponse:  # noqa: N802 (the service's name)
        """Every pod with its devices, one message for each device as the real kubelet has it."""
        self.asked += 1
        self._hang()
        pods = [
            api.PodResources(
                namespace=namespace,
                name=name,
                containers=[api.ContainerResources(name="compute", devices=_messages(given))],
            )
            for (namespace, name), given in list(self._given.items())
        ]
        return api.ListPodResourcesResponse(pod_resources=pods)

    def GetAllocatableResources(  # noqa: N802 (the service's name)
        self, request: Any, context: Any
    ) -> api.AllocatableResourcesResponse:
        """What is offered."""
        self._hang()
        return api.AllocatableResourcesResponse(devices=_messages(dict(self._offered)))

    def _hang(self) -> None:
        if self.hangs:
            self._stopping.wait(30)


def _messages(devices: dict[str, list[str]]) -> list[api.ContainerDevices]:
    return [
        api.ContainerDevices(resource_name=resource, device_ids=[device])
        for resource, ids in devices.items()
        for device in ids
    ]
