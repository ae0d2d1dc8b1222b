"""The kernel's sample driver mtty: serial cards, 24 ports that both types share, no metadata."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.memkernel.core import Device, Kind, MdevCore, MdevType
from tests.memkernel.driver import add_parent
from tests.memkernel.kstrto import fault
from tests.memkernel.machine import Machine
from tests.memkernel.tree import File, constant

PORTS = 24
_KINDS = (
    Kind(name="1", pretty="Single port serial", about=1),
    Kind(name="2", pretty="Dual port serial", about=2),
)


@dataclass(kw_only=True, eq=False)
class Mtty:
    """The module."""

    name: str = field(default="mtty", init=False)
    version: str | None = field(default="0.1", init=False)
    max_instances: int | None = field(default=None, init=False)
    free_ports: int = field(default=PORTS, init=False)

    def load(self, machine: Machine, core: MdevCore) -> None:
        """insmod."""
        self.free_ports = PORTS
        core.register_driver(self)
        core.register_parent(self, add_parent(machine, "mtty", "mtty"), _KINDS)

    def available(self, mdev_type: MdevType) -> int:
        """Free ports by the ports of one."""
        return self.free_ports // _ports(mdev_type)

    def probe(self, device: Device) -> None:
        """Take the ports; ENOSPC if they are not there."""
        if self.free_ports < _ports(device.type):
            raise fault(errno.ENOSPC)
        self.free_ports -= _ports(device.type)

    def group(self, device: Device) -> tuple[str, Mapping[str, File]]:
        """``vendor/sample_mdev_dev``, which names the device."""
        return "vendor", {"sample_mdev_dev": constant(f"This is MDEV {device.uuid}")}

    def remove(self, device: Device) -> None:
        """Give the ports back."""
        self.free_ports += _ports(device.type)


def _ports(mdev_type: MdevType) -> int:
    ports = mdev_type.kind.about
    assert isinstance(ports, int)
    return ports
