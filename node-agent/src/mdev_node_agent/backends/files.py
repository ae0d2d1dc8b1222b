"""Files of a device that stand for its attributes, and which files may be read and written at all (design section 7).

The kernel says nothing about which of a driver's files matter, so an allow-list of patterns decides: groups that a
driver fills, never the kernel's own ``power/`` or ``remove``. At most 8 are shown, of at most 256 bytes each; a longer
one is told as unreadable, because half a text would be compared as a whole.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from mdev_node_agent.metadata.published import VALUES
from mdev_node_agent.seeing.observation import Unreadable
from mdev_node_agent.sysfs.attribute import text_of, unreadable
from mdev_node_agent.sysfs.entries import children
from mdev_node_agent.sysfs.port import Directory

ALLOWED = ("migration/*", "vendor/*")
MAX_ATTRIBUTES = 8
MAX_ATTRIBUTE = 256


def attributes_of(
    device: Directory, path: str, allowed: Sequence[str]
) -> tuple[dict[str, str], tuple[Unreadable, ...]]:
    """Raw text of the allow-listed files by their path below the device, and what could not be read."""
    attributes: dict[str, str] = {}
    told: list[Unreadable] = []
    names = [
        f"{group}/{name}"
        for group in sorted({pattern.partition("/")[0] for pattern in allowed})
        for name in children(device, group)
        if any(fnmatchcase(f"{group}/{name}", pattern) for pattern in allowed)
    ]
    for attribute in names[:MAX_ATTRIBUTES]:
        group, _, name = attribute.partition("/")
        try:
            with device.open(group) as files:
                text = text_of(files, name)
        except OSError as error:
            told.append(unreadable(f"{path}/{attribute}", attribute, error))
            continue
        if len(text.encode()) > MAX_ATTRIBUTE:
            told.append(not_shown(f"{path}/{attribute}", attribute, f"longer than {MAX_ATTRIBUTE} bytes"))
        else:
            attributes[attribute] = text
    for attribute in names[MAX_ATTRIBUTES:]:
        told.append(not_shown(f"{path}/{attribute}", attribute, f"more than {MAX_ATTRIBUTES} attributes"))
    return attributes, tuple(told)


def permitted(attribute: str, parameters: Collection[str] | None, allowed: Sequence[str]) -> tuple[str, str]:
    """Group and file of ``attribute``; PermissionError (EACCES) unless it may be read and written.

    ``parameters``: names that the driver publishes; None: it publishes nothing, and the allow-list decides.
    """
    group, _, name = attribute.partition("/")
    if parameters is None:
        known = any(fnmatchcase(attribute, pattern) for pattern in allowed)
    else:
        known = group == VALUES and name in parameters
    if not known or "/" in name or name in ("", ".", "..") or group in ("", ".", ".."):
        raise PermissionError(errno.EACCES, "not a parameter of this device and not on the allow-list", attribute)
    return group, name


def not_shown(path: str, name: str, why: str) -> Unreadable:
    """What to tell of something that can be read and yet not be shown."""
    return Unreadable(path=path, name=name, errno="", message=f"{path}: {why}")
