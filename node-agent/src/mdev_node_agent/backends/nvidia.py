"""NVIDIA's vendor-specific VFIO: SR-IOV functions (VFs) that are configured to a vGPU type, without mediated devices.

All of it stands on the VF (GPUs of Ada, Hopper and newer, kernels from 6.8 on):

* ``nvidia/creatable_vgpu_types``: lines ``<id>: <name>``, with or without a header. What can be made of this VF *now*:
  it shrinks as VFs of the card are configured, and does not list what the VF itself is.
* ``nvidia/current_vgpu_type``: the id, 0 for none. Writing an id configures the VF, writing 0 clears it.

A *parent* is the card (the physical function, ``physfn``), an *instance* a configured VF under its PCI address, a
*place* one that is not configured. Ids are local to a card, so types go by their names, and the number is looked up in
the VF's own list when it is configured. On a full card no list names anything any more; therefore names are remembered
for each card with its hardware and driver version. A VF whose number nobody has a name for is told.

*Room* of a type is the number of VFs whose list has it. They share the card's memory, which sysfs does not tell: the
driver's answer is the truth. NVIDIA's driver says EIO for lack of room and EPERM for a VF that is taken, so after a
refusal the files are read again, and ENOSPC or EEXIST raised where they say that it is one of these.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mdev_node_agent.backends.backend import Findings
from mdev_node_agent.backends.files import ALLOWED, attributes_of, not_shown, permitted
from mdev_node_agent.backends.identity import driver_of
from mdev_node_agent.backends.pci import DEVICES, card, card_of, each_function, vfio_device
from mdev_node_agent.memory.durable import write_whole
from mdev_node_agent.seeing.observation import Instance, Offer, Parent, Unreadable
from mdev_node_agent.sysfs.attribute import contents, reason, text_of, unreadable
from mdev_node_agent.sysfs.entries import optional_link
from mdev_node_agent.sysfs.port import Directory, Port

GROUP = "nvidia"
CREATABLE = "creatable_vgpu_types"
CURRENT = "current_vgpu_type"
NONE = "0"
NAMES_FILE = "vgpu-names.json"
MAX_NAME = 255


class Names:
    """The names of each card's types by number, as ``path`` (None: only this process) and the lists had them.

    A number means the same as long as card, hardware and driver version do; so that is the key. Used by looks alone,
    which never run at the same time.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, dict[str, str]] | None = None

    def learn(self, key: str, listed: Mapping[str, str]) -> Mapping[str, str]:
        """All that is known of this card, ``listed`` included. OSError: the file does not take it, memory does."""
        known = self._load()
        before = known.get(key, {})
        known[key] = {**before, **listed}
        if known[key] != before and self._path is not None:
            write_whole(self._path, json.dumps(known, indent=1, sort_keys=True).encode() + b"\n")
        return known[key]

    def known(self, key: str) -> Mapping[str, str]:
        """What is known of this card."""
        return self._load().get(key, {})

    def _load(self) -> dict[str, dict[str, str]]:
        if self._known is None:
            self._known = {} if self._path is None else _read(self._path)
        return self._known


@dataclass(frozen=True, kw_only=True, slots=True)
class _Vf:
    """A VF. ``creatable``: name by number."""

    address: str
    card: str
    driver: Mapping[str, str]
    current: str
    creatable: Mapping[str, str]
    seen: Instance


@dataclass(frozen=True, kw_only=True, slots=True)
class NvidiaBackend:
    """vGPUs on VFs. ``allowed``: patterns of the files, relative to a VF, that stand for its attributes."""

    name: str = "nvidia"
    allowed: tuple[str, ...] = ALLOWED
    names: Names = field(default_factory=Names)

    def discover(self, port: Port) -> Findings:
        """All cards that have such VFs, with every type that was ever seen of them, and the configured VFs."""
        told: list[Unreadable] = []
        vfs = each_function(port, told, lambda device, address: self._vf(port, device, address, told))
        parents: list[Parent] = []
        instances: list[Instance] = []
        for address in dict.fromkeys(vf.card for vf in vfs):
            ours = [vf for vf in vfs if vf.card == address]
            parent, hardware = card(port, address, told)
            names = self._names_of(ours, hardware, told)
            offers = _offers(ours, names, hardware)
            parents.append(replace(parent, driver=ours[0].driver["name"], offers=offers))
            instances += _instances(ours, names, told)
        return Findings(parents=tuple(parents), instances=tuple(instances), unreadable=tuple(told))

    def create(self, port: Port, *, parent: str, type_id: str, instance: str) -> None:
        """Configure the VF. EEXIST: it is configured already; ENOSPC: the type cannot be made of it now."""
        with port.open(DEVICES) as devices, devices.open(instance) as device, device.open(GROUP) as files:
            if card_of(device, instance) != parent:
                raise _error(errno.ENODEV, instance)
            number = _number_for(files, instance, type_id)
            try:
                files.write(CURRENT, f"{number}\n".encode())
            except OSError:
                # The driver's errno says less than its files do now.
                _number_for(files, instance, type_id)
                raise
            now = text_of(files, CURRENT)
            if now != number:
                raise _error(errno.EIO if now == NONE else errno.EEXIST, instance)

    def read(self, port: Port, *, instance: str, attribute: str) -> str:
        """Text of an allow-listed attribute; EACCES for any other file."""
        group, name = permitted(attribute, None, self.allowed)
        with port.open(DEVICES) as devices, devices.open(instance) as device, device.open(group) as files:
            return text_of(files, name)

    def write(self, port: Port, *, instance: str, attribute: str, text: str) -> None:
        """Write an allow-listed attribute; EACCES for any other file."""
        group, name = permitted(attribute, None, self.allowed)
        with port.open(DEVICES) as devices, devices.open(instance) as device, device.open(group) as files:
            files.write(name, f"{text}\n".encode())

    def release(self, port: Port, *, instance: str) -> None:
        """Clear the VF; nothing is written to one that is not configured. EPERM or EBUSY: it is still open."""
        with port.open(DEVICES) as devices, devices.open(instance) as device, device.open(GROUP) as files:
            if text_of(files, CURRENT) == NONE:
                return
            files.write(CURRENT, f"{NONE}\n".encode())
            if text_of(files, CURRENT) != NONE:
                raise _error(errno.EBUSY, instance)

    def _vf(self, port: Port, device: Directory, address: str, told: list[Unreadable]) -> _Vf | None:
        """None: no function of this kind, or one without files of which that is told."""
        path = f"{DEVICES}/{address}/{GROUP}"
        try:
            files = device.open(GROUP)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        with files:
            if CURRENT not in files.list():
                return None
            current = text_of(files, CURRENT)
            creatable = _creatable(files, path, address, told)
        if not (current.isascii() and current.isdigit()):
            told.append(not_shown(f"{path}/{CURRENT}", address, f"{current!r} is no number"))
            return None
        attributes, unreadable_ = attributes_of(device, f"{DEVICES}/{address}", self.allowed)
        parent = card_of(device, address)
        seen = Instance(
            id=address,
            parent=parent,
            type="",
            attributes=attributes,
            unreadable=unreadable_,
            vfio_group=optional_link(device, "iommu_group"),
            vfio_device=vfio_device(device),
        )
        driver = driver_of(port, device, told)
        return _Vf(address=address, card=parent, driver=driver, current=current, creatable=creatable, seen=seen)

    def _names_of(self, vfs: Sequence[_Vf], hardware: Mapping[str, str], told: list[Unreadable]) -> Mapping[str, str]:
        """Name by number for a card, also of types that no list has now."""
        key = " ".join((vfs[0].card, vfs[0].driver.get("version", "-"), *(f"{k}={hardware[k]}" for k in hardware)))
        listed = {number: name for vf in vfs for number, name in vf.creatable.items()}
        try:
            return self.names.learn(key, listed)
        except OSError as error:
            message = f"names of vGPU types cannot be kept ({error}): a full card's devices are not known after a start"
            told.append(Unreadable(path=vfs[0].card, name=NAMES_FILE, errno="", message=f"{message} ({reason(error)})"))
            return self.names.known(key)


def creatable_types(text: str) -> tuple[dict[str, str], list[str]]:
    """Name by number of a list, and the lines that are neither header nor entry. A name may contain ``:``."""
    types: dict[str, str] = {}
    strange = []
    for line in text.splitlines():
        number, colon, name = (part.strip() for part in line.partition(":"))
        if not line.strip() or (number.upper() == "ID" and colon):
            continue
        if colon and number.isascii() and number.isdigit() and _can_be_shown(name):
            types[str(int(number))] = name
        else:
            strange.append(line)
    return types, strange


def _creatable(files: Directory, path: str, address: str, told: list[Unreadable]) -> dict[str, str]:
    """What can be made of a VF now. A list that cannot be read is told: nothing is made of that VF."""
    try:
        types, strange = creatable_types(contents(files, CREATABLE))
    except OSError as error:
        told.append(unreadable(f"{path}/{CREATABLE}", f"{address} {CREATABLE}", error))
        return {}
    for line in strange[:1]:
        why = f"{line!a} is no line of the form 'number : name'"
        told.append(not_shown(f"{path}/{CREATABLE}", f"{address} {CREATABLE}", why))
    return types


def _number_for(files: Directory, address: str, type_id: str) -> str:
    """The number by which this VF can be made the type. EEXIST, ENOSPC as ``create``."""
    if text_of(files, CURRENT) != NONE:
        raise _error(errno.EEXIST, address)
    types, _ = creatable_types(contents(files, CREATABLE))
    number = next((number for number, name in types.items() if name == type_id), None)
    if number is None:
        raise _error(errno.ENOSPC, address)
    return number


def _offers(vfs: Sequence[_Vf], names: Mapping[str, str], hardware: Mapping[str, str]) -> tuple[Offer, ...]:
    profile: dict[str, Any] = {"backend": "nvidia", "driver": dict(vfs[0].driver)}
    if hardware:
        profile["hardware"] = dict(hardware)
    offers = []
    for name in dict.fromkeys(names[number] for number in sorted(names, key=int)):
        places = tuple(vf.address for vf in vfs if vf.current == NONE and name in vf.creatable.values())
        about = {"id": name, "name": name, "deviceAPI": "vfio-pci"}
        offers.append(Offer(type=name, profile={**profile, "type": about}, available=len(places), places=places))
    return tuple(offers)


def _instances(vfs: Sequence[_Vf], names: Mapping[str, str], told: list[Unreadable]) -> list[Instance]:
    instances = []
    for vf in vfs:
        if vf.current == NONE:
            continue
        name = names.get(str(int(vf.current)))
        if name is None:
            why = f"what type {vf.current} of this card is called shows as soon as a VF of the card can be made one"
            told.append(not_shown(f"{DEVICES}/{vf.address}/{GROUP}/{CURRENT}", vf.address, why))
        else:
            instances.append(replace(vf.seen, type=name))
    return instances


def _can_be_shown(name: str) -> bool:
    """Can it be a type's name in the API?"""
    return 0 < len(name) <= MAX_NAME and "/" not in name and "\0" not in name and name.isprintable()


def _error(number: int, address: str) -> OSError:
    return OSError(number, os.strerror(number), address)


def _read(path: Path) -> dict[str, dict[str, str]]:
    """The file; what cannot be understood of it will be learned anew."""
    try:
        content = json.loads(path.read_bytes())
        return {str(key): {str(int(n)): str(name) for n, name in names.items()} for key, names in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}
