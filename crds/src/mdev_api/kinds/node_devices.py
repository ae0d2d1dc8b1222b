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
    Uid,
    Value,
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
    errno: Annotated[str, Field(max_length=32)] | None = None
    message: Message


class NodeOffer(ApiModel):
    """One type of a parent, and how many instances it can still make (the kernel's word; absent: unreadable)."""

    type: KernelName
    profile: ProfileName
    available: Annotated[int, Field(ge=0)] | None = None


class NodeParent(ApiModel):
    """A device that offers types."""

    name: KernelName
    driver: Annotated[str, Field(max_length=255)]
    numa_node: int | None = None
    offers: Annotated[tuple[NodeOffer, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    unreadable: Annotated[tuple[UnreadableParameter, ...], Field(max_length=32, json_schema_extra=ATOMIC)] = ()


class NodeInstance(ApiModel):
    """One device.

    ``values`` has only what differs from the published init value; ``attributes`` the raw text of allow-listed files,
    only where the driver publishes nothing. ``managed``: this agent's ledger lists it as made by us.
    """

    id: KernelName
    parent: KernelName
    type: KernelName
    profile: ProfileName
    values: Annotated[dict[ParameterName, Value], Field(max_length=64, json_schema_extra=ATOMIC_MAP)] = Field(
        default_factory=dict
    )
    attributes: Annotated[
        dict[Annotated[str, Field(max_length=256)], RawText], Field(max_length=16, json_schema_extra=ATOMIC_MAP)
    ] = Field(default_factory=dict)
    unreadable: Annotated[tuple[UnreadableParameter, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    in_use: InUse = InUse.UNKNOWN
    in_use_source: InUseSource = InUseSource.NONE
    managed: bool = False


class Serving(ApiModel):
    """Which pod a device plugin gave an instance to (PodResources)."""

    instance: KernelName
    resource: Annotated[str, Field(max_length=253)]
    pod_uid: Uid = Field(alias="podUID")


class Slot(ApiModel):
    """Free devices of an extended resource on this node."""

    resource: Annotated[str, Field(max_length=253)]
    free: Annotated[int, Field(ge=0)]


class NodeDevicesStatus(ApiModel):
    """What the agent saw. Conditions ``Healthy``, ``ConflictingManager``, ``RemoveBlocked``."""

    boot_id: BootId | None = Field(default=None, alias="bootID")
    parents: Annotated[tuple[NodeParent, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    instances: Annotated[tuple[NodeInstance, ...], Field(max_length=512, json_schema_extra=ATOMIC)] = ()
    serving: Annotated[tuple[Serving, ...], Field(max_length=512, json_schema_extra=ATOMIC)] = ()
    slots: Annotated[tuple[Slot, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    conditions: Conditions = ()


class NodeDevices(ApiObject):
    """The VFIO devices of one node: what its parents offer and which instances exist."""

    kind: str = "NodeDevices"
    status: NodeDevicesStatus | None = None

    @property
    def node(self) -> ObjectName:
        """Name of the node."""
        return self.metadata.name
