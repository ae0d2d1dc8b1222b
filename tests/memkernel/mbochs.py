"""The kernel's sample driver mbochs: displays that share 256 MB of video memory, no metadata."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.memkernel.core import Device, Kind, MdevCore, MdevType
from tests.memkernel.driver import add_parent
from tests.memkernel.kstrto import fault
from tests.memkernel.machine import Machine
from tests.memkernel.tree import File, constant

MEGABYTES = 256
_SIZES = {"small": 4, "medium": 16, "large": 64}


@dataclass(kw_only=True, eq=False)
class Mbochs:
    """The module."""

    name: str = field(default="mbochs", init=False)
    version: str | None = field(default=None, init=False)
    max_instances: int | None = field(default=None, init=False)
    free_mb: int = field(default=MEGABYTES, init=False)

    def load(self, machine: Machine, core: MdevCore) -> None:
        """insmod."""
        self.free_mb = MEGABYTES
        core.register_driver(self)
        core.register_parent(self, add_parent(machine, "mbochs", "mbochs"), [_kind(*size) for size in _SIZES.items()])

    def available(self, mdev_type: MdevType) -> int:
        """Free memory by that of one."""
        return self.free_mb // _size(mdev_type)

    def probe(self, device: Device) -> None:
        """Take the memory; ENOSPC if it is not there."""
        if self.free_mb < _size(device.type):
            raise fault(errno.ENOSPC)
        self.free_mb -= _size(device.type)

    def group(self, device: Device) -> tuple[str, Mapping[str, File]]:
        """``vendor/memory``."""
        return "vendor", {"memory": constant(f"{_size(device.type)} MB")}

    def remove(self, device: Device) -> None:
        """Give the memory back."""
        self.free_mb += _size(device.type)


def _kind(name: str, size: int) -> Kind:
    description = f"virtual display, {size} MB video memory"
    return Kind(name=name, pretty=f"mbochs-{name}", description=description, about=size)


def _size(mdev_type: MdevType) -> int:
    size = mdev_type.kind.about
    assert isinstance(size, int)
    return size
