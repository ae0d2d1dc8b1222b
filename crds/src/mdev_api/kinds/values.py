"""Values and parameters as they stand in API objects: always text beside a declared type."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from mdev_api.engine.metadata import ValueType
from mdev_api.kinds.common import (
    ATOMIC,
    ApiModel,
    Attribute,
    ListedValue,
    Message,
    ParameterName,
    RawText,
    Value,
    rules,
)


class NamedText(ApiModel):
    """A name and raw text (attributes and facts of a profile)."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """Name of the attribute or fact."""
    value: RawText
    """Its raw text, less one trailing newline."""


class NamedValue(ApiModel):
    """A parameter and its value, where the type stands elsewhere."""

    name: ParameterName
    """Name of the parameter."""
    value: Value
    """Canonical text: on or off, decimal digits, or the string."""


class TypedValue(ApiModel):
    """A parameter's value with its type."""

    name: ParameterName
    """Name of the parameter."""
    type: ValueType
    """How the text is to be read."""
    value: Value
    """Canonical text: on or off, decimal digits, or the string."""


class Parameter(ApiModel):
    """One parameter of a type of device, as the driver or a DeviceModel defines it.

    With ``schemaError`` the parameter takes no part in matching, and ``type`` and ``initValue`` may be missing.
    ``allowedValues`` absent: any value of the type. ``offValue`` absent: the parameter cannot be disabled.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.schemaError) || (has(self.type) && has(self.initValue))",
                "a parameter without schemaError needs type and initValue",
            )
        )
    )

    name: ParameterName
    """Name of the parameter."""
    type: ValueType | None = None
    """Its type: bool, int or str."""
    init_value: Value | None = None
    """The value that a new instance has."""
    off_value: Value | None = None
    """The value that switches the parameter off; without one it cannot be disabled."""
    allowed_values: Annotated[tuple[ListedValue, ...], Field(max_length=64, json_schema_extra=ATOMIC)] | None = None
    """Every value that it may take, for int also ranges such as 1-16; absent: any value of the type."""
    runtime_writable: bool | None = None
    """Whether it may be changed while a VM uses the device."""
    description: Annotated[str, Field(max_length=256)] | None = None
    """What the parameter is, for people."""
    schema_error: Message | None = None
    """Why this parameter cannot be understood; it then takes no part in matching."""


class ReadParameter(Parameter):
    """A parameter in a profile's status: with the file of the instance that holds it.

    Without ``attribute`` nothing can change it: the profile alone says its value.
    """

    attribute: Attribute | None = None
    """The file of the instance that holds the value, relative to the instance."""
