"""The VFIO side of an mdev: its group, its device node, and who has it open."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

from tests.memkernel.kstrto import fault
from tests.memkernel.machine import Machine
from tests.memkernel.power import power_directory
from tests.memkernel.tree import Dir, File


@dataclass(kw_only=True, eq=False)
class VfioDevice:
    """A registered device: ``/dev/vfio/<group>`` and ``vfio-dev/vfio<number>``."""

    group: int
    number: int
    home: Dir
    open: bool = False


@dataclass(kw_only=True, eq=False)
class Vfio:
    """All VFIO devices of one kernel. Numbers are the lowest that are free, as the kernel gives them."""

    machine: Machine
    devices: list[VfioDevice] = field(default_factory=list)

    def register(self, home: Dir) -> VfioDevice:
        """Make group and device of the mdev whose directory is ``home``; sends two ``add`` events."""
        root = self.machine.root
        device = VfioDevice(
            group=_lowest_free({d.group for d in self.devices}),
            number=_lowest_free({d.number for d in self.devices}),
            home=home,
        )
        self.devices.append(device)
        group = root.directory(f"kernel/iommu_groups/{device.group}")
        group.directory("devices").link(home.name, home)
        home.link("iommu_group", group)
        node = root.directory(f"devices/virtual/vfio/{device.group}")
        root.directory("class/vfio").link(str(device.group), node)
        self.machine.send("add", node.path, "vfio")
        child = home.directory(f"vfio-dev/vfio{device.number}")
        child.link("device", home)
        child.link("subsystem", root.directory("class/vfio-dev"))
        child.fill({"uevent": File(show=bytes, store=lambda data: None)})
        power_directory(child)
        root.directory("class/vfio-dev").link(child.name, child)
        self.machine.send("add", child.path, "vfio-dev")
        return device

    def unregister(self, device: VfioDevice) -> None:
        """Wait until nobody has it open, then take group and device away; sends two ``remove`` events."""
        self.machine.wait_until(lambda: not device.open)
        root = self.machine.root
        child = device.home.directory(f"vfio-dev/vfio{device.number}")
        root.directory("class/vfio-dev").drop(child.name)
        device.home.drop("vfio-dev")
        self.machine.send("remove", child.path, "vfio-dev")
        node = root.directory(f"devices/virtual/vfio/{device.group}")
        root.directory("class/vfio").drop(str(device.group))
        root.directory("devices/virtual/vfio").drop(str(device.group))
        device.home.drop("iommu_group")
        root.directory("kernel/iommu_groups").drop(str(device.group))
        self.machine.send("remove", node.path, "vfio")
        self.devices.remove(device)

    def open(self, device: VfioDevice) -> None:
        """Open the group and its device. EBUSY: a group opens only once."""
        if device.open:
            raise fault(errno.EBUSY)
        device.open = True

    def close(self, device: VfioDevice) -> None:
        """Close it; a ``remove`` that waits goes on."""
        device.open = False
        self.machine.lock.notify_all()


def _lowest_free(taken: set[int]) -> int:
    return next(number for number in range(len(taken) + 1) if number not in taken)
