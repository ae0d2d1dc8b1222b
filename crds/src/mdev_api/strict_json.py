"""JSON as in RFC 8259, in UTF-8 without byte order mark, with nothing glossed over.

A duplicate key is kept as such, because two readers of it need not agree on which value counts; numbers stay as they
were spelled. Whatever the bytes are, nothing but UnusableError leaves this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mdev_api.values import JsonNumber, shown


class UnusableError(ValueError):
    """Input that cannot be compared at all; the message is a sentence that says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A JSON object; ``duplicates`` are the keys that it has more than once (of those, ``members`` has the last)."""

    members: dict[str, Any]
    duplicates: tuple[str, ...]


def load(data: bytes) -> Any:
    """Objects as JsonObject, numbers as JsonNumber. Raises UnusableError for what is no JSON."""
    if data.startswith(b"\xef\xbb\xbf"):
        raise UnusableError("it begins with a byte order mark: UTF-8 without one is expected")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=JsonNumber,
            parse_float=JsonNumber,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as error:
        raise UnusableError(f"byte {error.start} is not UTF-8 ({error.reason})") from None
    except json.JSONDecodeError as error:
        raise UnusableError(f"it is not JSON: {error}") from None
    except RecursionError:
        raise UnusableError("its lists and objects are nested too deeply to be read") from None


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    members = dict(pairs)
    if len(members) == len(pairs):
        return JsonObject(members, ())
    seen: set[str] = set()
    twice = dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return JsonObject(members, tuple(twice))


def _no_constant(word: str) -> Any:
    raise UnusableError(f"it is not JSON: {word} is no JSON value")


def duplicates(value: Any) -> Iterator[str]:
    """Every key that occurs twice in one object, at any depth below ``value``."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, JsonObject):
            yield from item.duplicates
            waiting.extend(item.members.values())
        elif isinstance(item, list):
            waiting.extend(item)


def own_duplicate(body: JsonObject, except_below: tuple[str, ...] = ()) -> str | None:
    """A sentence about a duplicate key of ``body`` itself or of its members, those ``except_below`` left out."""
    others = [value for key, value in body.members.items() if key not in except_below]
    duplicate = next(iter(body.duplicates), None) or next(duplicates(others), None)
    return None if duplicate is None else f"the key {shown(duplicate)} occurs twice in one object"
