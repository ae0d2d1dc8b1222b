"""What to change on a running source so that a place can take it: every way is tried; see :mod:`naive`.

Of all ways that leave no finding those with the fewest parameters count, and of these the nearest values: of an int the
largest below what it has, else the smallest above; of a str what the destination's new devices have, else the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from tests.unit.oracle.naive import Value, findings, is_allowed

INTS = range(8)
"""All that matter: every number in these worlds is at most 5."""


def adjustment(source: Mapping[str, Any], own: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Value] | None:
    """New values of the parameters that must change; none if none must, None if nothing helps."""
    may = [name for name, p in own["params"].items() if not p["broken"] and p["runtime"] is True and p["file"]]
    for size in range(len(may) + 1):
        ways = [
            dict(zip(names, values, strict=True))
            for names in itertools.combinations(may, size)
            for values in itertools.product(*(choices(name, source, own, there) for name in names))
        ]
        good = [way for way in ways if findings(adjusted(source, way), there) == set()]
        if good:
            return min(good, key=lambda way: [far(way[name], source, there, name) for name in sorted(way)])
    return None


def choices(name: str, source: Mapping[str, Any], own: Mapping[str, Any], there: Mapping[str, Any]) -> list[Value]:
    """None where it is not known what it has: nobody could undo that."""
    mine = own["params"][name]
    now = source["params"][name]["value"]
    if now is None:
        return []
    return [value for value in universe(name, own, there) if value != now and is_allowed(mine, value)]


def universe(name: str, own: Mapping[str, Any], there: Mapping[str, Any]) -> list[Value]:
    """Of a str those that a definition names: nobody can invent others."""
    kind = own["params"][name]["type"]
    if kind == "int":
        return [("int", n) for n in INTS]
    if kind == "bool":
        return [("bool", False), ("bool", True)]
    definitions = [side["params"][name] for side in (own, there) if name in side["params"]]
    named = [value for d in definitions for value in (d["init"], d["off"], *itertools.chain(*(d["allowed"] or [])))]
    return sorted({value for value in named if value is not None and value[0] == "str"})


def adjusted(source: Mapping[str, Any], way: Mapping[str, Value]) -> dict[str, Any]:
    return {
        **source,
        "params": {name: {**p, "value": way.get(name, p["value"])} for name, p in source["params"].items()},
    }


def far(value: Value, source: Mapping[str, Any], there: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    if value[0] == "str":
        at_new = name in there["params"] and there["params"][name]["init"] == value
        return (not at_new, value[1])
    now = source["params"][name]["value"]
    return (value > now, abs(value[1] - now[1]))
