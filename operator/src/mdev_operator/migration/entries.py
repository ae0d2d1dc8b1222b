"""The reservation entries of a migration: built here, recognised again by their ids after any restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from mdev_api.engine.openings import Candidate
from mdev_api.engine.writing import off_values
from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_reservations import Create, DesiredValue, Device, Entry, Intent, Owner, Role, SlotRequest
from mdev_operator.inventory.cluster import Held
from mdev_operator.migration.source import SourceDevice


def destination(
    migration: DeviceMigration, number: int, index: int, candidate: Candidate, profile: DeviceProfile, boot_id: str
) -> Entry:
    """Attempt ``number``, device ``index``: have the candidate prepared."""
    opening = candidate.opening
    if opening.slot is not None:
        device = Device(slot=SlotRequest(resource=opening.slot), profile=opening.profile)
    elif opening.instance is None:
        assert opening.parent is not None
        device = Device(create=Create(parent=opening.parent, type=opening.type, profile=opening.profile))
    else:
        device = Device(instance=opening.instance, profile=opening.profile)
    return Entry(
        id=destination_id(migration, number, index),
        role=Role.DESTINATION,
        intent=Intent.HOLD,
        group=f"{migration.metadata.uid}-{number}",
        owner=owner_of(migration),
        boot_id=boot_id,
        device=device,
        values=desired_values(profile, candidate.answer.desired, off_values(opening.metadata)),
        write_strategy=opening.metadata.write_strategy,
    )


def source(
    migration: DeviceMigration, device: SourceDevice, index: int, number: int, values: tuple[DesiredValue, ...] = ()
) -> Entry:
    """Pin source device ``index`` and have it read afresh; the entry stands through all attempts.

    ``values``: what the running device is to have first (a source adjustment).
    """
    assert device.instance is not None and device.profile is not None and device.boot_id is not None
    return Entry(
        id=source_id(migration, index),
        role=Role.SOURCE,
        intent=Intent.HOLD,
        group=f"{migration.metadata.uid}-{number}",
        owner=owner_of(migration),
        boot_id=device.boot_id,
        device=Device(instance=device.instance, profile=device.profile),
        values=values,
    )


def destination_id(migration: DeviceMigration, number: int, index: int) -> str:
    """Name of the entry of attempt ``number`` for device ``index``."""
    return f"{migration.metadata.uid}-{number}-{index}"


def source_id(migration: DeviceMigration, index: int) -> str:
    """Name of the entry that pins source device ``index``."""
    return f"{migration.metadata.uid}-source-{index}"


def owner_of(migration: DeviceMigration) -> Owner:
    """The migration as the owner of entries."""
    meta = migration.metadata
    return Owner(kind="DeviceMigration", namespace=meta.namespace, name=meta.name, uid=meta.uid)


def desired_values(
    profile: DeviceProfile, desired: Mapping[str, str], off: Mapping[str, str] = MappingProxyType({})
) -> tuple[DesiredValue, ...]:
    """What each parameter that has a file is to be, in the order of definition. ``off``: what is written before."""
    parameters = profile.status.parameters if profile.status else ()
    return tuple(
        DesiredValue(name=p.name, type=p.type, value=desired[p.name], attribute=p.attribute, off_value=off.get(p.name))
        for p in parameters
        if p.attribute is not None and p.type is not None and p.name in desired
    )


def profile_of(entry: Entry) -> str | None:
    """The profile that the entry's device has, or will have."""
    return entry.device.create.profile if entry.device.create else entry.device.profile


def next_number(recorded: Iterable[int], held: Iterable[Held]) -> int:
    """A number that no attempt of this migration had."""
    return max([0, *recorded, *(number_of(h.entry) for h in held if h.entry.role is Role.DESTINATION)]) + 1


def number_of(entry: Entry) -> int:
    """The attempt that an entry belongs to; 0 if its group was not made by :func:`destination` or :func:`source`."""
    return _tail(entry.group)


def index_of(entry: Entry) -> int:
    """Which of the migration's devices an entry is about, from 0."""
    return _tail(entry.id)


def _tail(name: str) -> int:
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isascii() and tail.isdecimal() else 0
