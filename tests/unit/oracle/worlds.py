"""Migration infos as JSON for hypothesis to try: mostly sound and alike, so that every rule is reached; some faulty.

A *document* is what :mod:`naive_reading` keeps of JSON: objects are lists of pairs, so a key can occur twice, and
numbers are the text that will stand in the file.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.unit.oracle.naive_reading import Number, Object, is_utf8

Draw = Callable[[st.SearchStrategy[Any]], Any]

MODELS = ["com.gfx/GPU", "com.gfx/gpu", "com.gfx/GPU-4G", "vendor-a.com/m\u00fcller", "vendor-a.com/mu\u0308ller"]
BAD_MODELS = ["", "a b", "a\u200bb", "a\ue000", "a\nb", "a\u00a0", "\ud800"]
NAMES = ["memory", "num-queues", "\u00e4", "a\u0308", "back\\slash", "...", "a\u200bb", "\u65e5\u672c", "x" * 255]
BAD_NAMES = ["", ".", "..", "a=b", "a/b", "a b", "a\u3000b", "a\u0085", "a\x1cb", "a\x7f", "\u00e9" * 128, "\udfff"]
TYPES = ["int", "bool", "str"]
GOOD = {
    "bool": [False, True],
    "int": [Number(n) for n in ("0", "1", "2", "255", "256", "1000", "18446744073709551616", "9" * 40)],
    "str": ["", "1", "0", "on", "off", "true", "0-255", "a b", " a", "\u00e4", "a\u0308", "\u2028", "x" * 4095],
}
BAD = {
    "bool": [Number("1"), Number("0"), "on", "true", "", None, [], Object()],
    "int": [
        True,
        False,
        "1",
        "",
        "0-1",
        None,
        *map(Number, ("-0", "-1", "1.0", "1e2", "0E1", "9" * 4096)),
        [],
        Object(),
    ],
    "str": [True, Number("1"), None, "a\nb", "a\0b", "\ud800", "x" * 4096, "\u00e9" * 2048, [], Object()],
}
RANGES = ["0-0", "0-1", "1-2", "0-255", "256-300", "255-256", "2-1000", "1-18446744073709551616", "3-" + "9" * 40]
BAD_RANGES = ["", "1", "0-", "-1", "1-0", "01-2", "0 - 1", "0-1 ", "0-1\n", "\u0660-\u0661", "0x0-0x1", "1-2-3", "on"]

BAD_TYPES = [None, "Bool", "", "float", "int ", Number("1"), True, [], Object()]
NO_OBJECTS = [None, True, Number("1"), "", [], [Object()]]


UP_TO = [st.integers(0, most) for most in range(100)]


def up_to(draw: Draw, most: int) -> int:
    return int(draw(UP_TO[most]))


def chance(draw: Draw, percent: int) -> bool:
    """Shrinks to False."""
    return up_to(draw, 99) >= 100 - percent


def one_of(draw: Draw, choices: Sequence[Any]) -> Any:
    """Lists are copied, as documents are changed in place."""
    choice = choices[up_to(draw, len(choices) - 1)]
    return copy.deepcopy(choice) if isinstance(choice, list) else choice


def some_of(draw: Draw, choices: Sequence[Any], least: int, most: int) -> list[Any]:
    """Different ones, in some order."""
    left, taken = list(choices), []
    for _ in range(draw(st.integers(least, most))):
        taken.append(left.pop(up_to(draw, len(left) - 1)))
    return taken


def written(thing: Any) -> str:
    """The JSON text of a document; what UTF-8 cannot carry is escaped."""
    if isinstance(thing, Object):
        return "{" + ", ".join(f"{written(name)}: {written(value)}" for name, value in thing) + "}"
    if isinstance(thing, list):
        return "[" + ",".join(map(written, thing)) + "]"
    if isinstance(thing, Number):
        return str(thing)
    return json.dumps(thing, ensure_ascii=isinstance(thing, str) and not is_utf8(thing))


def source_parameters(draw: Draw, name: str) -> tuple[str, Object]:
    kind = one_of(draw, TYPES)
    body = Object([("type", kind)])
    off = None
    if chance(draw, 60):
        off = one_of(draw, GOOD[kind])
        body.append(("off_value", off))
    if chance(draw, 5):
        body.extend(one_of(draw, [[], [("value", None)]]))
    else:
        body.append(("value", off if off is not None and chance(draw, 40) else one_of(draw, GOOD[kind])))
    return name, body


def sources(draw: Draw) -> Object:
    """A source without fault, but for what may be missing: its model, values."""
    params = Object(source_parameters(draw, name) for name in some_of(draw, NAMES, 0 if chance(draw, 5) else 1, 4))
    if chance(draw, 4):
        return Object([*one_of(draw, [[], [("model", None)]]), ("params", params)])
    return Object([("model", one_of(draw, MODELS[:2])), ("params", params)])


def allowed_values(draw: Draw, kind: str, wanted: Any) -> list[Any]:
    values = [one_of(draw, GOOD[kind]) for _ in range(draw(st.integers(1, 3)))]
    if kind == "int" and chance(draw, 50):
        values.insert(up_to(draw, len(values)), one_of(draw, RANGES))
    if wanted is not None and chance(draw, 65):
        values.append(wanted)
    return values


def destination_parameters(draw: Draw, wanted: Object | None) -> Object:
    """A sound definition, near what ``wanted`` (a source's parameter) asks for."""
    [kind] = wanted.all("type") if wanted is not None and not chance(draw, 8) else [one_of(draw, TYPES)]
    same = wanted is not None and [kind] == wanted.all("type")
    value, off = (wanted.all(key)[:1] if same else [] for key in ("value", "off_value"))
    body = Object([("type", kind)])
    allowed = None
    if chance(draw, 50):
        allowed = allowed_values(draw, kind, value[0] if value and chance(draw, 80) else None)
        body.append(("allowed_values", allowed))
    singles = [item for item in allowed or [] if kind == "str" or type(item) is not str]
    init = one_of(draw, singles) if singles else one_of(draw, GOOD[kind])
    body.append(("init_value", init))
    if off and chance(draw, 85):
        body.append(("off_value", off[0]))
        if allowed is not None and chance(draw, 70):
            allowed.append(off[0])
    elif chance(draw, 50 if same else 80):
        body.append(("off_value", one_of(draw, [init, *singles]) if chance(draw, 60) else one_of(draw, GOOD[kind])))
    if chance(draw, 10):
        body.append(("description", "what it is for"))
    return body


def parameters_near(draw: Draw, source: Object) -> Object:
    """Definitions for most parameters of ``source`` in some order, and some of their own."""
    defined = [params for params in source.all("params") if isinstance(params, Object)]
    asked = dict(defined[0]) if defined else {}
    names = [name for name in asked if not chance(draw, 12)]
    if chance(draw, 30):
        names += some_of(draw, [name for name in NAMES if name not in asked], 1, 2)
    if chance(draw, 50):
        names = some_of(draw, names, len(names), len(names))
    return Object((name, destination_parameters(draw, asked.get(name))) for name in names)


def destinations(draw: Draw, source: Object) -> Object:
    """A sound destination near ``source``, with one model or several."""
    [model] = source.all("model") or [None]
    models = Object([(model or MODELS[0], Object([("params", parameters_near(draw, source))]))])
    if chance(draw, 5):
        models = Object((MODELS[2], body) for _, body in models)
    if chance(draw, 3):
        models = Object()
    if chance(draw, 15):
        for other in some_of(draw, MODELS[3:] + BAD_MODELS, 1, 2):
            place = up_to(draw, len(models))
            models.insert(place, (other, Object([("params", parameters_near(draw, source))])))
    return Object([("models", models)])


def paths(thing: Any) -> list[Object]:
    """Every object of a document, outermost first."""
    if isinstance(thing, Object):
        return [thing, *(below for _, value in thing for below in paths(value))]
    return [below for value in thing for below in paths(value)] if isinstance(thing, list) else []


def spoiled(draw: Draw, document: Object) -> Any:
    """The same document (changed in place) with one fault, or an unknown member, somewhere."""
    if chance(draw, 2):
        return one_of(draw, NO_OBJECTS)
    places = paths(document)
    target = places[up_to(draw, len(places) - 1)]
    if not target or chance(draw, 8):
        nested = Object([("a", True), ("a", [])])
        target.append(("extra", one_of(draw, [Number("1"), None, nested, [nested]])))
        return document
    place = up_to(draw, len(target) - 1)
    key, value = target[place]
    what = one_of(draw, ["replace", "replace", "replace", "rename", "twice", "remove"])
    if what == "twice":
        target.insert(up_to(draw, len(target)), (key, one_of(draw, NO_OBJECTS) if chance(draw, 30) else value))
    elif what == "remove":
        del target[place]
    elif what == "rename":
        target[place] = (one_of(draw, [*BAD_NAMES, *BAD_MODELS, *MODELS]), value)
    else:
        target[place] = (key, replacements(draw, key, target))
    return document


def replacements(draw: Draw, key: str, body: Object) -> Any:
    kinds = [kind for kind in body.all("type") if type(kind) is str and kind in TYPES]
    if key in ("value", "off_value", "init_value") and kinds:
        return one_of(draw, (BAD if chance(draw, 80) else GOOD)[kinds[0]])
    if key == "allowed_values" and kinds:
        faulty = BAD[kinds[0]] if kinds[0] != "int" or chance(draw, 50) else BAD_RANGES
        items = [one_of(draw, faulty), *(one_of(draw, GOOD[kinds[0]]) for _ in range(draw(st.integers(0, 2))))]
        return one_of(draw, [items, items[::-1], [], None, Object(), "0-255"])
    if key == "type":
        return one_of(draw, [*BAD_TYPES, *TYPES])
    if key == "model":
        return one_of(draw, [*BAD_MODELS, *MODELS, Number("1"), True, [], Object()])
    return one_of(draw, NO_OBJECTS)


@st.composite
def sound_pairs(draw: Draw) -> tuple[Object, Object]:
    """A source and a destination without fault."""
    source = sources(draw)
    return source, destinations(draw, source)


@st.composite
def pairs(draw: Draw) -> tuple[Any, Any]:
    """A source and a destination; now and then either has a fault."""
    source = sources(draw)
    destination: Any = destinations(draw, source)
    if chance(draw, 25):
        destination = spoiled(draw, destination)
        if chance(draw, 20) and isinstance(destination, Object):
            destination = spoiled(draw, destination)
    if chance(draw, 8):
        return spoiled(draw, source), destination
    return source, destination
