"""The mdev core of Linux 6.1: parents, types, ``create`` and ``remove``, in the order in which the kernel does it.

``create`` parses 36 characters and ignores one more byte; a UUID exists once on the whole machine. A driver that counts
by itself answers for lack of room (ENOSPC, say); for the others the core counts and answers EUSERS. ``remove`` first
takes away everything by which the device is found, then waits until nobody has it open; until then its UUID and its
share of the parent stay taken.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.memkernel.kstrto import fault, kstrtoul, parse_uuid
from tests.memkernel.machine import Machine
from tests.memkernel.power import power_directory
from tests.memkernel.tree import Dir, File, constant, reading
from tests.memkernel.vfio import Vfio, VfioDevice

DEVICES = "bus/mdev/devices"
DRIVERS = "bus/mdev/drivers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What a driver says of a type. ``name`` without the class's prefix; ``about``: whatever the driver keeps of it."""

    name: str
    pretty: str
    description: str | None = None
    about: Any = None


@dataclass(kw_only=True, eq=False)
class MdevType:
    """A type of a parent."""

    kind: Kind
    parent: Parent
    directory: Dir

    @property
    def id(self) -> str:
        """Name of its directory, ``<class>-<name>``."""
        return self.directory.name


@dataclass(kw_only=True, eq=False)
class Parent:
    """A device that a driver registered as a parent. ``about``: the driver's own state of it, e.g. its pool."""

    driver: MdevDriver
    directory: Dir
    types: list[MdevType] = field(default_factory=list)
    about: Any = None
    left: int = 0


@dataclass(kw_only=True, eq=False)
class Device:
    """An mdev. ``about``: the driver's own state of it, e.g. its values."""

    uuid: str
    type: MdevType
    directory: Dir
    vfio: VfioDevice | None = None
    about: Any = None


class MdevDriver(Protocol):
    """What the core asks of a driver. ``max_instances`` None: the driver counts by itself (``available``)."""

    name: str
    max_instances: int | None

    def available(self, mdev_type: MdevType) -> int:
        """How many more of this type."""

    def probe(self, device: Device) -> None:
        """A device is being made; OSError: it is not."""

    def group(self, device: Device) -> tuple[str, Mapping[str, File]]:
        """Name and files of the attribute group that the driver adds to a device."""

    def remove(self, device: Device) -> None:
        """A device is gone: nobody has it open any more."""


@dataclass(kw_only=True, eq=False)
class MdevCore:
    """The core of one boot."""

    machine: Machine
    vfio: Vfio
    devices: dict[str, Device] = field(default_factory=dict)
    parents: list[Parent] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in ("class/mdev_bus", DEVICES, DRIVERS):
            self.machine.root.directory(path)

    def register_driver(self, driver: MdevDriver) -> None:
        """The driver shows under ``bus/mdev/drivers``."""
        root = self.machine.root
        root.directory(f"{DRIVERS}/{driver.name}").link("module", root.directory(f"module/{driver.name}"))

    def register_parent(self, driver: MdevDriver, directory: Dir, kinds: Sequence[Kind], about: Any = None) -> Parent:
        """Make the types of a parent and say so (``change`` with MDEV_STATE=registered)."""
        parent = Parent(driver=driver, directory=directory, about=about, left=driver.max_instances or 0)
        for kind in kinds:
            home = directory.directory(f"mdev_supported_types/{driver.name}-{kind.name}")
            mdev_type = MdevType(kind=kind, parent=parent, directory=home)
            home.fill(self._type_files(mdev_type))
            home.directory("devices")
            parent.types.append(mdev_type)
        self.parents.append(parent)
        self.machine.root.directory("class/mdev_bus").link(directory.name, directory)
        self.announce(parent, "registered")
        return parent

    def announce(self, parent: Parent, state: str) -> None:
        """Send the parent's ``change`` event."""
        self.machine.send("change", parent.directory.path, parent.driver.name, MDEV_STATE=state)

    def unregister_parent(self, parent: Parent) -> None:
        """Remove all its devices, waiting for each, and then its types."""
        self.announce(parent, "unregistered")
        for device in [device for device in self.devices.values() if device.type.parent is parent]:
            self.remove(device)
        self.machine.root.directory("class/mdev_bus").drop(parent.directory.name)
        parent.directory.drop("mdev_supported_types")
        self.parents.remove(parent)

    def create(self, mdev_type: MdevType, data: bytes) -> None:
        """``create``: make a device, or answer with the core's or the driver's errno and leave nothing behind."""
        uuid = parse_uuid(data)
        parent = mdev_type.parent
        if uuid in self.devices:
            raise fault(errno.EEXIST)
        if parent.driver.max_instances is not None:
            if not parent.left:
                raise fault(errno.EUSERS)
            parent.left -= 1
        device = Device(uuid=uuid, type=mdev_type, directory=parent.directory.directory(uuid))
        self.devices[uuid] = device
        self._add(device)
        try:
            parent.driver.probe(device)
        except OSError:
            self._unlist(device)
            self._forget(device)
            raise
        self._bind(device)

    def remove(self, device: Device) -> None:
        """Take a device away; waits for writes that have not returned, and for whoever has it open."""
        driver = device.type.parent.driver
        name, _ = driver.group(device)
        group = device.directory.directory(name)
        writes = group.files()
        self._unlist(device)
        device.directory.drop(name)
        self.machine.wait_until(lambda: not any(file.active for file in writes))
        assert device.vfio is not None
        self.vfio.unregister(device.vfio)
        driver.remove(device)
        self.machine.send("unbind", device.directory.path, "mdev", DRIVER=driver.name)
        self._forget(device)

    def _type_files(self, mdev_type: MdevType) -> dict[str, File]:
        driver, kind = mdev_type.parent.driver, mdev_type.kind

        def available() -> str:
            parent = mdev_type.parent
            return str(driver.available(mdev_type) if driver.max_instances is None else parent.left)

        files = {
            "available_instances": reading(available),
            "create": File(store=lambda data: self.create(mdev_type, data)),
            "device_api": constant("vfio-pci"),
            "name": constant(kind.pretty),
        }
        return files if kind.description is None else {**files, "description": constant(kind.description)}

    def _add(self, device: Device) -> None:
        root = self.machine.root
        device.directory.fill({"uevent": File(show=lambda: b"", store=lambda data: None)})
        device.directory.fill({"remove": File(store=lambda data: self._remove_store(device, data))})
        device.directory.link("subsystem", root.directory("bus/mdev"))
        power_directory(device.directory)
        root.directory(DEVICES).link(device.uuid, device.directory)
        self.machine.send("add", device.directory.path, "mdev")

    def _bind(self, device: Device) -> None:
        driver = device.type.parent.driver
        device.vfio = self.vfio.register(device.directory)
        name, files = driver.group(device)
        device.directory.directory(name).fill(files)
        device.directory.link("driver", self.machine.root.directory(f"{DRIVERS}/{driver.name}"))
        device.directory.fill({"uevent": File(show=f"DRIVER={driver.name}\n".encode, store=lambda data: None)})
        self.machine.send("bind", device.directory.path, "mdev", DRIVER=driver.name)
        device.directory.link("mdev_type", device.type.directory)
        device.type.directory.directory("devices").link(device.uuid, device.directory)

    def _remove_store(self, device: Device, data: bytes) -> None:
        try:
            wanted = kstrtoul(data)
        except OSError:
            raise fault(errno.EINVAL) from None
        if wanted:
            self.remove(device)

    def _unlist(self, device: Device) -> None:
        """Take away what leads to the device; what is left are its directory, its group link and its VFIO device."""
        device.type.directory.directory("devices").drop(device.uuid)
        device.directory.drop("remove", "mdev_type", "uevent", "power", "subsystem", "driver")
        self.machine.root.directory(DEVICES).drop(device.uuid)

    def _forget(self, device: Device) -> None:
        parent = device.type.parent
        path = device.directory.path
        parent.directory.drop(device.uuid)
        self.machine.send("remove", path, "mdev")
        del self.devices[device.uuid]
        if parent.driver.max_instances is not None:
            parent.left += 1
        self.machine.lock.notify_all()
