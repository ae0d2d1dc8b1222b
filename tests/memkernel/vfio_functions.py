"""Plain VFIO functions: VFs that a variant driver of vfio-pci has (``vfio-dev/``), with or without metadata.

``values`` not empty: the driver publishes them, as the proposed sysfs has it of a device without a type
(``migration_info/``, and each value in ``migration/``); any number is taken as a value, whether or not it is open.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.memkernel.core import MdevCore
from tests.memkernel.kstrto import fault
from tests.memkernel.machine import Machine
from tests.memkernel.pci import add_function, vf_address
from tests.memkernel.tree import Dir, File, constant
from tests.memkernel.vfio import VfioDevice

CARD = "0000:81:00.0"
_IDS = {"vendor": "0x15b3", "device": "0x101e", "subsystem_vendor": "0x15b3", "subsystem_device": "0x0083"}


@dataclass(kw_only=True, eq=False, repr=False)
class VfioFunctions:
    """The driver, and one card of another driver whose VFs it has."""

    name: str = "mlx5_vfio_pci"
    version: str | None = None
    vfs: int = 4
    values: Mapping[str, str] = field(default_factory=dict)
    set_to: dict[tuple[str, str], str] = field(default_factory=dict, init=False)
    writes: list[tuple[str, str, str]] = field(default_factory=list, init=False)
    fail_write: bool = False

    def load(self, machine: Machine, core: MdevCore) -> None:
        """insmod, SR-IOV on, and every VF bound."""
        self._machine, self._vfio = machine, core.vfio
        self.set_to = {}
        self.homes: dict[str, Dir] = {}
        self.devices: dict[str, VfioDevice] = {}
        card = add_function(machine, CARD, driver="mlx5_core", ids={**_IDS, "device": "0x101d"})
        for number in range(self.vfs):
            address = vf_address(CARD, number)
            home = add_function(machine, address, driver=self.name, ids=_IDS, card=card, number=number)
            self.homes[address] = home
            self._publish(home)
            self.devices[address] = self._vfio.register(home)

    def unbind(self, address: str) -> None:
        """Take the driver away from a VF."""
        with self._machine.lock:
            self._vfio.unregister(self.devices.pop(address))
            self.homes[address].drop("driver")
            self._machine.send("unbind", self.homes[address].path, "pci")

    def value(self, address: str, name: str) -> str:
        """What a parameter is now."""
        return self.set_to.get((address, name), self.values[name])

    def _publish(self, home: Dir) -> None:
        if not self.values:
            return
        info = home.directory("migration_info")
        info.fill({"model": constant("example.org/nic")})
        for name, init in self.values.items():
            info.directory(f"params/{name}").fill({"type": constant("int"), "init_value": constant(init)})
            home.directory("migration").fill({name: self._file(home.name, name)})

    def _file(self, address: str, name: str) -> File:
        def store(data: bytes) -> None:
            text = data.decode().removesuffix("\n")
            self.writes.append((address, name, text))
            if self.fail_write or not text.isdigit():
                raise fault(errno.EIO if self.fail_write else errno.EINVAL)
            self.set_to[address, name] = text

        return File(show=lambda: f"{self.value(address, name)}\n".encode(), store=store)
