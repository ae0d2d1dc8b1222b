"""The kubelet's device manager as device plugins meet it (v1beta1), with the pods of a :class:`FakeKubelet`.

As the real one: it empties the plugins' directory when it starts, connects to whoever registers, takes the devices from
ListAndWatch, lets pods in one after another, prefers what the plugin prefers, and remembers over a restart what it gave
to whom (its checkpoint), but not what was offered.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from mdev_node_agent.kubelet.protos import deviceplugin_v1beta1_pb2 as api
from mdev_node_agent.kubelet.protos import deviceplugin_v1beta1_pb2_grpc as services
from tests.kubelet.fake import FakeKubelet


class AdmissionError(Exception):
    """UnexpectedAdmissionError of a pod, or a container that does not start: ``<code>: <message>``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """What a container was given."""

    devices: tuple[str, ...]
    environment: Mapping[str, str]
    files: tuple[str, ...]


@dataclass(kw_only=True)
class Plugin:
    """A registered plugin."""

    channel: Any
    options: api.DevicePluginOptions
    endpoint: str
    devices: dict[str, str] = field(default_factory=dict)

    @property
    def stub(self) -> Any:
        """Its calls."""
        return services.DevicePluginStub(self.channel)


class DeviceManager:
    """The device manager of ``kubelet``, whose offers and gifts it makes."""

    def __init__(self, kubelet: FakeKubelet) -> None:
        self._kubelet = kubelet
        self._given: dict[tuple[str, str], dict[str, list[str]]] = {}
        self._server: Any = None
        self.plugins: dict[str, Plugin] = {}
        self.registered: list[str] = []
        """Resources in the order of their registrations, over all restarts."""

    @property
    def directory(self) -> Path:
        """Where plugins have their sockets."""
        return self._kubelet.directory / "device-plugins"

    def start(self) -> None:
        """Begin with an empty directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for left in self.directory.iterdir():
            left.unlink()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4))
        services.add_RegistrationServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.directory / 'kubelet.sock'}")
        self._server.start()

    def stop(self) -> None:
        """End; the plugins are forgotten."""
        self._server.stop(None).wait()
        for plugin in self.plugins.values():
            plugin.channel.close()
        self.plugins.clear()

    @contextmanager
    def running(self) -> Iterator[DeviceManager]:
        """Within the block."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def Register(self, request: Any, context: Any) -> api.Empty:  # noqa: N802 (the name of the service's method)
        """A plugin is there: connect and listen."""
        assert request.version == "v1beta1"
        endpoint = self.directory / request.endpoint
        options = (("grpc.use_local_subchannel_pool", 1),)
        channel = grpc.insecure_channel(f"unix:{endpoint}", options=options)
        plugin = Plugin(channel=channel, options=request.options, endpoint=request.endpoint)
        self.plugins[request.resource_name] = plugin
        self.registered.append(request.resource_name)
        threading.Thread(target=self._listen, args=(request.resource_name, plugin), daemon=True).start()
        return api.Empty()

    def healthy(self, resource: str) -> set[str]:
        """Devices that count as capacity."""
        plugin = self.plugins.get(resource)
        return {d for d, health in plugin.devices.items() if health == "Healthy"} if plugin is not None else set()

    def free(self, resource: str) -> set[str]:
        """Devices that no pod has."""
        given = {d for pod in self._given.values() for d in pod.get(resource, ())}
        return self.healthy(resource) - given

    def admit(self, namespace: str, pod: str, resource: str, count: int = 1) -> Container:
        """Admit a pod with one container and start it. AdmissionError. Blocks: call it in a thread."""
        container = self.allocate(namespace, pod, resource, count)
        self.start_container(resource, container)
        return container

    def allocate(self, namespace: str, pod: str, resource: str, count: int = 1) -> Container:
        """Admit a pod and do not start it yet."""
        plugin, free = self.plugins[resource], self.free(resource)
        if len(free) < count:
            raise AdmissionError(f"no healthy devices of {resource}")
        wanted = api.ContainerPreferredAllocationRequest(available_deviceIDs=sorted(free), allocation_size=count)
        preference = api.PreferredAllocationRequest(container_requests=[wanted])
        try:
            answer = plugin.stub.GetPreferredAllocation(preference, timeout=10)
            ids = list(answer.container_responses[0].deviceIDs)
            asked = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids)])
            given = plugin.stub.Allocate(asked, timeout=30).container_responses[0]
        except grpc.RpcError as error:
            raise AdmissionError(f"{error.code().name}: {error.details()}") from None
        self._given.setdefault((namespace, pod), {})[resource] = ids
        self._kubelet.give(namespace, pod, resource, *ids)
        files = tuple(spec.host_path for spec in given.devices)
        assert all(spec.container_path == spec.host_path and spec.permissions == "rw" for spec in given.devices)
        return Container(devices=tuple(ids), environment=dict(given.envs), files=files)

    def start_container(self, resource: str, container: Container) -> None:
        """Start, or start again, an admitted pod's container."""
        plugin = self.plugins[resource]
        if not plugin.options.pre_start_required:
            return
        try:
            plugin.stub.PreStartContainer(api.PreStartContainerRequest(devices_ids=container.devices), timeout=30)
        except grpc.RpcError as error:
            raise AdmissionError(f"{error.code().name}: {error.details()}") from None

    def end(self, namespace: str, pod: str) -> None:
        """The pod has ended: its devices are free."""
        self._given.pop((namespace, pod), None)
        self._kubelet.end(namespace, pod)

    def _listen(self, resource: str, plugin: Plugin) -> None:
        try:
            for answer in plugin.stub.ListAndWatch(api.Empty(), wait_for_ready=True):
                plugin.devices = {device.ID: device.health for device in answer.devices}
                self._kubelet.offer(resource, *sorted(self.healthy(resource)))
        except (grpc.RpcError, ValueError):
            # The plugin has gone, or the channel was closed: what it offered counts no more.
            plugin.devices = {}
            if self.plugins.get(resource) is plugin:
                self._kubelet.offer(resource)
