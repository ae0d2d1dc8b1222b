"""What one node means for classes: where a device could be had, and which classes its own devices are of.

Pure functions of the cluster's state. A node's room is a tuple of *rows*: each row is one pool of capacity, the free
instances that each profile could have of it. A parent's types are one row, because they usually share its capacity;
functions that are there anyway are a row for each profile, and an idle instance of ours is one of its own. Many parents
have equal rows, and equal rows are judged once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mdev_api.engine.compatibility_class import CompatibilityClass, compatibility_class
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_devices import InUse, NodeDevicesStatus, NodeInstance
from mdev_api.meaning import source_of
from mdev_operator.inventory.cluster import Cluster, Held, ProfileView, instance_of
from mdev_operator.offers.room import Room, counted_in, room_of

Row = tuple[tuple[str, int], ...]
"""(profile, free instances), sorted by profile."""

_MOST_READINGS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """One node. ``rows`` is empty where nobody can vouch for the node; ``running`` are classes of devices there."""

    rows: tuple[Row, ...] = ()
    running: Mapping[str, CompatibilityClass] = field(default_factory=dict)
    profiles: frozenset[str] = frozenset()
    """Profiles that ``running`` was read from."""


@dataclass(kw_only=True, slots=True)
class ClassReadings:
    """The class of each distinct reading of a device, worked out once: most devices of a cluster are alike."""

    _known: dict[object, CompatibilityClass | None] = field(default_factory=dict)

    def of(self, instance: NodeInstance, profile: DeviceProfile) -> CompatibilityClass | None:
        """The class of a device as its node shows it. ``profile`` is the one that it names."""
        key = (
            profile.metadata.uid,
            profile.metadata.resource_version,
            instance.profile,
            tuple(sorted(instance.values.items())),
            tuple(sorted(instance.attributes.items())),
            tuple(u.name for u in instance.unreadable),
        )
        if key not in self._known:
            if len(self._known) >= _MOST_READINGS:
                self._known.clear()
            self._known[key] = compatibility_class(source_of(instance, profile))
        return self._known[key]


def look(cluster: Cluster, node: str, readings: ClassReadings) -> Sight:
    """What the node means now. One whose agent is silent keeps what runs on it and has no room."""
    devices = cluster.devices.get(node)
    if devices is None or devices.status is None:
        return Sight()
    status = devices.status
    running: dict[str, CompatibilityClass] = {}
    profiles = set()
    for instance in status.instances:
        # Unknown is the usual answer where no device plugin serves the device: it may well be a VM's.
        if instance.in_use is InUse.NO:
            continue
        profiles.add(instance.profile)
        view = cluster.profiles.get(instance.profile)
        found = readings.of(instance, view.profile) if view is not None else None
        if found is not None:
            running[found.name] = found
    there = node in cluster.nodes and cluster.silent(node) is None
    rows = _rows(cluster.profiles, status, cluster.held_on(node)) if there else ()
    return Sight(rows=rows, running=running, profiles=frozenset(profiles))


def _rows(profiles: Mapping[str, ProfileView], status: NodeDevicesStatus, held: tuple[Held, ...]) -> tuple[Row, ...]:
    counted = counted_in(status)
    rows = [row for parent in status.parents for row in _of_parent(room_of(profiles, parent, held, counted))]
    reserved = {instance_of(h) for h in held}
    for instance in status.instances:
        if instance.managed and instance.in_use is InUse.NO and not instance.unreadable:
            rows.append(((instance.profile, 0 if instance.id in reserved else 1),))
    return tuple(row for row in rows if row)


def _of_parent(rooms: Iterable[Room]) -> Iterator[Row]:
    shared: dict[str, int] = {}
    for room in rooms:
        if room.pool is None:
            yield ((room.offer.profile, room.free),)
        else:
            shared[room.offer.profile] = max(room.free, shared.get(room.offer.profile, 0))
    yield tuple(sorted(shared.items()))
