"""The PCI functions of a node, for back-ends whose devices are such functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mdev_node_agent.backends.identity import driver_of, hardware_ids, numa_node
from mdev_node_agent.seeing.observation import Parent, Unreadable
from mdev_node_agent.sysfs.attribute import GONE, unreadable
from mdev_node_agent.sysfs.entries import children, entries, optional_link
from mdev_node_agent.sysfs.port import Directory, Port

DEVICES = "bus/pci/devices"

_T = TypeVar("_T")


def each_function(port: Port, told: list[Unreadable], look: Callable[[Directory, str], _T | None]) -> list[_T]:
    """What ``look`` makes of each function (its directory and address), in the order of addresses, less None.

    OSError of a function that is still there is told under its address, so that nobody takes it for gone.
    """
    found: list[_T] = []
    for address in entries(port, DEVICES):
        try:
            with port.open(DEVICES) as devices, devices.open(address) as device:
                seen = look(device, address)
                device.link("subsystem")  # a directory that is gone lists nothing, and would look like another device
        except OSError as error:
            if error.errno not in GONE or address in entries(port, DEVICES):
                told.append(unreadable(f"{DEVICES}/{address}", address, error))
            continue
        if seen is not None:
            found.append(seen)
    return found


def card_of(device: Directory, address: str) -> str:
    """The physical function behind a virtual one; the function itself where it is none."""
    return optional_link(device, "physfn") or address


def card(port: Port, address: str, told: list[Unreadable]) -> tuple[Parent, dict[str, str]]:
    """A card as a parent without offers, and its PCI ids. What cannot be read of it is the parent's."""
    path, own = f"{DEVICES}/{address}", list[Unreadable]()
    driver, hardware, node = "", dict[str, str](), None
    try:
        with port.open(path) as device:
            hardware, node = hardware_ids(device, path, own), numa_node(device, path, own)
            if optional_link(device, "driver") is not None:
                driver = driver_of(port, device, own)["name"]
    except OSError as error:
        told.append(unreadable(path, address, error))
    return Parent(name=address, driver=driver, numa_node=node, unreadable=tuple(own)), hardware


def vfio_device(device: Directory) -> str | None:
    """``vfioN``, the device's own file below /dev/vfio/devices; None: no VFIO driver has it."""
    return next((entry for entry in children(device, "vfio-dev") if entry.startswith("vfio")), None)
