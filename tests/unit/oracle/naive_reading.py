"""Migration info JSON read a second time, as plainly as the text of the design can be said; see :mod:`naive`.

JSON is kept as it was written (numbers as text, objects as pairs), so that every fault can still be seen.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from tests.unit.oracle.naive import Value, is_allowed

WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F}
WHITE_SPACE.add(0x3000)
CONTROL = {*range(0x20), *range(0x7F, 0xA0)}
SMALL = 1000


class Number(str):
    """A JSON number as it was written."""


class Object(list[tuple[str, Any]]):
    """A JSON object as its pairs: a key may be there twice."""

    def all(self, key: str) -> list[Any]:
        return [value for name, value in self if name == key]

    def without(self, *keys: str) -> Object:
        return Object((name, value) for name, value in self if name not in keys)


class SchemaError(Exception):
    """This parameter, or this whole, cannot be understood."""


def load(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Object, parse_int=Number, parse_float=Number)


def has_duplicate(thing: Any) -> bool:
    if isinstance(thing, Object):
        names = [name for name, _ in thing]
        return len(names) != len(set(names)) or any(has_duplicate(value) for _, value in thing)
    return isinstance(thing, list) and any(has_duplicate(value) for value in thing)


def is_parameter_name(name: str) -> bool:
    return (
        is_utf8(name)
        and 1 <= len(name.encode()) <= 255
        and name not in (".", "..")
        and not any(c in "=/" or ord(c) in WHITE_SPACE or ord(c) in CONTROL for c in name)
    )


def is_model_name(name: str) -> bool:
    return name != "" and not any(unicodedata.category(c)[0] in ("C", "Z") for c in name)


def is_utf8(text: str) -> bool:
    return text.isascii() or not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def read_value(kind: str, written: Any) -> Value:
    if kind == "bool" and (written is True or written is False):
        return ("bool", written)
    if kind == "int" and isinstance(written, Number) and re.fullmatch("0|[1-9][0-9]*", written) and len(written) < 4096:
        return ("int", int(written))
    if kind == "str" and type(written) is str and is_text(written):
        return ("str", written)
    raise SchemaError


def is_text(written: str) -> bool:
    return is_utf8(written) and len(written.encode()) < 4096 and "\n" not in written and "\0" not in written


def read_allowed(kind: str, written: Any) -> list[Any]:
    """The allowed values as a list of sets of values and of wide ranges."""
    if isinstance(written, Object) or not isinstance(written, list) or written == []:
        raise SchemaError
    allowed: list[Any] = []
    for item in written:
        if kind == "int" and type(item) is str:
            ends = re.fullmatch("(0|[1-9][0-9]*)-(0|[1-9][0-9]*)", item)
            if ends is None or int(ends[1]) > int(ends[2]):
                raise SchemaError
            low, high = int(ends[1]), int(ends[2])
            wide = high - low > SMALL
            allowed.append(range(low, high + 1) if wide else {("int", n) for n in range(low, high + 1)})
        else:
            allowed.append({read_value(kind, item)})
    return allowed


def read_type(body: Object) -> str:
    [kind] = body.all("type") or [None]
    if type(kind) is str and kind in ("bool", "int", "str"):
        return kind
    raise SchemaError


def read_source(text: str) -> dict[str, Any] | None:
    """None: unusable, as every fault of a source makes it."""
    document = load(text)
    if not isinstance(document, Object) or has_duplicate(document):
        return None
    [model] = document.all("model") or [None]
    [params] = document.all("params") or [None]
    if model is not None and (type(model) is not str or not is_model_name(model)):
        return None
    if not isinstance(params, Object):
        return None
    source: dict[str, Any] = {"model": model, "broken": False, "params": {}}
    for name, body in params:
        try:
            if not is_parameter_name(name) or not isinstance(body, Object):
                raise SchemaError
            kind = read_type(body)
            [value] = body.all("value") or [None]
            source["params"][name] = {
                "type": kind,
                "value": None if value is None else read_value(kind, value),
                "off": read_value(kind, body.all("off_value")[0]) if body.all("off_value") else None,
                "broken": False,
            }
        except SchemaError:
            return None
    return source


def read_destination(text: str, model: str | None) -> dict[str, Any] | None:
    """What a source of ``model`` is compared with; None: unusable."""
    document = load(text)
    if not isinstance(document, Object):
        return None
    hidden = {"model": None, "broken": True, "hidden": True, "params": {}}
    if len(document.all("models")) != 1 or not isinstance(document.all("models")[0], Object):
        return hidden
    [models] = document.all("models")
    if models == []:
        return {**hidden, "broken": False}
    bodies = models.all(model) if model is not None else []
    if bodies == []:
        legal = [name for name, _ in models if is_model_name(name)]
        return {"model": legal[0], "broken": False, "hidden": True, "params": {}} if legal else hidden
    if len(bodies) > 1 or not isinstance(bodies[0], Object):
        return {**hidden, "model": model}
    [body] = bodies
    if len(body.all("params")) != 1 or not isinstance(body.all("params")[0], Object):
        return {**hidden, "model": model}
    [params] = body.all("params")
    return {
        "model": model,
        "broken": has_duplicate(document.without("models")) or has_duplicate(body.without("params")),
        "hidden": False,
        "params": {name: read_parameter(name, params.all(name)) for name, _ in params},
    }


def read_parameter(name: str, bodies: list[Any]) -> dict[str, Any]:
    try:
        [body] = bodies if len(bodies) == 1 else [None]
        if not is_parameter_name(name) or not isinstance(body, Object) or has_duplicate(body):
            raise SchemaError
        kind = read_type(body)
        if any(type(text) is not str for text in body.all("description")) or not body.all("init_value"):
            raise SchemaError
        parameter = {
            "type": kind,
            "init": read_value(kind, body.all("init_value")[0]),
            "off": read_value(kind, body.all("off_value")[0]) if body.all("off_value") else None,
            "allowed": read_allowed(kind, body.all("allowed_values")[0]) if body.all("allowed_values") else None,
            "broken": False,
        }
        if not is_allowed(parameter, parameter["init"]):
            raise SchemaError
        return parameter
    except SchemaError:
        return {"type": None, "init": None, "off": None, "allowed": None, "broken": True}
