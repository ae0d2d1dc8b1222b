"""What the kernel below needs of a sample driver's module, and how such a module makes its virtual parents."""

from __future__ import annotations

from typing import Protocol

from tests.memkernel.core import MdevCore, MdevDriver
from tests.memkernel.machine import Machine
from tests.memkernel.power import power_directory
from tests.memkernel.tree import Dir, File


class Loadable(Protocol):
    """A module. ``version`` None: it has no MODULE_VERSION."""

    name: str
    version: str | None

    def load(self, machine: Machine, core: MdevCore) -> None:
        """insmod: fresh state, drivers, devices."""


class Module(MdevDriver, Loadable, Protocol):
    """A module with an mdev driver."""


def add_parent(machine: Machine, class_name: str, name: str) -> Dir:
    """A virtual device of a class: no driver link, no hardware."""
    root = machine.root
    directory = root.directory(f"devices/virtual/{class_name}/{name}")
    directory.link("subsystem", root.directory(f"class/{class_name}"))
    directory.fill({"uevent": File(show=bytes, store=lambda data: None)})
    power_directory(directory)
    root.directory(f"class/{class_name}").link(name, directory)
    machine.send("add", directory.path, class_name)
    return directory
