"""The CEL rules and defaults of a CRD, as the API server applies them, read from the generated manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cel_expr_python import cel

CRDS = Path(__file__).resolve().parents[3] / "crds"

Schema = Mapping[str, Any]


class Rules:
    """Of the one version that ``crds/<plural>.yaml`` has."""

    def __init__(self, plural: str) -> None:
        manifest = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
        (version,) = manifest["spec"]["versions"]
        self._schema = _pruned(version["schema"]["openAPIV3Schema"])

    def defaulted(self, obj: dict[str, Any]) -> dict[str, Any]:
        """The object with what the schema fills in."""
        filled: dict[str, Any] = _defaulted(self._schema, obj)
        return filled

    def broken(self, new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[str]:
        """Messages of the rules that refuse this change; ``old`` None: the object is new."""
        return list(_broken(self._schema, new, old))


def _defaulted(schema: Schema, value: Any) -> Any:
    if isinstance(value, dict) and "properties" in schema:
        inner = schema["properties"]
        missing = {key: s["default"] for key, s in inner.items() if "default" in s and key not in value}
        return {
            key: _defaulted(inner[key], item) if key in inner else item for key, item in {**value, **missing}.items()
        }
    if isinstance(value, list) and "items" in schema:
        return [_defaulted(schema["items"], item) for item in value]
    return value


def _broken(schema: Schema, new: Any, old: Any) -> Iterator[str]:
    if new == old:
        return  # Unchanged parts are not judged again.
    for rule in schema.get("x-kubernetes-validations", ()):
        if old is None and "oldSelf" in rule["rule"]:
            continue
        result = _compiled(rule["rule"]).eval(data={"self": new, "oldSelf": old})
        if result.type() == cel.Type.ERROR or result.plain_value() is not True:
            yield rule.get("message") or rule["rule"]
    if isinstance(new, dict):
        for key, inner in schema.get("properties", {}).items():
            if key in new:
                yield from _broken(inner, new[key], old.get(key) if isinstance(old, dict) else None)
    if isinstance(new, list) and "items" in schema:
        before = _by_key(schema, old)
        for item in new:
            yield from _broken(schema["items"], item, before.get(_key(schema, item)))


def _pruned(schema: Schema) -> Schema:
    """Only what has rules or defaults, or something below that has."""
    kept = {key: schema[key] for key in schema if key.startswith("x-kubernetes-") or key == "default"}
    inner = {key: _pruned(part) for key, part in schema.get("properties", {}).items()}
    if inner := {key: part for key, part in inner.items() if _says(part)}:
        kept["properties"] = inner
    if "items" in schema and _says(items := _pruned(schema["items"])):
        kept["items"] = items
    return kept


def _says(pruned: Schema) -> bool:
    return not {"x-kubernetes-validations", "default", "properties", "items"}.isdisjoint(pruned)


def _by_key(schema: Schema, items: Any) -> dict[Any, Any]:
    """Items of before by their list-map key: only those can be compared."""
    if schema.get("x-kubernetes-list-type") != "map":
        return {}
    return {_key(schema, item): item for item in items or ()}


def _key(schema: Schema, item: Any) -> tuple[Any, ...] | None:
    if not isinstance(item, dict):
        return None
    return tuple(item.get(name) for name in schema.get("x-kubernetes-list-map-keys", ()))


@cache
def _compiled(rule: str) -> Any:
    return cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN}).compile(rule)
