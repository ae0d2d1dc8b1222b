"""An explicit source by a version of its model, a second time: an alias for a full assignment; see :mod:`naive`.

A *device* is ``{"model", "version", "values": {name: {"type", "value", "off"}}}``; a *model* is ``{"model", "valid",
"params": {name: {"type", "off"}}, "versions": {version: {name: value}}}``; values are texts as people write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.unit.oracle.naive import Value

BOOLS = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


def source_of(device: Mapping[str, Any], models: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    given = {name: dict(each) for name, each in device["values"].items()}
    known = [model for model in models if model["model"] == device["model"] and model["valid"]]
    params = known[0]["params"] if known else {}
    alias = known[0]["versions"].get(device["version"]) if known else None
    unknown = alias is None or any(name not in alias for name in params)
    aliased = {} if unknown else {name: {**params[name], "value": value} for name, value in alias.items()}
    for name, each in given.items():
        if each["off"] is None and name in aliased and aliased[name]["type"] == each["type"]:
            each["off"] = aliased[name]["off"]
    return {
        "model": device["model"],
        "broken": False,
        "unknown_version": unknown,
        "params": {name: parameter(each) for name, each in {**aliased, **given}.items()},
    }


def parameter(each: Mapping[str, Any]) -> dict[str, Any]:
    value = read(each["type"], each["value"])
    off = None if each["off"] is None else read(each["type"], each["off"])
    if value is None or (off is None and each["off"] is not None):
        return {"type": None, "value": None, "off": None, "broken": True}
    return {"type": each["type"], "value": value, "off": off, "broken": False}


def read(kind: str, text: str) -> Value | None:
    """None: no text of this type."""
    if kind == "bool":
        return ("bool", BOOLS[text]) if text in BOOLS else None
    if kind == "int":
        return ("int", int(text)) if re.fullmatch("0|[1-9][0-9]*", text) else None
    return None if "\n" in text or "\0" in text else ("str", text)
