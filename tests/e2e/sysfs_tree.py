"""A directory that looks like the sysfs of a host with mediated devices: for nodes whose kernel has none.

Played here is the kernel: a parent of the driver ``gfx`` (the one of tests/kernel/driver) with one type, and instances
that are there already, whose parameter ``memory`` is an ordinary file. Writing a parameter and reading it back works
as it would; ``create`` and ``remove`` are for played_kernel. The layout is that of the real driver
(tests/kernel/trees/gfx.txt), but the bus is a link into ``devices``: the agent's pod may write nowhere else.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

PARENT = "gfx0"
TYPE = "gfx-vgpu"
MODEL = "com.gfx/GPU"
BUS = "devices/mdev-bus"
OFFERED = "offered"
"""Not of sysfs: names the devices that the vendor's plugin serves, not those that an agent makes."""
PARENT_PATH = f"devices/virtual/gfx/{PARENT}"


def make(root: Path, *, instances: Mapping[str, int], allowed: Sequence[int], available: int = 0) -> None:
    """Fill ``root``, emptying it first but keeping the directory itself, which is mounted somewhere.

    ``instances``: memory of each device by its UUID. ``allowed``: what ``memory`` of any of them may be set to, first
    what a new one has. ``available``: how many more can be made.
    """
    for entry in root.iterdir():
        shutil.rmtree(entry)
    parent = root / PARENT_PATH
    kind = parent / "mdev_supported_types" / TYPE
    _files(
        kind,
        {
            "available_instances": str(available),
            "create": "",
            "description": "played",
            "device_api": "vfio-pci",
            "name": "Graphics, any memory",
            "migration/model": MODEL,
            "migration/params/memory/type": "int",
            "migration/params/memory/init_value": str(allowed[0]),
            "migration/params/memory/allowed_values": " ".join(map(str, allowed)),
            "migration/params/memory/description": "MiB of graphics memory",
        },
    )
    _link(root / "class/gfx" / PARENT, parent)
    _link(root / "class/mdev_bus" / PARENT, parent)
    _link(parent / "subsystem", root / "class/gfx")
    (root / BUS).mkdir()
    _link(root / "bus/mdev/devices", root / BUS)
    (root / OFFERED).mkdir()
    for number, (instance, memory) in enumerate(sorted(instances.items())):
        (root / OFFERED / instance).touch()
        _instance(root, instance, memory, group=number)


def memory_of(root: Path, instance: str) -> int:
    """What the device's parameter is now."""
    return int((root / PARENT_PATH / instance / "migration/memory").read_text())


def _instance(root: Path, instance: str, memory: int, *, group: int) -> None:
    device = root / PARENT_PATH / instance
    _files(device, {"remove": "", "migration/memory": str(memory)})
    _link(device / "mdev_type", root / PARENT_PATH / "mdev_supported_types" / TYPE)
    iommu_group = root / f"kernel/iommu_groups/{group}"
    iommu_group.mkdir(parents=True)
    _link(device / "iommu_group", iommu_group)
    _link(device / "subsystem", root / "bus/mdev")
    _link(root / BUS / instance, device)


def _files(directory: Path, content: Mapping[str, str]) -> None:
    for name, text in content.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n" if text else "")


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent))
