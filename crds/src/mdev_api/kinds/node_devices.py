"""NodeDevices: the inventory of one node, written by that node's agent alone (status only; name = node)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mdev_api.kinds.common import (
    ATOMIC,
    ATOMIC_MAP,
    ApiModel,
    ApiObject,
    Conditions,
    KernelName,
    Message,
    ObjectName,
    ParameterName,
    ProfileName,
    RawText,
    Value,
    keys_up_to,
)

BootId = Annotated[str, Field(min_length=1, max_length=64)]


class InUse(StrEnum):
    """Whether a program holds the device open. sysfs does not tell; ``Unknown`` is the honest default."""

    YES = "Yes"
    NO = "No"
    UNKNOWN = "Unknown"


class InUseSource(StrEnum):
    """Who says so."""

    POD_RESOURCES = "PodResources"
    PROCESS = "Process"
    DRIVER = "Driver"
    NONE = "None"


class UnreadableParameter(ApiModel):
    """A parameter or attribute that could not be read. No ``errno``: the text is not of the declared type."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """Name of the parameter or attribute."""
    errno: Annotated[str, Field(max_length=32)] | None = None
    """The kernel's error, such as EIO."""
    message: Message
    """What happened, for people."""


class NodeOffer(ApiModel):
    """One type of a parent, and how many instances it can still make (the kernel's word; absent: unreadable)."""

    type: KernelName
    """The kernel's name of the type."""
    profile: ProfileName
    """The DeviceProfile that describes it."""
    available: Annotated[int, Field(ge=0)] | None = None
    """How many more instances the kernel says can be made; absent: it could not be read."""


class NodeParent(ApiModel):
    """A device that offers types."""

    name: KernelName
    """The kernel's name of the device, such as a PCI address."""
    driver: Annotated[str, Field(max_length=255)]
    """The kernel driver."""
    numa_node: int | None = None
    """NUMA node, -1 if the kernel knows none."""
    offers: Annotated[tuple[NodeOffer, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """The types that it offers."""
    unreadable: Annotated[tuple[UnreadableParameter, ...], Field(max_length=32, json_schema_extra=ATOMIC)] = ()
    """Attributes that could not be read."""


class NodeInstance(ApiModel):
    """One device.

    ``values`` has only what differs from the published init value; ``attributes`` the raw text of allow-listed files,
    only where the driver publishes nothing. ``managed``: this agent's ledger lists it as made by us.
    """

    id: KernelName
    """mdev UUID or PCI address."""
    parent: KernelName
    """The device that it is made from."""
    type: KernelName
    """The type that it was made of."""
    profile: ProfileName
    """The DeviceProfile that describes it."""
    values: Annotated[
        dict[ParameterName, Value], Field(max_length=64, json_schema_extra=ATOMIC_MAP | keys_up_to(255))
    ] = Field(default_factory=dict)
    """Values that differ from the published init value, by parameter."""
    attributes: Annotated[
        dict[Annotated[str, Field(max_length=300)], RawText],
        Field(max_length=16, json_schema_extra=ATOMIC_MAP | keys_up_to(300)),
    ] = Field(default_factory=dict)
    """Raw text of files that the agent may read, where the driver publishes nothing."""
    unreadable: Annotated[tuple[UnreadableParameter, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Parameters and attributes that could not be read."""
    in_use: InUse = InUse.UNKNOWN
    """Whether a program holds the device open."""
    in_use_source: InUseSource = InUseSource.NONE
    """Who says whether it is in use."""
    managed: bool = False
    """Whether this project created the device."""


class Serving(ApiModel):
    """Which pod a device plugin gave an instance to. The kubelet's PodResources know no UID of a pod, only its name."""

    instance: KernelName
    """mdev UUID or PCI address."""
    resource: Annotated[str, Field(max_length=253)]
    """Name of the extended resource."""
    pod_namespace: Annotated[str, Field(min_length=1, max_length=63)]
    """Namespace of the pod."""
    pod_name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the pod."""


class Slot(ApiModel):
    """Free devices of an extended resource on this node, which the kubelet may pick for the next pod.

    ``free`` counts devices that are instances of this node; ``instances`` names them, at most 64.
    """

    resource: Annotated[str, Field(max_length=253)]
    """Name of the extended resource."""
    free: Annotated[int, Field(ge=0)]
    """How many devices of it no pod has."""
    instances: Annotated[tuple[KernelName, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """The instances behind them, sorted, at most 64."""
    types: Annotated[tuple[KernelName, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """The types of which this agent's own device plugin makes such a device when a pod gets it (binding Early).
    Empty: another plugin serves the resource, and only devices that exist are free.
    """


class NodeDevicesStatus(ApiModel):
    """What the agent saw. Conditions ``Healthy``, ``ConflictingManager``, ``RemoveBlocked``."""

    boot_id: BootId | None = Field(default=None, alias="bootID")
    """The boot that all of this was seen in."""
    parents: Annotated[tuple[NodeParent, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Devices that offer types."""
    instances: Annotated[tuple[NodeInstance, ...], Field(max_length=512, json_schema_extra=ATOMIC)] = ()
    """The devices that exist."""
    serving: Annotated[tuple[Serving, ...], Field(max_length=512, json_schema_extra=ATOMIC)] = ()
    """Which pod a device plugin gave an instance to."""
    slots: Annotated[tuple[Slot, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Free devices of extended resources."""
    conditions: Conditions = ()
    """Healthy: everything could be seen. ConflictingManager: another program manages devices here. RemoveBlocked:
    a removal does not come back.
    """


class NodeDevices(ApiObject):
    """The VFIO devices of one node: what its parents offer and which instances exist."""

    kind: str = "NodeDevices"
    status: NodeDevicesStatus | None = None
    """What the agent saw."""

    @property
    def node(self) -> ObjectName:
        """Name of the node."""
        return self.metadata.name
