"""The node agent, with a kernel that makes and removes devices in the tree of sysfs_tree: run in the agent's pod.

A write to ``create`` or ``remove`` returns, as with a real kernel, when the device is there or gone. Everything else is
the agent as it is. Devices made here have a VFIO group, for which the node has files that are no devices.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

from mdev_node_agent.cli import main
from mdev_node_agent.sysfs.host import HostDirectory

ROOT = Path("/host/sys")
BUS = ROOT / "devices/mdev-bus"
FIRST_GROUP = 16


def made(type_directory: Path, instance: str) -> None:
    """A new device of this type, with its parameters at their init values."""
    available = type_directory / "available_instances"
    left = int(available.read_text())
    if left < 1:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    device = type_directory.parent.parent / instance
    taken = {(entry / "iommu_group").readlink().name for entry in BUS.iterdir()}
    group = next(n for n in range(FIRST_GROUP, FIRST_GROUP + 99) if str(n) not in taken)
    (device / "migration").mkdir(parents=True)
    for parameter in (type_directory / "migration/params").iterdir():
        (device / "migration" / parameter.name).write_text((parameter / "init_value").read_text())
    (device / "remove").touch()
    for name, target in {
        "mdev_type": type_directory,
        "subsystem": ROOT / "bus/mdev",
        "iommu_group": ROOT / f"kernel/iommu_groups/{group}",
    }.items():
        (device / name).symlink_to(os.path.relpath(target, device))
    (BUS / instance).symlink_to(os.path.relpath(device, BUS))
    available.write_text(f"{left - 1}\n")


def removed(device: Path) -> None:
    """The device is no more."""
    available = (device / "mdev_type").resolve() / "available_instances"
    (BUS / device.name).unlink()
    shutil.rmtree(device)
    available.write_text(f"{int(available.read_text()) + 1}\n")


def play() -> None:
    """Have writes of this process make and remove devices."""
    write = HostDirectory.write

    def played(self: HostDirectory, name: str, data: bytes) -> None:
        directory = Path(f"/proc/self/fd/{self._open_fd()}").readlink()
        if name == "create" and directory.parent.name == "mdev_supported_types":
            made(directory, data.decode().strip())
        elif name == "remove" and (directory / "mdev_type").is_symlink():
            removed(directory)
        else:
            write(self, name, data)

    HostDirectory.write = played  # type: ignore[method-assign]


if __name__ == "__main__":
    play()
    main(sys.argv[1:])
