"""Which names are legal for migration parameters and device models, and why not (design section 4, "Names").

A parameter name becomes a file name and one half of ``<name>=<value>``, so what would break either is illegal; a
backslash is not. A model name is opaque and is compared byte for byte. Nothing is normalised, lower-cased or trimmed.
"""

from __future__ import annotations

import unicodedata

from mdev_api.values import shown

MAX_PARAMETER_BYTES = 255


def parameter_name_fault(name: str) -> str | None:
    """A sentence why ``name`` cannot name a parameter, or None if it can."""
    if name in ("", ".", ".."):
        return f"parameter name {shown(name)} is reserved: a name that is not empty, . or .. is expected"
    size = _utf8_size(name)
    if size is None:
        return f"parameter name {shown(name)} cannot be written as UTF-8"
    if size > MAX_PARAMETER_BYTES:
        return f"parameter name {shown(name)} has {size} bytes: at most {MAX_PARAMETER_BYTES} are expected"
    for character in name:
        if character in "=/":
            return f"parameter name {shown(name)} has a {character}: names have neither = nor /"
        if character.isspace() or unicodedata.category(character) == "Cc":
            return f"parameter name {shown(name)} has {_code_point(character)}: no white space or control is expected"
    return None


def model_name_fault(name: str) -> str | None:
    """A sentence why ``name`` cannot name a device model, or None if it can."""
    if not name:
        return "the model name is empty: a name such as vendor.com/device is expected"
    for character in name:
        if unicodedata.category(character)[0] in "CZ":
            what = _code_point(character)
            return f"model name {shown(name)} has {what}: only printable characters without blanks are expected"
    return None


def _utf8_size(name: str) -> int | None:
    try:
        return len(name.encode())
    except UnicodeEncodeError:
        return None


def _code_point(character: str) -> str:
    return f"the character U+{ord(character):04X}"
