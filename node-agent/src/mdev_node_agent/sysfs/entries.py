"""Entries that may be missing: what is absent or has just vanished is an empty answer, every other error is raised."""

from __future__ import annotations

import errno

from mdev_node_agent.sysfs.attribute import GONE
from mdev_node_agent.sysfs.port import Directory, Port


def entries(port: Port, path: str) -> list[str]:
    """Entries of a directory below the root; none if it does not exist."""
    try:
        with port.open(path) as directory:
            return directory.list()
    except OSError as error:
        if error.errno in GONE:
            return []
        raise


def children(directory: Directory, name: str) -> list[str]:
    """Entries of a subdirectory; none if it does not exist or is no directory."""
    try:
        with directory.open(name) as child:
            return child.list()
    except OSError as error:
        if error.errno in GONE or error.errno == errno.ENOTDIR:
            return []
        raise


def optional_link(directory: Directory, name: str) -> str | None:
    """Last component of a symlink's target; None if there is no such link."""
    try:
        return directory.link(name)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise
