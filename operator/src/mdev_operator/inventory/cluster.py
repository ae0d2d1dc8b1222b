"""What the operator knows of the cluster at one moment, as plain values that pure functions can look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mdev_api.engine.metadata import Metadata
from mdev_api.hashing import instance_uuid
from mdev_api.kinds.device_model import DeviceModel
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_devices import NodeDevices, NodeInstance
from mdev_api.kinds.node_reservations import Entry, EntryAnswer, NodeReservations
from mdev_operator.kubevirt.manager import KubeVirtConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Taint:
    """A taint that keeps pods away which do not tolerate it: effect NoSchedule or NoExecute."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeView:
    """What matters of a Node. ``ready``: its Ready condition is True; ``schedulable``: it is not cordoned."""

    name: str
    labels: Mapping[str, str]
    ready: bool
    schedulable: bool
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class VmView:
    """A running VM with one vGPU: where it is, the pod that has the device, and the extended resource it asked for."""

    name: str
    node: str
    pod_namespace: str
    pod_name: str
    resource: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileView:
    """A DeviceProfile with what it means to the engine, worked out once. ``metadata`` None: not read yet."""

    profile: DeviceProfile
    metadata: Metadata | None
    suspect: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One reservation of a node, with the agent's answer."""

    node: str
    entry: Entry
    answer: EntryAnswer | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Everything by name. ``silent(node)``: why the word of that node's agent is too old; None while it is fresh.

    ``kubevirt`` None: the cluster has no KubeVirt. ``models``: DeviceModels, whose versions an explicit source names.
    """

    nodes: Mapping[str, NodeView]
    devices: Mapping[str, NodeDevices]
    profiles: Mapping[str, ProfileView]
    reservations: Mapping[str, NodeReservations]
    silent: Callable[[str], str | None]
    kubevirt: KubeVirtConfig | None = None
    models: Mapping[str, DeviceModel] = field(default_factory=dict)

    @property
    def no_hook(self) -> str | None:
        """Why nobody calls the agents before a VM opens a device that the kubelet picked; None: virt-handler does."""
        return "this cluster has no KubeVirt" if self.kubevirt is None else self.kubevirt.no_hook

    def instance(self, node: str, instance: str) -> NodeInstance | None:
        """The instance as its node's agent published it."""
        devices = self.devices.get(node)
        if devices is None or devices.status is None:
            return None
        return next((i for i in devices.status.instances if i.id == instance), None)

    def held_on(self, node: str) -> tuple[Held, ...]:
        """All reservations of a node."""
        reservations = self.reservations.get(node)
        if reservations is None:
            return ()
        return tuple(
            Held(node=node, entry=entry, answer=reservations.answer(entry.id))
            for entry in reservations.spec.reservations
        )


def instance_of(held: Held) -> str | None:
    """The instance that a reservation is about, also one that is still to be created; None for a slot."""
    if held.answer is not None and held.answer.instance is not None:
        return held.answer.instance
    if held.entry.device.create is not None:
        return instance_uuid(held.entry.id)
    return held.entry.device.instance
