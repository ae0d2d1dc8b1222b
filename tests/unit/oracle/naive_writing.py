"""Which writes, in which order: design section 4, point 3, a second time; see :mod:`naive`.

Values are canonical texts here. ``held``: what the device has; a parameter that is missing there was not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.unit.oracle.naive import is_allowed, text

Writes = list[tuple[str, str]]


def writes(destination: Mapping[str, Any], wanted: Mapping[str, str], held: Mapping[str, str]) -> Writes:
    """What turns ``held`` into ``wanted``, in the order of definition."""
    if destination.get("strategy") != "OffFirst":
        return differing(wanted, held)
    if differing(wanted, held) == []:
        return []
    offs = differing(off_texts(destination), held)
    return offs + differing(wanted, {**held, **dict(offs)})


def off_texts(destination: Mapping[str, Any]) -> dict[str, str]:
    """What can be switched off at all: off values that it allows, of parameters that can be written."""
    return {
        name: text(d["off"])
        for name, d in destination["params"].items()
        if d["off"] is not None and d.get("file", True) and is_allowed(d, d["off"])
    }


def differing(wanted: Mapping[str, str], held: Mapping[str, str]) -> Writes:
    return [(name, value) for name, value in wanted.items() if held.get(name) != value]
