"""DeviceModel: what an administrator or vendor knows of hardware whose driver publishes nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from mdev_api.engine.metadata import ValueType, WriteStrategy
from mdev_api.kinds.common import (
    ATOMIC,
    ApiModel,
    ApiObject,
    Attribute,
    Conditions,
    ListedValue,
    ModelName,
    ParameterName,
    Value,
    list_map,
    rules,
)
from mdev_api.kinds.values import NamedValue

Expression = Annotated[str, Field(min_length=1, max_length=2048)]
"""A CEL expression over ``profile``: the spec of a DeviceProfile with attributes and facts as maps."""
Handle = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]


class ParameterDefinition(ApiModel):
    """One parameter of the model. Without ``offValue`` it cannot be disabled."""

    name: ParameterName
    """Name of the parameter."""
    type: ValueType
    """Its type: bool, int or str."""
    off_value: Value | None = None
    """The value that switches the parameter off; without one it cannot be disabled."""
    runtime_writable: bool | None = None
    """Whether it may be changed while a VM uses the device."""
    description: Annotated[str, Field(max_length=256)] | None = None
    """What the parameter is, for people."""


class Version(ApiModel):
    """A name for a full assignment of values."""

    name: Handle
    """Name of the version."""
    values: Annotated[tuple[NamedValue, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """The value of every parameter in this version."""


class ValueRule(ApiModel):
    """Where a value comes from: a CEL expression, or the value itself."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.expression) != has(self.literal)", "set exactly one of expression and literal")
        )
    )

    expression: Expression | None = None
    """CEL over the variable profile that gives the value."""
    literal: Value | None = None
    """The value itself, as canonical text."""


class ValuesRule(ApiModel):
    """Where the allowed values come from: a CEL expression that gives a list, or the values themselves."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.expression) != has(self.literals)", "set exactly one of expression and literals")
        )
    )

    expression: Expression | None = None
    """CEL over the variable profile that gives the list of allowed values."""
    literals: (
        Annotated[tuple[ListedValue, ...], Field(min_length=1, max_length=64, json_schema_extra=ATOMIC)] | None
    ) = None
    """The allowed values themselves, for int also ranges such as 1-16."""


class MatchParameter(ApiModel):
    """What a match says of one parameter.

    ``attribute`` is a file of the instance; without one the parameter is fixed at its init value.
    """

    name: ParameterName
    """A parameter that spec.parameters defines."""
    init_value: ValueRule
    """The value that a new instance has."""
    allowed_values: ValuesRule | None = None
    """The values that it may take; absent: any value of the type."""
    attribute: Attribute | None = None
    """The file of the instance that holds the value, relative to the instance; absent: the value never changes."""


class Match(ApiModel):
    """Which profiles are of this model, and what their parameters are. The first match that holds is taken."""

    name: Handle
    """Name of the match, for messages."""
    expression: Expression
    """CEL for true or false, over profile.backend, profile.driver.{name,version}, profile.type.{id,name,deviceAPI},
    profile.hardware.{vendor,device,subsystemVendor,subsystemDevice} and the maps profile.attributes and profile.facts;
    an absent member reads as the empty string, an absent key of a map is an error unless asked for with in or has().
    """
    parameters: Annotated[tuple[MatchParameter, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """What the parameters are where this match holds."""


class AppliesTo(ApiModel):
    """Plain fields that a profile must have before any CEL is evaluated."""

    backend: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """The back-end that the profile must be of."""
    driver: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """The kernel driver that the profile must be of."""


class DeviceModelSpec(ApiModel):
    """A device model and how to recognise it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.model == oldSelf.model", "model is immutable: create another DeviceModel"),
            (
                "!has(self.byIdentity) || !self.byIdentity || (!has(self.matches) && !has(self.parameters))",
                "byIdentity takes everything known as a parameter: leave out matches and parameters",
            ),
            (
                "!has(self.matches) || self.matches.all(m, !has(m.parameters) || m.parameters.all(p,"
                " has(self.parameters) && self.parameters.exists(d, d.name == p.name)))",
                "a match names a parameter that spec.parameters does not define",
            ),
        )
    )

    model: ModelName
    """Name of the device model: opaque, compared byte for byte, immutable."""
    description: Annotated[str, Field(max_length=1024)] | None = None
    """What the model is, for people."""
    write_strategy: WriteStrategy | None = None
    """How values are written: Direct, or OffFirst for drivers that need every parameter off before."""
    parameters: Annotated[
        tuple[ParameterDefinition, ...], Field(max_length=64, json_schema_extra=list_map("name"))
    ] = ()
    """The migration parameters of the model."""
    versions: Annotated[tuple[Version, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """Names for full assignments of values."""
    applies_to: AppliesTo | None = None
    """Plain fields that a profile must have before any CEL is evaluated."""
    matches: Annotated[tuple[Match, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """How a profile is recognised; the first match that holds is taken."""
    by_identity: bool | None = None
    """Take everything known of a profile (back-end, driver, type, hardware, attributes, facts) as str parameters that
    cannot be disabled, instead of matches; asked only where no match of another DeviceModel holds."""


class DeviceModelStatus(ApiModel):
    """What the operator made of it. Condition ``Valid``."""

    conditions: Conditions = ()
    """Valid: whether the operator can use this object."""
    matched_profiles: Annotated[int, Field(ge=0)] | None = None
    """How many DeviceProfiles are of this model by this object."""


class DeviceModel(ApiObject):
    """A device model for hardware whose driver publishes nothing: parameters, versions, and how to recognise it."""

    kind: str = "DeviceModel"
    spec: DeviceModelSpec
    """The model and how to recognise it."""
    status: DeviceModelStatus = DeviceModelStatus()
    """What the operator made of it."""
