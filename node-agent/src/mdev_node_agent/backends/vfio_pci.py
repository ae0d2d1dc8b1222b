"""Plain VFIO devices: PCI functions that a VFIO driver has (vfio-pci, or a variant of it for mlx5, hisi_acc, qat, xe).

A function bound to such a driver has ``vfio-dev/vfioN`` (kernel: ABI sysfs-devices-vfio-dev). There is nothing to
create: the device is there, and to make one is to *claim* it (journal and ledger), to release it to end the claim.
Nothing is written to sysfs for either; values that were written are restored before.

A *parent* is the physical function behind a virtual one, else the function itself; the *type* of an offer is the
driver's name, and the profile has none. *Places* are all functions of that parent and driver: which of them are free,
nobody claims and nobody uses, is no question of sysfs (:mod:`mdev_node_agent.deciding.making`).

A function may publish its metadata (:mod:`mdev_node_agent.metadata.published`); functions that publish different things
are offers of their own. Functions of NVIDIA's driver are the other back-end's, also in the moment before their files
come.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mdev_api.hashing import canonical_json
from mdev_node_agent.backends.backend import Findings
from mdev_node_agent.backends.files import ALLOWED, attributes_of, permitted
from mdev_node_agent.backends.identity import driver_of, hardware_ids
from mdev_node_agent.backends.pci import DEVICES, card, card_of, each_function, vfio_device
from mdev_node_agent.metadata.published import parameter_names, read_device_published, read_values
from mdev_node_agent.seeing.observation import Instance, Offer, Unreadable
from mdev_node_agent.sysfs.attribute import text_of
from mdev_node_agent.sysfs.entries import children, optional_link
from mdev_node_agent.sysfs.port import Directory, Port

OTHERS = "nvidia"
"""Name of the driver, and of its directory on a function, that another back-end knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VfioPciBackend:
    """VFIO functions. ``allowed``: patterns of the files, relative to a function, that stand for its attributes."""

    name: str = "vfio-pci"
    allowed: tuple[str, ...] = ALLOWED

    def discover(self, port: Port) -> Findings:
        """All functions that a VFIO driver has."""
        told: list[Unreadable] = []
        found = each_function(port, told, lambda device, address: self._function(port, device, address, told))
        parents, instances = [], []
        warned = {seen.id: warnings for seen, warnings in found}
        for address in dict.fromkeys(seen.parent for seen, _ in found):
            ours = [seen for seen, _ in found if seen.parent == address]
            parent, _ = card(port, address, told)
            offers = _offers(ours, warned)
            parents.append(replace(parent, driver=parent.driver or ours[0].type, offers=offers))
            instances += [_with_its_profile(seen, offers) for seen in ours]
        return Findings(parents=tuple(parents), instances=tuple(instances), unreadable=tuple(told))

    def create(self, port: Port, *, parent: str, type_id: str, instance: str) -> None:
        """Nothing is written. ENODEV: it is not there any more, or another driver has it by now."""
        with port.open(DEVICES) as devices, devices.open(instance) as device:
            here = (card_of(device, instance), optional_link(device, "driver"))
            if here != (parent, type_id) or vfio_device(device) is None:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), instance)

    def read(self, port: Port, *, instance: str, attribute: str) -> str:
        """Text of a parameter file or allow-listed attribute; EACCES for any other file."""
        with port.open(DEVICES) as devices, devices.open(instance) as device:
            group, name = self._permitted(device, instance, attribute)
            with device.open(group) as files:
                return text_of(files, name)

    def write(self, port: Port, *, instance: str, attribute: str, text: str) -> None:
        """Write a parameter file or allow-listed attribute; EACCES for any other file."""
        with port.open(DEVICES) as devices, devices.open(instance) as device:
            group, name = self._permitted(device, instance, attribute)
            with device.open(group) as files:
                files.write(name, f"{text}\n".encode())

    def release(self, port: Port, *, instance: str) -> None:
        """Nothing: the claim is the caller's."""

    def _permitted(self, device: Directory, address: str, attribute: str) -> tuple[str, str]:
        published = read_device_published(device, f"{DEVICES}/{address}").published
        return permitted(attribute, None if published is None else parameter_names([published]), self.allowed)

    def _function(
        self, port: Port, device: Directory, address: str, told: list[Unreadable]
    ) -> tuple[Instance, tuple[str, ...]] | None:
        """The function, and what of its metadata is ignored."""
        node, driver = vfio_device(device), optional_link(device, "driver")
        if node is None or driver is None or driver == OTHERS or children(device, OTHERS):
            return None
        path = f"{DEVICES}/{address}"
        profile: dict[str, Any] = {"backend": "vfio-pci", "driver": driver_of(port, device, told)}
        hardware = hardware_ids(device, path, told)
        if hardware:
            profile["hardware"] = hardware
        said = read_device_published(device, path)
        values, attributes, unreadable = dict[str, str](), dict[str, str](), tuple[Unreadable, ...]()
        if said.published is None:
            attributes, unreadable = attributes_of(device, path, self.allowed)
        else:
            profile["published"] = said.published
            values, unreadable = read_values(device, path, said.published)
        seen = Instance(
            id=address,
            parent=card_of(device, address),
            type=driver,
            values=values,
            attributes=attributes,
            unreadable=(*said.unreadable, *unreadable),
            profile=profile,
            vfio_group=optional_link(device, "iommu_group"),
            vfio_device=node,
        )
        return seen, said.warnings


def _offers(functions: Sequence[Instance], warned: Mapping[str, tuple[str, ...]]) -> tuple[Offer, ...]:
    """One for each driver and profile of a parent's functions, in the order of their first ones."""
    places: dict[tuple[str, bytes], list[Instance]] = {}
    for function in functions:
        places.setdefault((function.type, canonical_json(function.profile)), []).append(function)
    return tuple(
        Offer(
            type=driver,
            profile=of_profile[0].profile or {},
            available=len(of_profile),
            places=tuple(function.id for function in of_profile),
            lasting=True,
            warnings=tuple(dict.fromkeys(warning for function in of_profile for warning in warned[function.id])),
        )
        for (driver, _), of_profile in places.items()
    )


def _with_its_profile(function: Instance, offers: Sequence[Offer]) -> Instance:
    """Of one profile alone, every device of its type is: then it need not say so."""
    return replace(function, profile=None) if sum(o.type == function.type for o in offers) == 1 else function
