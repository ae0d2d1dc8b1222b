"""The sample driver vgpu as tests see it: PCI functions by address (`vgpu_driver/README.md` says all of it)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.kernel.gfx import COMPLAINTS
from tests.kernel.guest.errors import CommandError
from tests.kernel.guest.guest import Guest
from tests.kernel.guest.qemu import FUNCTIONS

MODULES = ["vfio-pci-core", "vfio-pci"]
PCI = "/sys/bus/pci"
ADA = "NVIDIA RTX6000-Ada"
HEADER = "ID    : vGPU Name\n"
_WRITE = re.compile(r"nvidia (\S+): write (-?\d+): (-?\d+)$", re.MULTILINE)


def card_address(card: int) -> str:
    """Of the physical function of a card, which are numbered from 1."""
    return f"0000:{card:02x}:00.0"


def function_address(function: int, card: int = 1) -> str:
    """Of a virtual function, which are numbered from 1."""
    return f"0000:{card:02x}:00.{function}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Vgpu:
    """A guest's cards with the driver loaded. All methods raise OSError with the guest's errno."""

    guest: Guest

    def switch(self, functions: int, card: int = 1) -> None:
        """SR-IOV off (0) or on with so many functions; from one number to another only over 0."""
        self.guest.write(f"{PCI}/devices/{card_address(card)}/sriov_numvfs", str(functions))

    def creatable(self, address: str) -> str:
        """The list as it stands there."""
        return self.guest.read(f"{PCI}/devices/{address}/nvidia/creatable_vgpu_types")

    def names(self, address: str) -> list[str]:
        """The names in the list."""
        lines = self.creatable(address).removeprefix(HEADER).splitlines()
        return [line.split(" : ", 1)[1] for line in lines]

    def current(self, address: str) -> str:
        """The number as it stands there, newline included."""
        return self.guest.read(f"{PCI}/devices/{address}/nvidia/current_vgpu_type")

    def configure(self, address: str, text: str | int) -> None:
        """Write the type; 0 clears."""
        self.guest.write(f"{PCI}/devices/{address}/nvidia/current_vgpu_type", f"{text}\n")

    def put(self, parameter: str, text: str) -> None:
        """Write a module parameter."""
        self.guest.write(f"/sys/module/vgpu/parameters/{parameter}", f"{text}\n")

    def writes(self) -> list[str]:
        """Every write of a type since loading, as ``address number result``."""
        return [" ".join(found) for found in _WRITE.findall(self.guest.dmesg())]

    def bind(self, address: str, driver: str) -> None:
        """Take a function from its driver and give it to another, for good or until SR-IOV is switched."""
        device = f"{PCI}/devices/{address}"
        self.guest.write(f"{device}/driver/unbind", address)
        self.guest.write(f"{device}/driver_override", driver)
        self.guest.write(f"{PCI}/drivers_probe", address)

    def link(self, address: str, name: str) -> str:
        """The last part of what a link of the device leads to."""
        target = self.guest.run(f"readlink {PCI}/devices/{address}/{name}").stdout.strip()
        return target.rsplit("/", 1)[1]

    def vfio_device(self, address: str) -> str:
        """Name below ``vfio-dev``."""
        return self.guest.run(f"ls {PCI}/devices/{address}/vfio-dev").stdout.strip()

    def has(self, address: str, name: str) -> bool:
        """Whether the device has this file or directory."""
        return self.guest.run(f"test -e {PCI}/devices/{address}/{name}", check=False).rc == 0


@contextmanager
def loaded(guest: Guest, *, cards: Sequence[int] = (1,), functions: int = FUNCTIONS) -> Iterator[Vgpu]:
    """Loads the driver, with SR-IOV on; unloads it at the end, and the kernel must have nothing to complain of."""
    guest.run("dmesg -c")
    guest.modprobe("vgpu")
    try:
        vgpu = Vgpu(guest=guest)
        for card in cards:
            vgpu.switch(functions, card)
        yield vgpu
    finally:
        guest.rmmod("vgpu")
    assert [line for line in guest.dmesg().splitlines() if COMPLAINTS.search(line)] == []


def cannot_open(guest: Guest, address: str) -> str:
    """What a virtual machine monitor is told that cannot open the device."""
    try:
        holder = guest.hold(address)
    except CommandError as error:
        return str(error)
    holder.kill()
    return ""
