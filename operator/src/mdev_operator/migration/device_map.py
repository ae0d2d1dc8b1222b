"""The map that Ready tells: which device goes where, as the entries and the published inventory have it."""

from __future__ import annotations

from collections.abc import Sequence

from mdev_api.engine.compatibility_class import class_of
from mdev_api.kinds.device_migration import Adjustment, DeviceMigrationStatus, MappedDevice
from mdev_operator.inventory.cluster import Cluster, Held, instance_of
from mdev_operator.migration.attempt import Group
from mdev_operator.migration.source import SourceDevice


def at_source(source: SourceDevice, adjustments: tuple[Adjustment, ...] = ()) -> MappedDevice:
    """What moves, before it is known where to. The class is that of what the source is, or will be, adjusted to."""
    return MappedDevice(
        name=source.name,
        source=source.instance,
        device_class=class_of(source.source),
        adjustments=adjustments,
    )


def mapped(cluster: Cluster, group: Group, devices: Sequence[MappedDevice]) -> tuple[MappedDevice, ...] | Held:
    """The map of all devices, or the first entry whose instance its node has not published yet."""
    found = []
    for held, device in zip(group.held, devices, strict=True):
        there = _there(cluster, held, device)
        if there is None:
            return held
        found.append(there)
    return tuple(found)


def with_picked(cluster: Cluster, group: Group, status: DeviceMigrationStatus) -> DeviceMigrationStatus:
    """The map names the device of a slot as soon as the agent has seen which one the kubelet picked."""
    devices = []
    for held, device in zip(group.held, status.devices, strict=False):
        picked = device.instance is None and instance_of(held) is not None
        devices.append((_there(cluster, held, device) or device) if picked else device)
    return status if tuple(devices) == status.devices else status.model_copy(update={"devices": tuple(devices)})


def _there(cluster: Cluster, held: Held, device: MappedDevice) -> MappedDevice | None:
    """The device with its place; without an instance for a slot that was not picked from yet. None: not known yet."""
    entry, answer, instance = held.entry, held.answer, instance_of(held)
    at = cluster.instance(held.node, instance) if instance is not None else None
    create = entry.device.create
    parent = create.parent if create else at.parent if at else None
    type_id = create.type if create else at.type if at else None
    if instance is None:
        view = cluster.profiles.get(entry.device.profile or "")
        kind = view.profile.spec.type if view is not None else None
        type_id = kind.id if kind is not None else None
    if type_id is None or (parent is None and instance is not None):
        return None
    place = {
        "parent": parent,
        "type": type_id,
        "instance": instance,
        "writes": len(answer.writes) if answer is not None else 0,
    }
    return device.model_copy(update=place)
