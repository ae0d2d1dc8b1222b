"""Migration infos as JSON for hypothesis to try: mostly sound and alike, so that every rule is reached; some faulty.

A *document* is what :mod:`naive_reading` keeps of JSON: objects are lists of pairs, so a key can occur twice, and
numbers are the text that will stand in the file.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.unit.oracle.naive_reading import Number, Object, is_utf8
from tests.unit.oracle.tape import Tape, between, chance, from_tape, one_of, some_of

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


def written(thing: Any) -> str:
    """The JSON text of a document; what UTF-8 cannot carry is escaped."""
    if isinstance(thing, Object):
        return "{" + ", ".join(f"{written(name)}: {written(value)}" for name, value in thing) + "}"
    if isinstance(thing, list):
        return "[" + ",".join(map(written, thing)) + "]"
    if isinstance(thing, Number):
        return str(thing)
    return json.dumps(thing, ensure_ascii=isinstance(thing, str) and not is_utf8(thing))


def source_parameters(tape: Tape, name: str) -> tuple[str, Object]:
    kind = one_of(tape, TYPES)
    body = Object([("type", kind)])
    off = None
    if chance(tape, 60):
        off = one_of(tape, GOOD[kind])
        body.append(("off_value", off))
    if chance(tape, 5):
        body.extend(one_of(tape, [[], [("value", None)]]))
    else:
        body.append(("value", off if off is not None and chance(tape, 40) else one_of(tape, GOOD[kind])))
    return name, body


def sources(tape: Tape) -> Object:
    """A source without fault, but for what may be missing: its model, values."""
    params = Object(source_parameters(tape, name) for name in some_of(tape, NAMES, 0 if chance(tape, 5) else 1, 4))
    if chance(tape, 4):
        return Object([*one_of(tape, [[], [("model", None)]]), ("params", params)])
    return Object([("model", one_of(tape, MODELS[:2])), ("params", params)])


def allowed_values(tape: Tape, kind: str, wanted: Any) -> list[Any]:
    values = [one_of(tape, GOOD[kind]) for _ in range(between(tape, 1, 3))]
    if kind == "int" and chance(tape, 50):
        values.insert(tape.up_to(len(values)), one_of(tape, RANGES))
    if wanted is not None and chance(tape, 65):
        values.append(wanted)
    return values


def destination_parameters(tape: Tape, wanted: Object | None) -> Object:
    """A sound definition, near what ``wanted`` (a source's parameter) asks for."""
    [kind] = wanted.all("type") if wanted is not None and not chance(tape, 8) else [one_of(tape, TYPES)]
    same = wanted is not None and [kind] == wanted.all("type")
    value, off = (wanted.all(key)[:1] if same else [] for key in ("value", "off_value"))
    body = Object([("type", kind)])
    allowed = None
    if chance(tape, 50):
        allowed = allowed_values(tape, kind, value[0] if value and chance(tape, 80) else None)
        body.append(("allowed_values", allowed))
    singles = [item for item in allowed or [] if kind == "str" or type(item) is not str]
    init = one_of(tape, singles) if singles else one_of(tape, GOOD[kind])
    body.append(("init_value", init))
    if off and chance(tape, 85):
        body.append(("off_value", off[0]))
        if allowed is not None and chance(tape, 70):
            allowed.append(off[0])
    elif chance(tape, 50 if same else 80):
        body.append(("off_value", one_of(tape, [init, *singles]) if chance(tape, 60) else one_of(tape, GOOD[kind])))
    if chance(tape, 10):
        body.append(("description", "what it is for"))
    return body


def parameters_near(tape: Tape, source: Object) -> Object:
    """Definitions for most parameters of ``source`` in some order, and some of their own."""
    defined = [params for params in source.all("params") if isinstance(params, Object)]
    asked = dict(defined[0]) if defined else {}
    names = [name for name in asked if not chance(tape, 12)]
    if chance(tape, 30):
        names += some_of(tape, [name for name in NAMES if name not in asked], 1, 2)
    if chance(tape, 50):
        names = some_of(tape, names, len(names), len(names))
    return Object((name, destination_parameters(tape, asked.get(name))) for name in names)


def destinations(tape: Tape, source: Object) -> Object:
    """A sound destination near ``source``, with one model or several."""
    [model] = source.all("model") or [None]
    models = Object([(model or MODELS[0], Object([("params", parameters_near(tape, source))]))])
    if chance(tape, 5):
        models = Object((MODELS[2], body) for _, body in models)
    if chance(tape, 3):
        models = Object()
    if chance(tape, 15):
        for other in some_of(tape, MODELS[3:] + BAD_MODELS, 1, 2):
            place = tape.up_to(len(models))
            models.insert(place, (other, Object([("params", parameters_near(tape, source))])))
    return Object([("models", models)])


def paths(thing: Any) -> list[Object]:
    """Every object of a document, outermost first."""
    if isinstance(thing, Object):
        return [thing, *(below for _, value in thing for below in paths(value))]
    return [below for value in thing for below in paths(value)] if isinstance(thing, list) else []


def spoiled(tape: Tape, document: Object) -> Any:
    """The same document (changed in place) with one fault, or an unknown member, somewhere."""
    if chance(tape, 2):
        return one_of(tape, NO_OBJECTS)
    places = paths(document)
    target = places[tape.up_to(len(places) - 1)]
    if not target or chance(tape, 8):
        nested = Object([("a", True), ("a", [])])
        target.append(("extra", one_of(tape, [Number("1"), None, nested, [nested]])))
        return document
    place = tape.up_to(len(target) - 1)
    key, value = target[place]
    what = one_of(tape, ["replace", "replace", "replace", "rename", "twice", "remove"])
    if what == "twice":
        target.insert(tape.up_to(len(target)), (key, one_of(tape, NO_OBJECTS) if chance(tape, 30) else value))
    elif what == "remove":
        del target[place]
    elif what == "rename":
        target[place] = (one_of(tape, [*BAD_NAMES, *BAD_MODELS, *MODELS]), value)
    else:
        target[place] = (key, replacements(tape, key, target))
    return document


def replacements(tape: Tape, key: str, body: Object) -> Any:
    kinds = [kind for kind in body.all("type") if type(kind) is str and kind in TYPES]
    if key in ("value", "off_value", "init_value") and kinds:
        return one_of(tape, (BAD if chance(tape, 80) else GOOD)[kinds[0]])
    if key == "allowed_values" and kinds:
        faulty = BAD[kinds[0]] if kinds[0] != "int" or chance(tape, 50) else BAD_RANGES
        items = [one_of(tape, faulty), *(one_of(tape, GOOD[kinds[0]]) for _ in range(between(tape, 0, 2)))]
        return one_of(tape, [items, items[::-1], [], None, Object(), "0-255"])
    if key == "type":
        return one_of(tape, [*BAD_TYPES, *TYPES])
    if key == "model":
        return one_of(tape, [*BAD_MODELS, *MODELS, Number("1"), True, [], Object()])
    return one_of(tape, NO_OBJECTS)


def shuffled(thing: Any, random: Random) -> Any:
    """The same document with everything in another order."""
    if not isinstance(thing, list):
        return thing
    pairs = [(name, shuffled(value, random)) for name, value in thing] if isinstance(thing, Object) else list(thing)
    random.shuffle(pairs)
    return Object(pairs) if isinstance(thing, Object) else pairs


def sound_pair_of(tape: Tape) -> tuple[Object, Object]:
    source = sources(tape)
    return source, destinations(tape, source)


def pair_of(tape: Tape) -> tuple[Any, Any]:
    source = sources(tape)
    destination: Any = destinations(tape, source)
    if chance(tape, 25):
        destination = spoiled(tape, destination)
        if chance(tape, 20) and isinstance(destination, Object):
            destination = spoiled(tape, destination)
    if chance(tape, 8):
        return spoiled(tape, source), destination
    return source, destination


sound_pairs = from_tape(sound_pair_of)
"""A source and a destination without fault."""

pairs = from_tape(pair_of)
"""A source and a destination; now and then either has a fault."""
