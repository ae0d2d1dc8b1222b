"""Mediated devices: a parent's driver makes them on request, one type of several, by UUID.

Where things come from (kernel: Documentation/driver-api/vfio-mediated-device.rst):

* *Parents* are the entries of ``class/mdev_bus``, *instances* those of ``bus/mdev/devices``. An instance belongs to the
  parent that has it as a subdirectory, and to the type that its ``mdev_type`` links to. A subdirectory with a UUID that
  is not on the bus is one whose removal waits for whoever has it open (or one in the making): told, not shown.
* *The driver's name* is the parent's ``driver`` link; a virtual parent has none and takes its ``subsystem`` link. That
  is what the mdev core itself puts before the first ``-`` of each type's id (``dev_driver_string``): the same on every
  node, with or without an instance. The driver's version is ``module/<its module>/version``, where there is one.
* *Published metadata and values* come from :mod:`mdev_node_agent.metadata.published`. A type with several models has an
  offer for each, and all of them the same free instances.
* *Attributes of an instance*, only where the driver publishes nothing: files that match the allow-list (``migration/*``
  and ``vendor/*``: groups that a driver fills, never the kernel's own ``power/`` or ``remove``), at most 8, and of at
  most 256 bytes each; a longer one is told as unreadable, because half a text would be compared as a whole. The same
  list bounds what may be read and written there (design section 7).

A profile holds nothing that says where it was seen and no number that use changes.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mdev_node_agent.backends.backend import Findings
from mdev_node_agent.backends.files import ALLOWED, attributes_of, not_shown, permitted
from mdev_node_agent.backends.identity import MAX_SHORT, driver_of, hardware_ids, numa_node
from mdev_node_agent.metadata import published
from mdev_node_agent.seeing.observation import Instance, Offer, Parent, Unreadable
from mdev_node_agent.sysfs.attribute import GONE, contents, optional_text, text_of, unreadable
from mdev_node_agent.sysfs.entries import children, entries, optional_link
from mdev_node_agent.sysfs.port import Directory, Port

PARENTS = "class/mdev_bus"
DEVICES = "bus/mdev/devices"
TYPES = "mdev_supported_types"
MAX_TEXT = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class MdevBackend:
    """Mediated devices. ``allowed``: patterns of the files, relative to an instance, that stand for its attributes."""

    name: str = "mdev"
    allowed: tuple[str, ...] = ALLOWED

    def discover(self, port: Port) -> Findings:
        """All parents, their types and instances. A kernel without mdev has none."""
        told: list[Unreadable] = []
        parents: list[Parent] = []
        homes: dict[str, str] = {}
        for name in entries(port, PARENTS):
            try:
                with port.open(f"{PARENTS}/{name}") as directory:
                    parent, children = _parent(port, directory, name)
            except OSError as error:
                if error.errno not in GONE:
                    told.append(unreadable(f"{PARENTS}/{name}", name, error))
                continue
            parents.append(parent)
            homes.update(dict.fromkeys(children, name))
        on_bus = entries(port, DEVICES)
        told += _leaving(port, homes, on_bus)
        offers: dict[tuple[str, str], list[Offer]] = {}
        for parent in parents:
            for offer in parent.offers:
                offers.setdefault((parent.name, offer.type), []).append(offer)
        instances = [self._instance(port, name, homes, offers, told) for name in on_bus]
        return Findings(
            parents=tuple(parents), instances=tuple(i for i in instances if i is not None), unreadable=tuple(told)
        )

    def create(self, port: Port, *, parent: str, type_id: str, instance: str) -> None:
        """Ask the parent's driver for an instance of this UUID; OSError with the core's or the driver's errno.

        The core would read only the first 36 bytes, so anything but one UUID is refused here (EINVAL).
        """
        try:
            text = str(uuid.UUID(instance))
        except ValueError:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), instance) from None
        with (
            port.open(PARENTS) as parents,
            parents.open(parent) as device,
            device.open(TYPES) as types,
            types.open(type_id) as type_directory,
        ):
            type_directory.write("create", f"{text}\n".encode())

    def read(self, port: Port, *, instance: str, attribute: str) -> str:
        """Text of a parameter file or allow-listed attribute; EACCES for any other file."""
        with port.open(DEVICES) as devices, devices.open(instance) as device:
            group, name = self._permitted(device, attribute)
            with device.open(group) as files:
                return contents(files, name).removesuffix("\n")

    def write(self, port: Port, *, instance: str, attribute: str, text: str) -> None:
        """Write a parameter file or allow-listed attribute; EACCES for any other file."""
        with port.open(DEVICES) as devices, devices.open(instance) as device:
            group, name = self._permitted(device, attribute)
            with device.open(group) as files:
                files.write(name, f"{text}\n".encode())

    def release(self, port: Port, *, instance: str) -> None:
        """Remove the instance; blocks, beyond any signal, until nobody has it open. ENOENT: it is gone already."""
        with port.open(DEVICES) as devices, devices.open(instance) as device:
            device.write("remove", b"1\n")

    def _permitted(self, device: Directory, attribute: str) -> tuple[str, str]:
        """Group and file of ``attribute`` if this instance's type publishes it or the allow-list has it."""
        with device.open("mdev_type") as type_directory:
            parameters = _published_names(type_directory)
        return permitted(attribute, parameters, self.allowed)

    def _instance(
        self,
        port: Port,
        name: str,
        homes: Mapping[str, str],
        offers: Mapping[tuple[str, str], Sequence[Offer]],
        told: list[Unreadable],
    ) -> Instance | None:
        """One device, or None: it has vanished meanwhile, or it cannot be placed, which is told."""
        path = f"{DEVICES}/{name}"
        if name not in homes:
            told.append(not_shown(path, name, "no parent has it; it is just being created or removed"))
            return None
        try:
            with port.open(path) as device:
                seen = self._read_instance(device, name, homes[name], path, offers)
                device.link("mdev_type")
                return seen
        except OSError as error:
            if error.errno not in GONE or name in entries(port, DEVICES):
                told.append(unreadable(path, name, error))
        return None

    def _read_instance(
        self, device: Directory, name: str, parent: str, path: str, offers: Mapping[tuple[str, str], Sequence[Offer]]
    ) -> Instance:
        type_id = device.link("mdev_type")
        ours = offers.get((parent, type_id), ())
        models = [offer.profile["published"] for offer in ours if "published" in offer.profile]
        values: dict[str, str] = {}
        attributes: dict[str, str] = {}
        chosen: Offer | None = None
        told: tuple[Unreadable, ...] = ()
        if not models:
            attributes, told = attributes_of(device, path, self.allowed)
        else:
            metadata, undecided = published.choose_model(device, path, models)
            if metadata is not None:
                values, told = published.read_values(device, path, metadata)
                chosen = next((offer for offer in ours if offer.profile["published"] is metadata), None)
            else:
                told = (undecided,) if undecided is not None else ()
        return Instance(
            id=name,
            parent=parent,
            type=type_id,
            values=values,
            attributes=attributes,
            unreadable=told,
            profile=None if chosen is None or len(ours) == 1 else chosen.profile,
            vfio_group=optional_link(device, "iommu_group"),
            vfio_device=next((entry for entry in children(device, "vfio-dev") if entry.startswith("vfio")), None),
        )


def _parent(port: Port, directory: Directory, name: str) -> tuple[Parent, list[str]]:
    """A parent, and the ids of the devices that stand below it. OSError if it is gone before the look is over."""
    path = f"{PARENTS}/{name}"
    told: list[Unreadable] = []
    driver = driver_of(port, directory, told)
    hardware = hardware_ids(directory, path, told)
    offers: list[Offer] = []
    with directory.open(TYPES) as types:
        for type_id in types.list():
            if not _is_utf8(type_id):
                told.append(not_shown(f"{path}/{TYPES}", ascii(type_id), f"the name {type_id!a} is not UTF-8"))
                continue
            try:
                with types.open(type_id) as type_directory:
                    offers += _offers(type_directory, f"{path}/{TYPES}/{type_id}", type_id, driver, hardware)
            except OSError as error:
                if error.errno not in GONE or type_id in types.list():
                    told.append(unreadable(f"{path}/{TYPES}/{type_id}", type_id, error))
    parent = Parent(
        name=name,
        driver=driver["name"],
        numa_node=numa_node(directory, path, told),
        offers=tuple(offers),
        unreadable=tuple(told),
    )
    below = [entry for entry in directory.list() if _is_uuid(entry)]
    directory.link("subsystem")  # a directory that is gone lists nothing, and would look like a parent without types
    return parent, below


def _offers(
    directory: Directory, path: str, type_id: str, driver: Mapping[str, str], hardware: Mapping[str, str]
) -> list[Offer]:
    """One offer for each model of a type, one without any; what cannot be read of the type is told once."""
    told: list[Unreadable] = []
    about: dict[str, str] = {"id": type_id}
    for member, attribute, limit in (("name", "name", MAX_TEXT), ("deviceAPI", "device_api", MAX_SHORT)):
        text = optional_text(directory, attribute, path, told)
        if text is not None:
            about[member] = text[:limit]
    profile: dict[str, Any] = {"backend": "mdev", "driver": dict(driver), "type": about}
    if hardware:
        profile["hardware"] = dict(hardware)
    description = optional_text(directory, "description", path, told)
    if description is not None:
        profile["attributes"] = [{"name": "description", "value": description[:MAX_TEXT]}]
    said = published.read_type_published(directory, path)
    available = _available(directory, path, told)
    profiles = [{**profile, "published": model} for model in said.models] or [profile]
    unreadable = (*told, *said.unreadable)
    first = Offer(type=type_id, profile=profiles[0], available=available, unreadable=unreadable, warnings=said.warnings)
    return [first, *(Offer(type=type_id, profile=other, available=available) for other in profiles[1:])]


def _available(directory: Directory, path: str, told: list[Unreadable]) -> int | None:
    """Every type has this file, so that it is read last shows that what was read before is of a type that exists."""
    path = f"{path}/available_instances"
    try:
        text = text_of(directory, "available_instances")
    except OSError as error:
        if error.errno in GONE:
            raise
        told.append(unreadable(path, "available_instances", error))
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    told.append(not_shown(path, "available_instances", f"{text!r} is no number"))
    return None


def _published_names(type_directory: Directory) -> frozenset[str] | None:
    """Names of the parameters that a type publishes; None if it publishes nothing."""
    models = published.read_type_published(type_directory, "").models
    return published.parameter_names(models) if models else None


def _leaving(port: Port, homes: Mapping[str, str], on_bus: list[str]) -> list[Unreadable]:
    """Devices that stand below a parent and are not on the bus."""
    told = []
    for name, parent in homes.items():
        path = f"{PARENTS}/{parent}"
        if name not in on_bus and name in entries(port, path):
            why = "not on the mdev bus: its removal waits for whoever has it open, or it is just being created"
            told.append(not_shown(f"{path}/{name}", name, why))
    return told


def _is_utf8(name: str) -> bool:
    """Could the name stand in an API object?"""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _is_uuid(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
