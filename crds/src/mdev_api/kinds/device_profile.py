"""DeviceProfile: what an agent saw of a type of device, without where it saw it; shared by all nodes that saw the same.

The name is ``p-`` and the content hash of the spec (:func:`mdev_api.hashing.profile_name`), so equal sights share one
object and agents need no agreement.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from mdev_api.engine.metadata import WriteStrategy
from mdev_api.kinds.common import ApiModel, ApiObject, Conditions, Message, ModelName, RawText, list_map, rules
from mdev_api.kinds.values import NamedText, Parameter, ReadParameter

Short = Annotated[str, Field(max_length=255)]


class Driver(ApiModel):
    """The kernel driver that offers the device."""

    name: Short
    """Name of the driver."""
    version: Short | None = None
    """Version of the driver, if it tells one."""


class DeviceType(ApiModel):
    """The type that instances are made of; absent for a device without a type."""

    id: Short
    """The kernel's name of the type."""
    name: RawText | None = None
    """The driver's name for people."""
    device_api: Short | None = Field(default=None, alias="deviceAPI")
    """The kernel's device API, such as vfio-pci."""


class Hardware(ApiModel):
    """PCI ids of the parent, as sysfs shows them (``0x10de``)."""

    vendor: Short | None = None
    """Vendor id."""
    device: Short | None = None
    """Device id."""
    subsystem_vendor: Short | None = None
    """Vendor id of the subsystem."""
    subsystem_device: Short | None = None
    """Device id of the subsystem."""


class Published(ApiModel):
    """What the driver itself publishes. ``schemaError``: why the whole cannot be understood."""

    model: ModelName | None = None
    """Name of the device model."""
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """The migration parameters with init and allowed values."""
    schema_error: Message | None = None
    """Why what the driver publishes cannot be understood as a whole."""


class DeviceProfileSpec(ApiModel):
    """What an agent saw. Immutable."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self == oldSelf", "a DeviceProfile is immutable: its name is the hash of its content")
        )
    )

    backend: Annotated[str, Field(min_length=1, max_length=63)]
    """The back-end that saw it."""
    driver: Driver
    """The kernel driver that offers the device."""
    type: DeviceType | None = None
    """The type that instances are made of; absent for a device without types."""
    hardware: Hardware | None = None
    """PCI ids of the parent."""
    attributes: Annotated[tuple[NamedText, ...], Field(max_length=32, json_schema_extra=list_map("name"))] = ()
    """Raw texts that the back-end read from sysfs."""
    facts: Annotated[tuple[NamedText, ...], Field(max_length=32, json_schema_extra=list_map("name"))] = ()
    """Raw texts from the node's facts files: what sysfs does not tell."""
    published: Published | None = None
    """What the driver itself publishes for migration; absent if it publishes nothing."""


class DeviceProfileStatus(ApiModel):
    """The operator's reading. Conditions ``Resolved`` and ``Suspect``.

    ``from``: ``Published``, or ``DeviceModel/<name>``. No model: nobody named one.
    """

    model: ModelName | None = None
    """The device model; absent if nobody names one."""
    parameters: Annotated[tuple[ReadParameter, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """The migration parameters with type, off value, init value and allowed values."""
    origin: Annotated[str, Field(max_length=300)] | None = Field(default=None, alias="from")
    """Who says so: Published, or DeviceModel/<name>."""
    write_strategy: WriteStrategy | None = None
    """How values are written to such a device."""
    schema_error: Message | None = None
    """Why the metadata as a whole cannot be understood."""
    conditions: Conditions = ()
    """Resolved: whether model and parameters are known. Suspect: a device refused a value that it should take."""


class DeviceProfile(ApiObject):
    """What an agent saw of a type of device, without where; its status is what the operator makes of it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.metadata.name.matches('^p-[a-z2-7]{26}$')",
                "metadata.name is p- and the content hash of spec: agents create DeviceProfiles, people do not",
            )
        )
    )

    kind: str = "DeviceProfile"
    spec: DeviceProfileSpec
    """What an agent saw; immutable."""
    status: DeviceProfileStatus | None = None
    """The operator's reading of it."""
