"""pydantic's JSON schema to a structural schema (Kubernetes: "Specifying a structural schema").

The two dialects differ where it hurts: JSON schema 2020-12 has references, ``anyOf`` with null for optional members,
``const``, a numeric ``exclusiveMinimum`` and titles; a structural schema has none of them and prunes what it does not
name. Every keyword is either translated here or refused with its path, so nothing that a kind says is lost silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from mdev_api.kinds.common import KEEP_DEFAULT

_VERBATIM = (
    *("type", "format", "description", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems"),
    *("minProperties", "maxProperties", "minimum", "maximum", "required"),
)
_LEFT_OUT = {"title", "$defs", "propertyNames", "default", *KEEP_DEFAULT}
_TRANSLATED = {
    *("properties", "items", "additionalProperties", "patternProperties"),
    *("const", "exclusiveMinimum", "exclusiveMaximum"),
}


class ManifestError(Exception):
    """A kind uses something that has no structural form; the message names where and what."""


def structural_schema(model: type[BaseModel], *, defaults: bool = True) -> dict[str, Any]:
    """The structural schema of ``model``, members by alias. ``defaults`` False: none at any depth (for a status)."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, _Context(definitions=schema.get("$defs", {}), defaults=defaults), model.__name__, ())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Context:
    """What holds for a whole schema."""

    definitions: Mapping[str, Any]
    defaults: bool


def _convert(node: Mapping[str, Any], context: _Context, path: str, within: tuple[str, ...]) -> dict[str, Any]:
    node, within = _resolved(node, context, path, within)
    if "type" not in node and "const" not in node:
        raise ManifestError(f"{path}: no type: the API server would prune it")
    unknown = {key for key in node if not key.startswith("x-kubernetes-")}
    unknown -= {*_VERBATIM, *_LEFT_OUT, *_TRANSLATED}
    if unknown:
        raise ManifestError(f"{path}: {', '.join(sorted(unknown))} has no structural form here")
    schema: dict[str, Any] = {key: node[key] for key in _VERBATIM if key in node}
    schema |= _constant(node) | _bounds(node, path) | _default(node, context)
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    if node.get("type") == "integer":
        schema["format"] = "int64"
    if "properties" in node:
        schema["properties"] = {
            name: _convert(member, context, f"{path}.{name}", within) for name, member in node["properties"].items()
        }
    if "items" in node:
        schema["items"] = _convert(node["items"], context, f"{path}[]", within)
    if (values := _map_values(node)) is not None:
        schema["additionalProperties"] = _convert(values, context, f"{path}{{}}", within)
    return schema | {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}


def _resolved(
    node: Mapping[str, Any], context: _Context, path: str, within: tuple[str, ...]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """``node`` without references and optional wrappers; what stands beside a reference wins over its target."""
    while True:
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name in within:
                raise ManifestError(f"{path}: {name} contains itself, which a structural schema cannot say")
            within = (*within, name)
            node = _merged(context.definitions[name], node, "$ref")
        elif "anyOf" in node or "allOf" in node:
            keyword = "anyOf" if "anyOf" in node else "allOf"
            choices = [choice for choice in node[keyword] if choice.get("type") != "null"]
            if len(choices) != 1:
                raise ManifestError(f"{path}: {keyword} of {len(choices)} types has no structural form")
            node = _merged(choices[0], node, keyword)
        else:
            return node, within


def _merged(inner: Mapping[str, Any], outer: Mapping[str, Any], wrapper: str) -> dict[str, Any]:
    return {**inner, **{key: value for key, value in outer.items() if key != wrapper}}


def _map_values(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of a map's values. What bounds its keys has no structural form: that takes a CEL rule."""
    patterns = list(node.get("patternProperties", {}).values())
    values = patterns[0] if patterns else node.get("additionalProperties")
    return values if isinstance(values, Mapping) else None


def _constant(node: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": node.get("type", "string"), "enum": [node["const"]]} if "const" in node else {}


def _bounds(node: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Exclusive bounds of an integer as inclusive ones (OpenAPI 3.0 has a boolean where JSON schema has a number)."""
    exclusive = {"exclusiveMinimum": ("minimum", 1), "exclusiveMaximum": ("maximum", -1)}
    bounds = {}
    for keyword, (inclusive, step) in exclusive.items():
        if keyword in node:
            if node.get("type") != "integer":
                raise ManifestError(f"{path}: {keyword} is translated for integers only")
            bounds[inclusive] = node[keyword] + step
    return bounds


def _default(node: Mapping[str, Any], context: _Context) -> dict[str, Any]:
    default = node.get("default")
    if (
        not context.defaults
        or default is None
        or (default in ([], {}, "") and not KEEP_DEFAULT.items() <= node.items())
    ):
        return {}
    return {"default": default}
