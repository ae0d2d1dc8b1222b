"""DeviceProfile: what an agent saw of a type of device, without where it saw it; shared by all nodes that saw the same.

The name is ``p-`` and the content hash of the spec (:func:`mdev_api.hashing.profile_name`), so equal sights share one
object and agents need no agreement.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from mdev_api.kinds.common import ApiModel, ApiObject, Conditions, Message, ModelName, RawText, list_map, rules
from mdev_api.kinds.device_model import WriteStrategy
from mdev_api.kinds.values import NamedText, Parameter, ReadParameter

Short = Annotated[str, Field(max_length=255)]


class Driver(ApiModel):
    """The kernel driver that offers the device."""

    name: Short
    version: Short | None = None


class DeviceType(ApiModel):
    """The type that instances are made of; absent for a device without a type."""

    id: Short
    name: RawText | None = None
    device_api: Short | None = Field(default=None, alias="deviceAPI")


class Hardware(ApiModel):
    """PCI ids of the parent, as sysfs shows them (``0x10de``)."""

    vendor: Short | None = None
    device: Short | None = None
    subsystem_vendor: Short | None = None
    subsystem_device: Short | None = None


class Published(ApiModel):
    """What the driver itself publishes. ``schemaError``: why the whole cannot be understood."""

    model: ModelName | None = None
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    schema_error: Message | None = None


class DeviceProfileSpec(ApiModel):
    """What an agent saw. Immutable."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self == oldSelf", "a DeviceProfile is immutable: its name is the hash of its content")
        )
    )

    backend: Annotated[str, Field(min_length=1, max_length=63)]
    driver: Driver
    type: DeviceType | None = None
    hardware: Hardware | None = None
    attributes: Annotated[tuple[NamedText, ...], Field(max_length=32, json_schema_extra=list_map("name"))] = ()
    facts: Annotated[tuple[NamedText, ...], Field(max_length=32, json_schema_extra=list_map("name"))] = ()
    published: Published | None = None


class DeviceProfileStatus(ApiModel):
    """The operator's reading. Conditions ``Resolved`` and ``Suspect``.

    ``from``: ``Published``, or ``DeviceModel/<name>``. No model: nobody named one.
    """

    model: ModelName | None = None
    parameters: Annotated[tuple[ReadParameter, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    origin: Annotated[str, Field(max_length=300)] | None = Field(default=None, alias="from")
    write_strategy: WriteStrategy | None = None
    schema_error: Message | None = None
    conditions: Conditions = ()


class DeviceProfile(ApiObject):
    """What an agent saw of a type of device, without where; its status is what the operator makes of it."""

    kind: str = "DeviceProfile"
    spec: DeviceProfileSpec
    status: DeviceProfileStatus | None = None
