"""CompatibilityClass: which nodes can take a device like the ones in use, for any scheduler to read.

The operator alone writes them, and only their status. The name is ``c-`` and a content hash
(:mod:`mdev_api.engine.compatibility_class`); the node label that carries the class has the same hash in its key.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from mdev_api.engine.metadata import ValueType
from mdev_api.kinds.common import (
    ATOMIC,
    GROUP,
    ApiModel,
    ApiObject,
    Conditions,
    ModelName,
    ParameterName,
    ProfileName,
    Value,
    rules,
)

LABEL_PREFIX = f"class.{GROUP}/"
"""Prefix of the node labels that carry classes; their value is ``true``."""

ClassName = Annotated[str, Field(pattern=r"^c-[a-z2-7]{26}$", max_length=28)]
MOST_PROFILES = 256
"""Profiles that a status lists."""


def label_of(name: str) -> str:
    """Key of the node label that carries the class of this name."""
    return LABEL_PREFIX + name.removeprefix("c-")


class ClassedParameter(ApiModel):
    """One parameter that all devices of the class agree in."""

    name: ParameterName
    """Name of the parameter."""
    type: ValueType
    """Its type: bool, int or str."""
    value: Value
    """The value that a destination must give it. For a parameter that is not listed: its off value."""
    listed: bool
    """Whether a destination must have the parameter; if not, one without it will do, one with it switches it off."""


class CompatibilityClassStatus(ApiModel):
    """What the class is, and how much of the cluster accepts it. Counts are written at most each 10 seconds."""

    model: ModelName | None = None
    """The device model."""
    parameters: Annotated[tuple[ClassedParameter, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """The parameters that a destination must reproduce, or switch off."""
    label: Annotated[str, Field(max_length=317)] | None = None
    """Key of the node label (with the value true) on nodes that accept the class."""
    profiles: Annotated[tuple[ProfileName, ...], Field(max_length=MOST_PROFILES, json_schema_extra=ATOMIC)] = ()
    """Device profiles that accept the class; of very many the first 256 by name."""
    nodes: Annotated[int, Field(ge=0)] = 0
    """How many nodes accept the class, whether they have room now or not. A node without a living agent does not count.
    """
    available: Annotated[int, Field(ge=0)] = 0
    """How many devices of the class could be had now. Types of one parent usually share its capacity, so of each parent
    the type with most room counts.
    """
    conditions: Conditions = ()
    """InUse: whether a device that may be in use, or an unfinished migration, is of this class. A class that is not in
    use for an hour is deleted, and its labels go.
    """


class CompatibilityClass(ApiObject):
    """A class of devices with the same destinations, how many nodes accept it, and the node label that says which."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.metadata.name.matches('^c-[a-z2-7]{26}$')",
                "metadata.name is c- and a content hash: the operator creates CompatibilityClasses, people do not",
            )
        )
    )

    kind: str = "CompatibilityClass"
    status: CompatibilityClassStatus | None = None
    """What the class is, and how much of the cluster accepts it."""
