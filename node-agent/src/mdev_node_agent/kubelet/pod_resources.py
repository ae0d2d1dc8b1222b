"""Asks the kubelet whom it gave which device (PodResources v1, a unix socket), and remembers its last answer.

The kubelet has no watch for this, so it is asked at every look at the node and by :mod:`mdev_node_agent.kubelet.poll`
in between. Each question has its own connection: a kubelet that restarts makes a new socket, and nothing waits for
gRPC's growing pauses. Questions block (a thread asks them, never the event loop) and end within a deadline; a kubelet
that lets one run out is not asked again for a moment, so that it does not slow down every look.

A kubelet that has just started may list nothing although pods run, and "no pod has it" would then be a lie that frees a
device under a VM. An agent that knows its own pod takes no list without that pod for an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc
import structlog

from mdev_node_agent.kubelet.protos import podresources_v1_pb2 as api
from mdev_node_agent.kubelet.protos import podresources_v1_pb2_grpc as services
from mdev_node_agent.kubelet.serving import Allocation, Asked, Pod, View

log = structlog.get_logger(__name__)

SOCKET = Path("pod-resources/kubelet.sock")
"""Below the kubelet's directory."""
DEADLINE_SECONDS = 2.0
PAUSE_SECONDS = 5.0
"""How long a kubelet that did not answer in time is left alone."""
KEPT_SECONDS = 60.0
"""How long the last answer of a kubelet that cannot be asked counts."""
_MAX_MESSAGE = 16 << 20


class KubeletSilentError(Exception):
    """The kubelet does not answer; the message names its socket and says why. ``slow``: the deadline ran out."""

    def __init__(self, message: str, *, slow: bool) -> None:
        super().__init__(message)
        self.slow = slow


def ask(socket: Path, *, own_pod: Pod | None = None, timeout: float = DEADLINE_SECONDS) -> View:
    """What every pod has, and what device plugins offer. Blocks up to ``timeout`` seconds; KubeletSilentError.

    ``own_pod``: a pod of this node that runs for sure; an answer without it is none.
    """
    options = (("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.use_local_subchannel_pool", 1))
    try:
        with grpc.insecure_channel(f"unix:{socket}", options=options) as channel:
            kubelet = services.PodResourcesListerStub(channel)
            end = time.monotonic() + timeout
            given = kubelet.List(api.ListPodResourcesRequest(), timeout=timeout)
            left = max(0.0, end - time.monotonic())
            offered = kubelet.GetAllocatableResources(api.AllocatableResourcesRequest(), timeout=left)
    except grpc.RpcError as error:
        slow = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        why = f"{error.code().name}: {error.details()}"
        raise KubeletSilentError(f"the kubelet does not answer at {socket} ({why})", slow=slow) from None
    pods = given.pod_resources
    if own_pod is not None and not any((p.namespace, p.name) == (own_pod.namespace, own_pod.name) for p in pods):
        message = (
            f"the kubelet at {socket} does not list pod {own_pod.namespace}/{own_pod.name}, in which this agent runs: "
            "it has only just started, or --own-pod names another pod"
        )
        raise KubeletSilentError(message, slow=False)
    return View(allocations=tuple(_allocations(pods)), allocatable=_allocatable(offered.devices))


def _allocations(pods: Iterable[api.PodResources]) -> Iterable[Allocation]:
    for pod in pods:
        devices: dict[str, list[str]] = {}
        for container in pod.containers:
            for given in container.devices:
                devices.setdefault(given.resource_name, []).extend(given.device_ids)
        for resource, ids in devices.items():
            named = Pod(namespace=pod.namespace, name=pod.name)
            yield Allocation(pod=named, resource=resource, devices=tuple(dict.fromkeys(ids)))


def _allocatable(offered: Iterable[api.ContainerDevices]) -> dict[str, tuple[str, ...]]:
    """The kubelet names a resource once for each device, or once for each NUMA node."""
    found: dict[str, set[str]] = {}
    for devices in offered:
        found.setdefault(devices.resource_name, set()).update(devices.device_ids)
    return {resource: tuple(sorted(ids)) for resource, ids in found.items()}


class Kubelet:
    """One node's kubelet. ``clock``: monotonic. May be asked from any thread; never raises."""

    def __init__(
        self,
        directory: Path,
        *,
        asking: Callable[[Path], View] = ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = directory / SOCKET
        self._asking = asking
        self._clock = clock
        self._lock = threading.Lock()
        self._last: View | None = None
        self._answered = 0.0
        self._not_before = 0.0
        self._fault: str | None = None

    @property
    def last(self) -> View | None:
        """The newest answer there is, without asking."""
        return self._last

    def ask(self) -> Asked:
        """Ask now. A kubelet that cannot be asked keeps its last answer for :data:`KEPT_SECONDS`."""
        with self._lock:
            now = self._clock()
            if now >= self._not_before:
                try:
                    self._last = self._asking(self._socket)
                except KubeletSilentError as silent:
                    self._silent(silent)
                else:
                    self._heard(now)
                    return Asked(view=self._last, current=True)
            if self._last is not None and now - self._answered > KEPT_SECONDS:
                self._last = None
            return Asked(view=self._last, fault=None if self._last is not None else self._fault)

    def _silent(self, silent: KubeletSilentError) -> None:
        if self._fault is None:
            log.warning("nobody says which pod has which device", reason=str(silent))
        self._fault = str(silent)
        if silent.slow:
            self._not_before = self._clock() + PAUSE_SECONDS

    def _heard(self, now: float) -> None:
        if self._fault is not None:
            log.info("the kubelet answers again", socket=str(self._socket))
        self._fault, self._answered = None, now
