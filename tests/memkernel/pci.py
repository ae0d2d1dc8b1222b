"""PCI functions in the tree: what every one has, and how a card's virtual functions (VFs) hang on it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.memkernel.machine import Machine
from tests.memkernel.power import power_directory
from tests.memkernel.tree import Dir, File, constant

IDS = ("vendor", "device", "subsystem_vendor", "subsystem_device")


def add_function(
    machine: Machine, address: str, *, driver: str, ids: Mapping[str, str], card: Dir | None = None, number: int = 0
) -> Dir:
    """A function bound to a driver; ``card``: the physical function of which it is the VF ``number``."""
    root = machine.root
    home = root.directory(f"devices/pci{address[:7]}/{address}")
    home.link("subsystem", root.directory("bus/pci"))
    home.fill({name: constant(ids[name]) for name in IDS if name in ids})
    home.fill({"numa_node": constant("0"), "uevent": File(show=bytes, store=lambda data: None)})
    power_directory(home)
    of_driver = root.directory(f"bus/pci/drivers/{driver}")
    of_driver.link("module", root.directory(f"module/{driver.replace('-', '_')}"))
    home.link("driver", of_driver)
    if card is not None:
        home.link("physfn", card)
        card.link(f"virtfn{number}", home)
    root.directory("bus/pci/devices").link(address, home)
    machine.send("add", home.path, "pci")
    return home


def drop_function(machine: Machine, home: Dir) -> None:
    """The function is gone, as VFs are when SR-IOV is switched off."""
    machine.root.directory("bus/pci/devices").drop(home.name)
    assert home.above is not None
    path = home.path
    home.above.drop(home.name)
    machine.send("remove", path, "pci")


def vf_address(card: str, number: int) -> str:
    """Address of a card's VF: the functions behind its own, eight to a slot."""
    return f"{card[:8]}{(number + 4) // 8:02x}.{(number + 4) % 8}"
