"""What all kinds share: how a model is written on the wire, metadata, conditions, bounds of names and values."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "mdev-operator.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
"""Name of a Kubernetes object."""
Uid = Annotated[str, Field(min_length=1, max_length=64)]
KernelName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^/\x00]+$")]
"""One component of a sysfs path: a parent, a type, an instance. The agent refuses ``.`` and ``..`` as unknown."""
ParameterName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^=/\s\x00-\x1f\x7f]+$")]
"""Name of a migration parameter (design section 4, Names; the finer points are checked by :mod:`mdev_api.names`)."""
ModelName = Annotated[str, Field(min_length=1, max_length=512)]
"""Name of a device model: opaque, compared byte for byte."""
Value = Annotated[str, Field(max_length=4095)]
"""Canonical text of a value: ``on``/``off``, decimal, or the string."""
ListedValue = Annotated[str, Field(max_length=256)]
"""One of the allowed values, or an int range ``a-b``."""
Attribute = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^/\x00]+(/[^/\x00]+)?$")]
"""A file of an instance, relative to it: one or two path components."""
ProfileName = Annotated[str, Field(pattern=r"^p-[a-z2-7]{26}$", max_length=28)]
Message = Annotated[str, Field(max_length=1024)]
RawText = Annotated[str, Field(max_length=1024)]
"""Text as the kernel or a facts file gives it, less one trailing newline."""


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """``json_schema_extra`` that carries CEL rules: (expression, message shown to whoever breaks it)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def list_map(*keys: str) -> dict[str, Any]:
    """``json_schema_extra`` of a list whose items are told apart by these members."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def keys_up_to(length: int) -> dict[str, Any]:
    """``json_schema_extra`` of a map whose keys have at most ``length`` characters (a schema bounds values only)."""
    return rules((f"self.all(k, size(k) <= {length})", f"a key has more than {length} characters"))


ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
KEEP_DEFAULT: dict[str, Any] = {"x-mdev-keep-default": True}
"""``json_schema_extra`` of a member whose empty default the API server is to fill in."""
ATOMIC_MAP: dict[str, Any] = {"x-kubernetes-map-type": "atomic"}


class ApiModel(BaseModel):
    """A part of an API object: frozen, camelCase on the wire, members it does not know are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )


class ObjectMeta(ApiModel):
    """The members of Kubernetes' ObjectMeta that this project reads."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class ConditionStatus(StrEnum):
    """Status of a condition (meta/v1)."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One condition (meta/v1 Condition)."""

    type: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z]+$")]
    """What the condition is about."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the object that this was said of."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status changed last."""
    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]+$")]
    """Why, as one word for programs."""
    message: Message = ""
    """Why, as a sentence for people."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=8, json_schema_extra=list_map("type"))]


class ApiObject(ApiModel):
    """A whole object; each kind adds ``spec`` and ``status``."""

    api_version: str = API_VERSION
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


def dump(model: ApiModel) -> dict[str, Any]:
    """The model as it goes on the wire: by alias; None and empty lists and maps are absent."""
    content = _without_empty(model.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert isinstance(content, dict)
    return content


def _without_empty(content: Any) -> Any:
    if isinstance(content, dict):
        kept = {key: _without_empty(value) for key, value in content.items()}
        return {key: value for key, value in kept.items() if value not in ({}, [])}
    if isinstance(content, list):
        return [_without_empty(item) for item in content]
    return content
