"""How the kernel parses what is written to it: a C string, one trailing newline optional, EINVAL for the rest."""

from __future__ import annotations

import errno
import os

_BOOLS = {b"y": True, b"Y": True, b"t": True, b"T": True, b"1": True}
_BOOLS |= {b"n": False, b"N": False, b"f": False, b"F": False, b"0": False}


def fault(number: int) -> OSError:
    """The error as a system call gives it."""
    return OSError(number, os.strerror(number))


def kstrtoul(data: bytes, *, below: int = 2**64) -> int:
    """kstrtoul with base 0: decimal, 0x... or octal 0..., a plus sign allowed, no minus and no blanks."""
    text = _line(data).removeprefix(b"+")
    digits, base = text, 10
    if text[:2] in (b"0x", b"0X"):
        digits, base = text[2:], 16
    elif text.startswith(b"0") and len(text) > 1:
        digits, base = text[1:], 8
    if not digits or not all(chr(byte) in "0123456789abcdefABCDEF" for byte in digits):
        raise fault(errno.EINVAL)
    try:
        number = int(digits, base)
    except ValueError:
        raise fault(errno.EINVAL) from None
    if number >= below:
        raise fault(errno.ERANGE)
    return number


def kstrtobool(data: bytes) -> bool:
    """kstrtobool: only the first one or two bytes count, so ``1x`` is true."""
    if data[:1] in (b"o", b"O") and data[1:2] in (b"n", b"N", b"f", b"F"):
        return data[1:2] in (b"n", b"N")
    if data[:1] not in _BOOLS:
        raise fault(errno.EINVAL)
    return _BOOLS[data[:1]]


def parse_uuid(data: bytes) -> str:
    """What mdev's ``create`` reads: 36 characters and at most one more byte, which is ignored whatever it is."""
    if not 36 <= len(data) <= 37:
        raise fault(errno.EINVAL)
    text = data[:36].decode("latin-1")
    for position, character in enumerate(text):
        wanted = "-" if position in (8, 13, 18, 23) else "0123456789abcdefABCDEF"
        if character not in wanted:
            raise fault(errno.EINVAL)
    return text.lower()


def _line(data: bytes) -> bytes:
    return data.split(b"\0", 1)[0].removesuffix(b"\n")
