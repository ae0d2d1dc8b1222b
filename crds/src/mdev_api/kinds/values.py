"""Values and parameters as they stand in API objects: always text beside a declared type."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mdev_api.engine.metadata import ValueType
from mdev_api.kinds.common import ATOMIC, ApiModel, Attribute, ListedValue, Message, ParameterName, RawText, Value


class NamedText(ApiModel):
    """A name and raw text (attributes and facts of a profile)."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    value: RawText


class NamedValue(ApiModel):
    """A parameter and its value, where the type stands elsewhere."""

    name: ParameterName
    value: Value


class TypedValue(ApiModel):
    """A parameter's value with its type."""

    name: ParameterName
    type: ValueType
    value: Value


class Parameter(ApiModel):
    """One parameter of a type of device, as the driver or a DeviceModel defines it.

    With ``schemaError`` the parameter takes no part in matching, and ``type`` and ``initValue`` may be missing.
    ``allowedValues`` absent: any value of the type. ``offValue`` absent: the parameter cannot be disabled.
    """

    name: ParameterName
    type: ValueType | None = None
    init_value: Value | None = None
    off_value: Value | None = None
    allowed_values: Annotated[tuple[ListedValue, ...], Field(max_length=64, json_schema_extra=ATOMIC)] | None = None
    runtime_writable: bool | None = None
    description: Annotated[str, Field(max_length=256)] | None = None
    schema_error: Message | None = None


class ReadParameter(Parameter):
    """A parameter in a profile's status: with the file of the instance that holds it.

    Without ``attribute`` nothing can change it: the profile alone says its value.
    """

    attribute: Attribute | None = None
