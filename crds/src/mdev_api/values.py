"""Values of migration parameters: every spelling that people, drivers and JSON use, to one canonical text and back.

Canonical text is ``on``/``off`` for bool, ``(0|[1-9][0-9]*)`` in ASCII for int, and the string itself for str; at
most 4,095 bytes of UTF-8 (a sysfs page less the newline). It is unique per typed value, so everything above this
module compares text and never meets ``True == 1``, ``"4" == 4`` or ``08``.

Allowed values are *entries*: canonical texts, and for int also inclusive ranges ``a-b``. Ranges are never expanded,
and no digit string reaches ``int()`` whole, so neither a huge range nor a huge number costs more than its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mdev_api.engine.metadata import Allowed, ValueType

MAX_TEXT_BYTES = 4095

_INT = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_RANGE = re.compile(r"(0|[1-9][0-9]*)-(0|[1-9][0-9]*)", re.ASCII)
_BLANKS = " \t\n"
_TEXT_BOOLS = {"on": "on", "true": "on", "1": "on", "off": "off", "false": "off", "0": "off"}
_SYSFS_BOOLS = {**_TEXT_BOOLS, "y": "on", "Y": "on", "n": "off", "N": "off"}
_TEXT_FORM = {
    ValueType.BOOL: "on or off",
    ValueType.INT: "decimal digits without sign or leading zero",
    ValueType.STR: "text without newline and NUL",
}
_JSON_FORM = {
    ValueType.BOOL: "true or false",
    ValueType.INT: "a number without sign, fraction or exponent",
    ValueType.STR: "a string",
}
_BEYOND: int = 10**MAX_TEXT_BYTES
"""One more than any int value can be: stands for every range end with more digits than a value may have."""


class ValueFault(ValueError):  # noqa: N818 (the field says fault: it is an answer, not an accident)
    """A value that is not what its type asks for; the message is a sentence with the value and what is expected."""


@dataclass(frozen=True, slots=True)
class JsonNumber:
    """A number as it was spelled in JSON: ``1.0``, ``1e2`` and ``-0`` are no int here, and no digit limit applies."""

    text: str


def shown(value: object, limit: int = 60) -> str:
    """``value`` as a message shows it: quoted, without control characters, shortened in the middle."""
    text = value.text if isinstance(value, JsonNumber) else value
    if isinstance(text, int) and not isinstance(text, bool) and text.bit_length() > 4 * limit:
        return "a very large number"
    if isinstance(text, str) and len(text) > limit:
        half = limit // 2
        return f"{quoted(text[:half])}...{quoted(text[-half:])} ({len(text)} characters)"
    if isinstance(value, JsonNumber):
        return value.text
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return quoted(value)
    return str(value) if isinstance(value, int | float) else f"a {_json_kind(value)}"


def quoted(text: str) -> str:
    """``text`` in double quotes; what cannot be printed (control characters, lone surrogates) is escaped."""
    inner = "".join(c if c.isprintable() and c not in '"\\' else _escape(c) for c in text)
    return f'"{inner}"'


def from_text(value_type: ValueType, text: str) -> str:
    """Canonical text of a value from the API or a command line. Nothing is stripped. Raises ValueFault."""
    return _from_words(value_type, text, _TEXT_BOOLS)


def from_sysfs(value_type: ValueType, text: str) -> str:
    """Canonical text of a sysfs file's contents, with or without its one trailing newline. Raises ValueFault.

    A bool may also be y or n in either case; around bool and int, ASCII blanks are dropped.
    """
    return from_raw(value_type, text.removesuffix("\n"))


def from_raw(value_type: ValueType, text: str) -> str:
    """The same of text that has lost its one trailing newline already, as attributes have: a str is kept as it is."""
    bare = text if value_type is ValueType.STR else text.strip(_BLANKS)
    return _from_words(value_type, bare, _SYSFS_BOOLS)


def from_json(value_type: ValueType, value: object) -> str:
    """Canonical text of a JSON value, numbers as :class:`JsonNumber` or int. null is no value. Raises ValueFault."""
    if value_type is ValueType.BOOL and isinstance(value, bool):
        return "on" if value else "off"
    if value_type is ValueType.STR and isinstance(value, str):
        return from_text(value_type, value)
    if value_type is ValueType.INT and not isinstance(value, bool):
        if isinstance(value, JsonNumber) and _INT.fullmatch(value.text):
            return from_text(value_type, value.text)
        if isinstance(value, int) and value >= _BEYOND:
            raise ValueFault(f"an int of more than {MAX_TEXT_BYTES} digits is too long")
        if isinstance(value, int) and value >= 0:
            return _digits(value)
    raise ValueFault(f"{shown(value)} is no {value_type}: {_JSON_FORM[value_type]} is expected")


def to_json(value_type: ValueType, text: str) -> bool | int | str:
    """The typed JSON value of canonical ``text``."""
    if value_type is ValueType.BOOL:
        return text == "on"
    return number(text) if value_type is ValueType.INT else text


def number(digits: str) -> int:
    """The int that ASCII ``digits`` spell, whatever the interpreter's limit on digits; cut at 10 ** 4095."""
    if len(digits) > MAX_TEXT_BYTES:
        return _BEYOND
    result = 0
    for start in range(0, len(digits), 500):
        piece = digits[start : start + 500]
        scale = 10 ** len(piece)
        result = result * scale + int(piece)
    return result


def entries_from_sysfs(value_type: ValueType, text: str) -> tuple[str, ...]:
    """Canonical entries of an ``allowed_values`` file, in its order: one per line for str, else between blanks.

    Raises ValueFault for an empty list or a malformed entry.
    """
    if value_type is ValueType.STR:
        bare = text.removesuffix("\n")
        words = bare.split("\n") if bare else []
    else:
        words = [word for word in re.split(f"[{_BLANKS}]+", text) if word]
    return _not_empty(tuple(dict.fromkeys(_entry(value_type, word, _SYSFS_BOOLS) for word in words)))


def entries_from_json(value_type: ValueType, values: object) -> tuple[str, ...]:
    """Canonical entries of a JSON ``allowed_values`` member, in its order. In an int list every string is a range.

    Raises ValueFault for anything but a list, for an empty list and for a malformed entry.
    """
    if not isinstance(values, list):
        raise ValueFault(f"allowed_values must be a list, not {shown(values)}")
    return _not_empty(tuple(dict.fromkeys(_json_entry(value_type, value) for value in values)))


def allowed_from_entries(value_type: ValueType, entries: Iterable[str]) -> Allowed:
    """What entries in text form (API) allow. Raises ValueFault for an empty list or a malformed entry."""
    canonical = _not_empty(tuple(_entry(value_type, entry, _TEXT_BOOLS) for entry in entries))
    if value_type is not ValueType.INT:
        return Allowed(texts=frozenset(canonical))
    ranges = sorted({_bounds(entry) for entry in canonical if "-" in entry})
    return Allowed(texts=frozenset(entry for entry in canonical if "-" not in entry), ranges=tuple(ranges))


def allowed_from_sysfs(value_type: ValueType, text: str) -> Allowed:
    """What an ``allowed_values`` file allows; see :func:`entries_from_sysfs`."""
    return allowed_from_entries(value_type, entries_from_sysfs(value_type, text))


def allowed_from_json(value_type: ValueType, values: object) -> Allowed:
    """What a JSON ``allowed_values`` member allows; see :func:`entries_from_json`."""
    return allowed_from_entries(value_type, entries_from_json(value_type, values))


def allows(allowed: Allowed | None, value_type: ValueType, text: str) -> bool:
    """May a parameter take canonical ``text``? None allows every value of the type."""
    if allowed is None or text in allowed.texts:
        return True
    if value_type is not ValueType.INT or not allowed.ranges:
        return False
    value = number(text)
    return any(low <= value <= high for low, high in allowed.ranges)


def _from_words(value_type: ValueType, text: str, bools: dict[str, str]) -> str:
    if value_type is ValueType.BOOL:
        if text in bools:
            return bools[text]
    elif value_type is ValueType.INT:
        if _INT.fullmatch(text):
            return _short_enough(text)
    elif "\n" not in text and "\0" not in text:
        return _short_enough(text)
    raise ValueFault(f"{shown(text)} is no {value_type}: {_TEXT_FORM[value_type]} is expected")


def _short_enough(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueFault(f"{shown(text)} cannot be written as UTF-8") from None
    if size > MAX_TEXT_BYTES:
        raise ValueFault(f"{shown(text)} has {size} bytes: at most {MAX_TEXT_BYTES} are expected")
    return text


def _entry(value_type: ValueType, word: str, bools: dict[str, str]) -> str:
    if value_type is ValueType.INT and "-" in word:
        return _range(word)
    return _from_words(value_type, word, bools)


def _json_entry(value_type: ValueType, value: object) -> str:
    if value_type is ValueType.INT and isinstance(value, str):
        return _range(value)
    return from_json(value_type, value)


def _range(text: str) -> str:
    match = _RANGE.fullmatch(text)
    if not match:
        raise ValueFault(f"{shown(text)} is no range of int: min-max in decimal digits is expected")
    low, high = match.groups()
    if (len(low), low) > (len(high), high):
        raise ValueFault(f"{shown(text)} is no range of int: its minimum is above its maximum")
    return text


def _bounds(entry: str) -> tuple[int, int]:
    low, _, high = entry.partition("-")
    return number(low), number(high)


def _not_empty(entries: tuple[str, ...]) -> tuple[str, ...]:
    if not entries:
        raise ValueFault("the list of allowed values is empty: at least one value is expected")
    return entries


def _digits(value: int) -> str:
    pieces: list[str] = []
    while True:
        value, piece = divmod(value, 10**500)
        if not value:
            return str(piece) + "".join(reversed(pieces))
        pieces.append(f"{piece:0500d}")


def _escape(character: str) -> str:
    return "\\" + character if character in '"\\' else character.encode("unicode_escape").decode()


def _json_kind(value: object) -> str:
    return "list" if isinstance(value, list) else "value of another kind"
