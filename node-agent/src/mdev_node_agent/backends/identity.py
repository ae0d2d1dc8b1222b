"""What a device is, whoever looks at it: its driver with the version, its PCI ids, and where it is plugged in."""

from __future__ import annotations

import errno

from mdev_node_agent.seeing.observation import Unreadable
from mdev_node_agent.sysfs.attribute import optional_text, unreadable
from mdev_node_agent.sysfs.entries import optional_link
from mdev_node_agent.sysfs.port import Directory, Port

MAX_SHORT = 255

_IDS = {
    "vendor": "vendor",
    "device": "device",
    "subsystemVendor": "subsystem_vendor",
    "subsystemDevice": "subsystem_device",
}


def hardware_ids(device: Directory, path: str, told: list[Unreadable]) -> dict[str, str]:
    """``spec.hardware`` of a DeviceProfile, as sysfs spells it (``0x10de``); empty for what is no PCI device."""
    try:
        if device.link("subsystem") != "pci":
            return {}
    except OSError:
        return {}
    read = {member: optional_text(device, attribute, path, told) for member, attribute in _IDS.items()}
    return {member: text for member, text in read.items() if text}


def driver_of(port: Port, parent: Directory, told: list[Unreadable]) -> dict[str, str]:
    """``spec.driver`` of a DeviceProfile: of a virtual device, which has no driver, the name of its subsystem."""
    module = None
    try:
        name = parent.link("driver")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        name = parent.link("subsystem")
    else:
        with parent.open("driver") as driver:
            module = optional_link(driver, "module")
    path = f"module/{module or name.replace('-', '_')}"
    try:
        with port.open(path) as directory:
            version = optional_text(directory, "version", path, told)
    except OSError as error:
        if error.errno != errno.ENOENT:
            told.append(unreadable(path, "version", error))
        version = None
    return {"name": name, "version": version[:MAX_SHORT]} if version else {"name": name}


def numa_node(directory: Directory, path: str, told: list[Unreadable]) -> int | None:
    """The NUMA node, None where the kernel knows none."""
    text = optional_text(directory, "numa_node", path, told)
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
