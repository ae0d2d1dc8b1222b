"""The compatibility rules a second time, written from the text of the design alone and as plainly as they can be said.

It shares no code and no idea with the engine: values are typed pairs such as
``("int", 4096)``, allowed values are sets (ranges expanded where they are small), rules are one ``if`` each. Two
independent readings of one text agree on thousands of cases only where both are right, or the text misled both.

Data, all plain: a *source* is ``{"model", "broken", "params": {name: {"type", "value", "off", "broken"}}}``; a
*destination* is ``{"model", "broken", "hidden", "params": {name: {"type", "init", "off", "allowed", "broken"}}}`` in
the order of definition. ``broken``: a SchemaError; ``hidden``: it hides the parameters. Absent is None everywhere.
Optional: a source's ``"unknown_version"`` (its parameters are then only those given beside it), a destination's
``"strategy"``, a parameter's ``"file"`` (False: nobody can write it) and ``"runtime"`` (True: also while it runs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Value = tuple[str, Any]
Finding = tuple[str, str | None]

INCOMPATIBLE = {
    "ModelMismatch",
    "UnknownParameter",
    "TypeMismatch",
    "ValueNotAllowed",
    "CannotDisable",
    "OffValueNotAllowed",
    "OffValueMismatch",
    "UnknownVersion",
}


# ---- the rules -----------------------------------------------------------------------------------------------------


def is_allowed(parameter: Mapping[str, Any], value: Value) -> bool:
    if parameter["allowed"] is None:
        return True
    return any(value[1] in some if isinstance(some, range) else value in some for some in parameter["allowed"])


def parameter_list(source: Mapping[str, Any]) -> dict[str, Value]:
    return {
        name: p["value"]
        for name, p in source["params"].items()
        if not p["broken"] and p["value"] is not None and (p["off"] is None or p["off"] != p["value"])
    }


def findings(source: Mapping[str, Any], destination: Mapping[str, Any], stale: bool = False) -> set[Finding]:
    for side in (source, destination):
        if side["model"] is None and not side["broken"]:
            return {("NoModel", None)}
    if None not in (source["model"], destination["model"]) and source["model"] != destination["model"]:
        return {("ModelMismatch", None)}
    found: set[Finding] = {("Stale", None)} if stale else set()
    found |= {("SchemaError", None)} if source["broken"] or destination["broken"] else set()
    found |= {("UnknownVersion", None)} if source.get("unknown_version") else set()
    found |= {("SchemaError", name) for name, p in source["params"].items() if p["broken"]}
    found |= {("Unreadable", name) for name, p in source["params"].items() if not p["broken"] and p["value"] is None}
    if None in (source["model"], destination["model"]):
        # What could not be understood may be another model, and parameters of another model mean nothing.
        return found
    for name in {*source["params"], *destination["params"]}:
        found |= compare_one(name, source, destination)
    return found


def disable(name: str, d: Mapping[str, Any]) -> set[Finding]:
    """A destination's parameter that is not in the list must go to its off value."""
    if d["off"] is None:
        return {("CannotDisable", name)}
    return set() if is_allowed(d, d["off"]) else {("OffValueNotAllowed", name)}


def compare_one(name: str, source: Mapping[str, Any], destination: Mapping[str, Any]) -> set[Finding]:
    """What is found of one parameter, whoever defines it."""
    p, d = source["params"].get(name), destination["params"].get(name)
    listed = name in parameter_list(source)
    if (p is not None and p["broken"]) or (d is not None and d["broken"]):
        return {("SchemaError", name)}
    if d is None:
        return {("UnknownParameter", name)} if listed and not destination["hidden"] else set()
    if p is None:
        return set() if source.get("unknown_version") else disable(name, d)
    found: set[Finding] = set()
    same_type = p["type"] == d["type"]
    if not same_type:
        found.add(("TypeMismatch", name))
    if p["value"] is None:
        return found
    if listed:
        return found | ({("ValueNotAllowed", name)} if same_type and not is_allowed(d, p["value"]) else set())
    found |= disable(name, d)
    if same_type and None not in (p["off"], d["off"]) and p["off"] != d["off"]:
        found.add(("OffValueMismatch", name))
    return found


def verdict(found: set[Finding]) -> str:
    if any(code in INCOMPATIBLE for code, _ in found):
        return "Incompatible"
    return "Unknown" if found else "Compatible"


def desired(source: Mapping[str, Any], destination: Mapping[str, Any]) -> dict[str, Value]:
    listed = parameter_list(source)
    return {name: listed[name] if name in listed else d["off"] for name, d in destination["params"].items()}


def init_values(destination: Mapping[str, Any]) -> dict[str, Value]:
    return {name: d["init"] for name, d in destination["params"].items()}


def text(value: Value) -> str:
    kind, plain = value
    return {True: "on", False: "off"}[plain] if kind == "bool" else str(plain)


# ---- the choice ----------------------------------------------------------------------------------------------------


def flexibility(destination: Mapping[str, Any]) -> tuple[int, int]:
    """How many parameters take any value of an endless type, then how many combinations the others have."""
    endless, combinations = 0, 1
    for d in destination["params"].values():
        if d["allowed"] is not None:
            combinations *= how_many(d["allowed"])
        elif d["type"] == "bool":
            combinations *= 2
        else:
            endless += 1
    return endless, combinations


def how_many(allowed: list[Any]) -> int:
    """Different values; of wide ranges there is at most one here, so that no value can be in two."""
    wide = [some for some in allowed if isinstance(some, range)]
    assert len(wide) < 2
    single = {value for some in allowed if not isinstance(some, range) for value in some}
    outside = [value for value in single if not any(value[1] in some for some in wide)]
    return len(outside) + sum(some.stop - some.start for some in wide)


def order(opening: Mapping[str, Any], writes_needed: int, source_type: str | None) -> tuple[Any, ...]:
    """Design section 4, point 4, one element for each criterion; smaller is better."""
    idle = opening["instance"] is not None or opening["slot"] is not None
    right = writes_needed == 0
    return (
        opening["suspect"],
        not (idle and right),
        not right,
        writes_needed,
        not idle,
        flexibility(opening["destination"]),
        source_type is None or opening["type"] != source_type,
        -opening["free"],
        opening["node"],
        opening["parent"] or "",
        opening["type"],
        opening["profile"],
        opening["instance"] or "",
        opening["slot"] or "",
    )
