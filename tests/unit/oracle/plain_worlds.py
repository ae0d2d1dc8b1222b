"""Small worlds as plain data (:mod:`naive` says how): few names and values, so that the same ones meet often.

JSON is not in it: what cannot be written there (strategies, files, faults of a source) is mixed in here.
"""

from __future__ import annotations

from typing import Any

from tests.unit.oracle.naive import Value
from tests.unit.oracle.tape import Tape, between, chance, one_of, some_of

NAMES = ["a", "b", "c"]
VALUES: dict[str, list[Value]] = {
    "int": [("int", n) for n in range(6)],
    "bool": [("bool", False), ("bool", True)],
    "str": [("str", plain) for plain in ("", "on", "x", "1")],
}
KINDS = ["int", "int", "bool", "str"]
BROKEN = {"type": None, "value": None, "init": None, "off": None, "allowed": None, "broken": True}


def allowed_values(tape: Tape, kind: str) -> list[Any] | None:
    if chance(tape, 35):
        return None
    single = {one_of(tape, VALUES[kind]) for _ in range(between(tape, 1, 3))}
    if kind != "int" or chance(tape, 50):
        return [single]
    low = between(tape, 0, 5)
    return [single, {("int", n) for n in range(low, between(tape, low, 5) + 1)}]


def definition(tape: Tape, kind: str, off: Value | None = None) -> dict[str, Any]:
    """``off``: mostly this is its off value."""
    allowed = allowed_values(tape, kind)
    inside = [value for value in VALUES[kind] if allowed is None or any(value in some for some in allowed)]
    init = one_of(tape, inside)
    if off is None or chance(tape, 15):
        off = one_of(tape, [None, init, *VALUES[kind]])
    if allowed is not None and off is not None and chance(tape, 70):
        allowed.append({off})
    file = not chance(tape, 15)
    return {
        "type": kind,
        "init": init,
        "off": off,
        "allowed": allowed if file else [{init}],
        "broken": False,
        "file": file,
        "runtime": one_of(tape, [True, True, True, True, True, None, False]),
    }


def destination(tape: Tape) -> dict[str, Any]:
    names = some_of(tape, NAMES, 0 if chance(tape, 10) else 1, len(NAMES))
    return made_of(
        {name: definition(tape, one_of(tape, KINDS)) for name in names}, one_of(tape, ["Direct", "OffFirst"])
    )


def made_of(params: dict[str, Any], strategy: str = "Direct") -> dict[str, Any]:
    return {"model": "m", "broken": False, "hidden": False, "params": params, "strategy": strategy}


def source_near(tape: Tape, there: dict[str, Any]) -> dict[str, Any]:
    """A source that mostly has the parameters of ``there``, with its types and off values."""
    sound = {name: d for name, d in there["params"].items() if not d["broken"]}
    params = {name: parameter_near(tape, d) for name, d in sound.items() if not chance(tape, 10)}
    for name in NAMES:
        if name not in params and chance(tape, 8):
            params[name] = parameter_near(tape, definition(tape, one_of(tape, KINDS)))
    return {"model": "m", "broken": False, "params": params}


def parameter_near(tape: Tape, d: dict[str, Any]) -> dict[str, Any]:
    kind, off = d["type"], d["off"]
    if chance(tape, 8):
        kind = one_of(tape, KINDS)
    if kind != d["type"] or chance(tape, 12):
        off = one_of(tape, [None, *VALUES[kind]])
    choices = VALUES[kind] if kind != d["type"] or chance(tape, 30) else [d["init"], *inside(d)]
    value = off if off is not None and chance(tape, 30) else one_of(tape, choices)
    return {"type": kind, "value": value, "off": off, "broken": False}


def inside(d: dict[str, Any]) -> list[Value]:
    """The values of this universe that it allows."""
    return [v for v in VALUES[d["type"]] if d["allowed"] is None or any(v in some for some in d["allowed"])]


def current_values(tape: Tape, there: dict[str, Any], wanted: dict[str, Value]) -> dict[str, Value]:
    """What an instance of ``there`` may hold: often what is wanted; the init value where no file could change it."""
    right = chance(tape, 30)
    values = {}
    for name, d in there["params"].items():
        if d["broken"]:
            continue
        choices = [d["init"], d["off"] or d["init"], *inside(d)]
        value = wanted[name] if name in wanted and (right or chance(tape, 30)) else one_of(tape, choices)
        values[name] = value if d["file"] else d["init"]
    return values


def with_faults(tape: Tape, side: dict[str, Any]) -> dict[str, Any]:
    """The same source or destination; some of it is broken, unreadable, of another model or of none."""
    params = {name: BROKEN if chance(tape, 12) else p for name, p in side["params"].items()}
    if "hidden" not in side:
        params = {name: {**p, "value": None} if chance(tape, 12) else p for name, p in params.items()}
    broken = chance(tape, 12)
    model = one_of(tape, [None, "m", "n"]) if chance(tape, 25) else "m"
    faulty = {**side, "params": params, "broken": broken, "model": model}
    if "hidden" in side and broken and (model is None or chance(tape, 30)):
        return {**faulty, "hidden": True, "params": {}}
    return faulty
