"""Which hardware a parent is: the PCI ids that sysfs shows of it."""

from __future__ import annotations

from mdev_node_agent.observation import Unreadable
from mdev_node_agent.sysfs.attribute import optional_text
from mdev_node_agent.sysfs.port import Directory

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
