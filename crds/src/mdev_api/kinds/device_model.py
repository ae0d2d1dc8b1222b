"""DeviceModel: what an administrator or vendor knows of hardware whose driver publishes nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mdev_api.engine.metadata import ValueType
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


class WriteStrategy(StrEnum):
    """``Direct``: each value at most once, equal ones not at all. ``OffFirst``: every off value, then the list."""

    DIRECT = "Direct"
    OFF_FIRST = "OffFirst"


class ParameterDefinition(ApiModel):
    """One parameter of the model. Without ``offValue`` it cannot be disabled."""

    name: ParameterName
    type: ValueType
    off_value: Value | None = None
    runtime_writable: bool | None = None
    description: Annotated[str, Field(max_length=256)] | None = None


class Version(ApiModel):
    """A name for a full assignment of values."""

    name: Handle
    values: Annotated[tuple[NamedValue, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()


class ValueRule(ApiModel):
    """Where a value comes from: a CEL expression, or the value itself."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.expression) != has(self.literal)", "set exactly one of expression and literal")
        )
    )

    expression: Expression | None = None
    literal: Value | None = None


class ValuesRule(ApiModel):
    """Where the allowed values come from: a CEL expression that gives a list, or the values themselves."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.expression) != has(self.literals)", "set exactly one of expression and literals")
        )
    )

    expression: Expression | None = None
    literals: (
        Annotated[tuple[ListedValue, ...], Field(min_length=1, max_length=64, json_schema_extra=ATOMIC)] | None
    ) = None


class MatchParameter(ApiModel):
    """What a match says of one parameter.

    ``attribute`` is a file of the instance; without one the parameter is fixed at its init value.
    """

    name: ParameterName
    init_value: ValueRule
    allowed_values: ValuesRule | None = None
    attribute: Attribute | None = None


class Match(ApiModel):
    """Which profiles are of this model, and what their parameters are. The first match that holds is taken."""

    name: Handle
    expression: Expression
    parameters: Annotated[tuple[MatchParameter, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()


class AppliesTo(ApiModel):
    """Plain fields that a profile must have before any CEL is evaluated."""

    backend: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    driver: Annotated[str, Field(min_length=1, max_length=63)] | None = None


class DeviceModelSpec(ApiModel):
    """A device model and how to recognise it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.model == oldSelf.model", "model is immutable: create another DeviceModel"),
            (
                "!has(self.byIdentity) || !self.byIdentity || (!has(self.matches) && !has(self.parameters))",
                "byIdentity takes every fact as a parameter: leave out matches and parameters",
            ),
            (
                "!has(self.matches) || self.matches.all(m, !has(m.parameters) || m.parameters.all(p,"
                " has(self.parameters) && self.parameters.exists(d, d.name == p.name)))",
                "a match names a parameter that spec.parameters does not define",
            ),
        )
    )

    model: ModelName
    description: Annotated[str, Field(max_length=1024)] | None = None
    write_strategy: WriteStrategy | None = None
    parameters: Annotated[
        tuple[ParameterDefinition, ...], Field(max_length=64, json_schema_extra=list_map("name"))
    ] = ()
    versions: Annotated[tuple[Version, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    applies_to: AppliesTo | None = None
    matches: Annotated[tuple[Match, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    by_identity: bool | None = None


class DeviceModelStatus(ApiModel):
    """What the operator made of it. Condition ``Valid``."""

    conditions: Conditions = ()
    matched_profiles: Annotated[int, Field(ge=0)] | None = None


class DeviceModel(ApiObject):
    """A device model for hardware whose driver publishes nothing: parameters, versions, and how to recognise it."""

    kind: str = "DeviceModel"
    spec: DeviceModelSpec
    status: DeviceModelStatus = DeviceModelStatus()
