"""Is there a sysfs where it was said to be?

Asked once, at the start: a mistyped path must not look like a node without devices.
"""

from __future__ import annotations

from pathlib import Path

from mdev_node_agent.sysfs.attribute import reason
from mdev_node_agent.sysfs.host import HostPort


class UnusableRootError(Exception):
    """There is no sysfs; the message says what is there and what to do."""


def usable_port(root: Path) -> HostPort:
    """The port to the kernel whose sysfs is mounted at ``root``. Raises UnusableRootError."""
    port = HostPort(root=root)
    try:
        with port.open("") as directory:
            there = directory.list()
        port.boot_id()
    except OSError as error:
        raise UnusableRootError(
            f"cannot read the kernel below {root}: {reason(error)}; --sysfs says where sysfs is mounted"
        ) from None
    missing = [name for name in ("bus", "class") if name not in there]
    if missing:
        raise UnusableRootError(
            f"{root} is no sysfs: it has no directory {' and no '.join(missing)}; --sysfs says where sysfs is mounted"
        )
    return port
