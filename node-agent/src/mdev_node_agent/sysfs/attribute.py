"""Attributes as text, and errors as something that can be told instead of raised.

Discovery looks at a node that changes under it: any attribute may vanish, refuse, or answer with an error at any
moment. What goes wrong with one of them becomes an :class:`~mdev_node_agent.seeing.observation.Unreadable`, and the
look goes on.
"""

from __future__ import annotations

import errno
import os

from mdev_node_agent.seeing.observation import Unreadable
from mdev_node_agent.sysfs.port import Directory

GONE = frozenset({errno.ENOENT, errno.ENODEV})
"""What the kernel answers about a device that is no longer there."""


class UnansweredError(TimeoutError):
    """A driver does not answer a read: ETIMEDOUT, in words of our own."""


def contents(directory: Directory, name: str) -> str:
    """The whole text of an attribute, for parsing: bytes that are not UTF-8 become lone surrogates. Raises OSError."""
    return directory.read(name).decode(errors="surrogateescape")


def text_of(directory: Directory, name: str) -> str:
    """Text of an attribute, for showing: less one trailing newline, what is not UTF-8 escaped. Raises OSError."""
    return directory.read(name).decode(errors="backslashreplace").removesuffix("\n")


def optional_text(directory: Directory, name: str, path: str, told: list[Unreadable]) -> str | None:
    """The same, or None: absent, or unreadable, which is appended to ``told``. ``path`` is that of the directory."""
    try:
        return text_of(directory, name)
    except OSError as error:
        if error.errno != errno.ENOENT:
            told.append(unreadable(f"{path}/{name}", name, error))
        return None


def unreadable(path: str, name: str, error: OSError) -> Unreadable:
    """What to tell of an error."""
    return Unreadable(path=path, name=name, errno=errno_name(error), message=f"{path}: {reason(error)}")


def errno_name(error: OSError) -> str:
    """``EIO``, or the number where it has no name."""
    return errno.errorcode.get(error.errno or 0, str(error.errno))


def reason(error: OSError) -> str:
    """The kernel's words, e.g. ``EIO (Input/output error)``."""
    words = error.strerror if isinstance(error, UnansweredError) else os.strerror(error.errno or 0)
    return f"{errno_name(error)} ({words})"
