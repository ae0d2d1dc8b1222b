"""A device plugin as vendors have it, for the mediated devices that exist on the node: a program of its own in a pod.

It plays NVIDIA's or KubeVirt's: a device id is the UUID of the mdev, and the container that gets one is told it in the
variable that virt-launcher reads. No device node goes with it, since no kernel is behind these devices. It runs with
the agent's image, for that image's gRPC code; nothing else is shared.

Arguments: resource, directory whose entries are the devices, the kubelet's directory of device plugins.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from mdev_node_agent.kubelet.protos import deviceplugin_v1beta1_pb2 as api
from mdev_node_agent.kubelet.protos import deviceplugin_v1beta1_pb2_grpc as services

LOOK_SECONDS = 0.5


class Plugin(services.DevicePluginServicer):
    """Serves every device that is in the directory."""

    def __init__(self, resource: str, devices: Path) -> None:
        self._devices = devices
        self._variable = "MDEV_PCI_RESOURCE_" + re.sub(r"[^A-Z0-9]", "_", resource.upper())

    def GetDevicePluginOptions(self, request: Any, context: Any) -> Any:  # noqa: N802
        return api.DevicePluginOptions()

    def ListAndWatch(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        told: list[str] | None = None
        while context.is_active():
            found = sorted(entry.name for entry in self._devices.iterdir()) if self._devices.is_dir() else []
            if found != told:
                yield api.ListAndWatchResponse(devices=[api.Device(ID=name, health="Healthy") for name in found])
                told = found
            time.sleep(LOOK_SECONDS)

    def Allocate(self, request: Any, context: Any) -> Any:  # noqa: N802
        answers = [
            api.ContainerAllocateResponse(envs={self._variable: ",".join(wanted.devices_ids)})
            for wanted in request.container_requests
        ]
        return api.AllocateResponse(container_responses=answers)


def main(resource: str, devices: Path, plugins: Path) -> None:
    """Serve until killed; register anew whenever the kubelet has restarted, which empties its directory."""
    socket = plugins / f"{re.sub('[^a-z0-9]', '-', resource)}.sock"
    while True:
        socket.unlink(missing_ok=True)
        server = grpc.server(ThreadPoolExecutor(max_workers=4))
        services.add_DevicePluginServicer_to_server(Plugin(resource, devices), server)
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        with grpc.insecure_channel(f"unix:{plugins / 'kubelet.sock'}") as channel:
            request = api.RegisterRequest(version="v1beta1", endpoint=socket.name, resource_name=resource)
            services.RegistrationStub(channel).Register(request, timeout=30, wait_for_ready=True)
        print(f"registered {resource}", flush=True)
        while socket.exists():
            time.sleep(LOOK_SECONDS)
        server.stop(None).wait()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
