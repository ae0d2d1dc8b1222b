"""Our own device plugin (v1beta1): one gRPC server on a unix socket for each resource, registered with the kubelet.

The kubelet never asks who is there: a plugin registers, and again whenever the kubelet restarts, which empties the
directory of the plugins' sockets and makes its own anew. Nothing tells that but the files themselves, so they are
looked at each second. A plugin registers only when the node was looked at and the API server has said which
reservations stand: before that nobody knows which device is armed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

import grpc
import structlog

from mdev_api.hashing import content_hash
from mdev_node_agent.kubelet.allocation import RefusedError, device_files, environment, preferred
from mdev_node_agent.kubelet.desk import Desk
from mdev_node_agent.kubelet.protos import deviceplugin_v1beta1_pb2 as api
from mdev_node_agent.kubelet.protos import deviceplugin_v1beta1_pb2_grpc as services

log = structlog.get_logger(__name__)

DIRECTORY = Path("device-plugins")
"""Below the kubelet's directory."""
KUBELET = "kubelet.sock"
VERSION = "v1beta1"
CHECK_SECONDS = 1.0
REGISTER_SECONDS = 5.0
PAUSE_SECONDS = 2.0
"""Between two attempts to register with a kubelet that is not there."""

_Identity: TypeAlias = tuple[int, int, int]
"""Device, inode and time of change: inode numbers are used again at once on some file systems."""


class DevicePlugin:
    """The calls of the kubelet about one resource."""

    def __init__(self, resource: str, desk: Desk) -> None:
        self._resource = resource
        self._desk = desk

    async def GetDevicePluginOptions(  # noqa: N802 (the name of the service's method)
        self, request: api.Empty, context: grpc.aio.ServicerContext
    ) -> api.DevicePluginOptions:
        """PreStartContainer and GetPreferredAllocation are to be called."""
        return _options()

    async def ListAndWatch(  # noqa: N802 (the name of the service's method)
        self, request: api.Empty, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[api.ListAndWatchResponse]:
        """The slots, now and whenever they change."""
        async for listed in self._desk.listings(self._resource):
            log.debug("listed", resource=self._resource, slots=len(listed))
            devices = [api.Device(ID=slot.id, health="Healthy" if slot.healthy else "Unhealthy") for slot in listed]
            yield api.ListAndWatchResponse(devices=devices)

    async def GetPreferredAllocation(  # noqa: N802 (the name of the service's method)
        self, request: api.PreferredAllocationRequest, context: grpc.aio.ServicerContext
    ) -> api.PreferredAllocationResponse:
        """Slots that never had a device come first."""
        bound = self._desk.bound_slots()
        answers = []
        for asked in request.container_requests:
            ids = preferred(asked.available_deviceIDs, asked.must_include_deviceIDs, asked.allocation_size, bound)
            answers.append(api.ContainerPreferredAllocationResponse(deviceIDs=ids))
        return api.PreferredAllocationResponse(container_responses=answers)

    async def Allocate(  # noqa: N802 (the name of the service's method)
        self, request: api.AllocateRequest, context: grpc.aio.ServicerContext
    ) -> api.AllocateResponse:
        """The armed device, or another one, for each slot."""
        try:
            answers = [await self._container(list(asked.devices_ids)) for asked in request.container_requests]
        except RefusedError as refused:
            await _abort(context, refused, "nothing handed out", self._resource)
        return api.AllocateResponse(container_responses=answers)

    async def PreStartContainer(  # noqa: N802 (the name of the service's method)
        self, request: api.PreStartContainerRequest, context: grpc.aio.ServicerContext
    ) -> api.PreStartContainerResponse:
        """Is what was handed out still there? The kubelet does not ask Allocate again for a pod that it knows."""
        try:
            await self._desk.check(self._resource, list(request.devices_ids))
        except RefusedError as refused:
            await _abort(context, refused, "a container may not start", self._resource)
        return api.PreStartContainerResponse()

    async def _container(self, slots: list[str]) -> api.ContainerAllocateResponse:
        instances = await self._desk.allocate(self._resource, slots)
        files = [api.DeviceSpec(container_path=f, host_path=f, permissions="rw") for f in device_files(instances)]
        return api.ContainerAllocateResponse(envs=environment(self._resource, instances), devices=files)


async def serve_plugin(kubelet_dir: Path, resource: str, desk: Desk, known: Callable[[], bool]) -> None:
    """Serve one resource until cancelled. ``known``: has the API server said which reservations stand?"""
    directory = kubelet_dir / DIRECTORY
    socket = directory / f"mdev-{content_hash(resource)}.sock"
    told: str | None = None
    while True:
        await _can_begin(desk, known)
        server = grpc.aio.server()
        services.add_DevicePluginServicer_to_server(DevicePlugin(resource, desk), server)
        try:
            kubelet = _identity(directory / KUBELET)
            server.add_insecure_port(f"unix:{socket}")
            socket.chmod(0o600)
            await server.start()
            await _register(directory / KUBELET, socket.name, resource)
            log.info("registered with the kubelet", resource=resource, socket=str(socket))
            told = None
            await _anything_else(socket, directory / KUBELET, kubelet)
            log.info("the kubelet has restarted: registering anew", resource=resource)
        except (OSError, RuntimeError, grpc.RpcError) as error:
            why = _why(error, directory)
            if why != told:
                log.error("a resource is not served", resource=resource, reason=why)
            told = why
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await server.stop(None)


async def _can_begin(desk: Desk, known: Callable[[], bool]) -> None:
    while True:
        if known() and desk.is_ready:
            return
        await asyncio.sleep(CHECK_SECONDS)


async def _register(kubelet: Path, endpoint: str, resource: str) -> None:
    async with grpc.aio.insecure_channel(
        f"unix:{kubelet}", options=(("grpc.use_local_subchannel_pool", 1),)
    ) as channel:
        request = api.RegisterRequest(version=VERSION, endpoint=endpoint, resource_name=resource, options=_options())
        await services.RegistrationStub(channel).Register(request, timeout=REGISTER_SECONDS)


async def _anything_else(socket: Path, kubelet: Path, before: _Identity | None) -> None:
    """Wait until another file, or none, is where one of the two sockets is now."""
    mine = _identity(socket)
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        if _identity(socket) != mine or _identity(kubelet) != before:
            return


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _why(error: Exception, directory: Path) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"the kubelet does not register it at {directory / KUBELET} ({error.code().name}: {error.details()})"
    return f"its socket cannot be made in {directory}: {error}"


def _options() -> api.DevicePluginOptions:
    return api.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)


async def _abort(context: grpc.aio.ServicerContext, refused: RefusedError, event: str, resource: str) -> NoReturn:
    log.warning(event, resource=resource, code=refused.code, reason=str(refused))
    await context.abort(grpc.StatusCode[refused.code], str(refused))
    raise AssertionError("abort does not return")
