"""Which device a pod gets from our own plugin, and how its container is told. Pure.

Allocate is not told for which pod. Therefore, in this order:

1. the *armed* device: the one that a Destination entry has prepared and that no pod has yet. The operator lets one pod
   at a time, for each node and resource, come for it. If there are two, nobody can say whose is whose: refused.
2. a device of ours that nobody holds or uses and that reads as a new one: what a pod that has ended left behind.
3. a new one, on the parent with the most room. It goes the way of all that we make: journal, ledger, and in the end
   the ledger's rule.

A pod that is no migration's target may come first and take the armed device. Nothing can prevent that, and it is found
out: see :mod:`mdev_node_agent.kubelet.foreign`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import Entry, EntryAnswer, Intent, Role, State
from mdev_node_agent.memory.ledger import Made
from mdev_node_agent.seeing.in_use import InUse
from mdev_node_agent.seeing.observation import Instance, Observation
from mdev_node_agent.seeing.sight import Sight

KEY_PREFIX = "allocated-"
"""Of the keys in journal and ledger of devices that Allocate has made; their UUIDs are made from these keys."""
VFIO = "/dev/vfio"


@dataclass(frozen=True, kw_only=True, slots=True)
class Armed:
    """A prepared device that waits for its pod, and whose it is."""

    instance: str
    owner: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """A type of a parent of which ``available`` devices can still be made."""

    parent: str
    type: str
    backend: str
    available: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stock:
    """What there is for the next pod: ``idle`` devices of ours, ``rooms`` with the most room first.

    ``coming``: how many devices are there already and about to be armed; their pods need slots too.
    """

    armed: tuple[Armed, ...] = ()
    coming: int = 0
    idle: tuple[str, ...] = ()
    rooms: tuple[Room, ...] = ()

    @property
    def size(self) -> int:
        """How many pods can get one. Types of one parent live from the same resources, so only its largest counts."""
        most: dict[str, int] = {}
        for room in self.rooms:
            most[room.parent] = max(most.get(room.parent, 0), room.available)
        return len(self.armed) + self.coming + len(self.idle) + sum(most.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Existing:
    """Hand out this one."""

    instance: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Make:
    """Make one in the first of these that takes it."""

    rooms: tuple[Room, ...]


class RefusedError(Exception):
    """No device can be handed out. ``code``: name of gRPC's status code; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Choice: TypeAlias = Existing | Make


def stock_of(
    types: Collection[str],
    sight: Sight,
    *,
    entries: Iterable[Entry],
    answers: Mapping[str, EntryAnswer],
    made: Mapping[str, Made],
    held: Collection[str],
    given: Collection[str],
) -> Stock:
    """What there is of these types. ``made``: the ledger; ``held``: instances of reservations; ``given``: of pods."""
    observation = sight.observation
    seen = {i.id: i for i in observation.instances if i.type in types and i.id not in given}
    armed, coming = [], set()
    for entry in entries:
        answer = answers.get(entry.id)
        if entry.role is not Role.DESTINATION or entry.intent is not Intent.HOLD or entry.device.slot is not None:
            continue
        if answer is None or answer.state is State.PENDING:
            coming.add(entry.device.instance or instance_uuid(entry.id))
        elif answer.state is State.PREPARED and answer.instance in seen and _is_closed(sight, answer.instance):
            owner = entry.owner
            whose = f"{owner.kind} {owner.namespace}/{owner.name}" if owner.namespace else f"{owner.kind} {owner.name}"
            armed.append(Armed(instance=answer.instance, owner=whose))
    idle = [
        key
        for key, instance in seen.items()
        if key in made
        and key not in held
        and sight.use(key).state is InUse.NO
        and _reads_as_new(observation, instance, made[key])
    ]
    rooms = {
        Room(parent=p.name, type=o.type, backend=str(o.profile.get("backend", "")), available=o.available)
        for p in observation.parents
        for o in p.offers
        if o.type in types and o.available
    }
    return Stock(
        armed=tuple(sorted(armed, key=lambda a: a.instance)),
        coming=len(coming & seen.keys()),
        idle=tuple(sorted(idle)),
        rooms=tuple(sorted(rooms, key=lambda room: (-room.available, room.parent, room.type))),
    )


def choose(resource: str, stock: Stock) -> Choice:
    """The device for the pod that asks now. RefusedError."""
    if len(stock.armed) > 1:
        whose = " and ".join(f"{armed.instance} for {armed.owner}" for armed in stock.armed)
        raise RefusedError(
            "FAILED_PRECONDITION",
            f"{len(stock.armed)} devices of {resource} are prepared here and wait for their pods ({whose}), and the "
            "kubelet does not say which pod asks: try again when one of them has its pod",
        )
    if stock.armed:
        return Existing(instance=stock.armed[0].instance)
    if stock.idle:
        return Existing(instance=stock.idle[0])
    if stock.rooms:
        return Make(rooms=stock.rooms)
    raise RefusedError("RESOURCE_EXHAUSTED", f"no device of {resource} can be made here any more, and none is idle")


def environment(resource: str, instances: Sequence[Instance]) -> dict[str, str]:
    """What KubeVirt's virt-launcher reads: the UUIDs of its devices, by resource."""
    name = resource.upper().replace("/", "_").replace(".", "_")
    return {f"MDEV_PCI_RESOURCE_{name}": ",".join(instance.id for instance in instances)}


def device_files(instances: Sequence[Instance]) -> tuple[str, ...]:
    """The files that the container may open. RefusedError: an instance has no VFIO group."""
    files = [f"{VFIO}/vfio"]
    for instance in instances:
        if instance.vfio_group is None:
            what = f"device {instance.id} on {instance.parent} has no VFIO group: is the kernel's vfio_mdev loaded?"
            raise RefusedError("INTERNAL", what)
        files.append(f"{VFIO}/{instance.vfio_group}")
    return tuple(dict.fromkeys(files))


def preferred(available: Sequence[str], must: Sequence[str], size: int, bound: Collection[str]) -> tuple[str, ...]:
    """Which slots the kubelet had better take: those that were never behind a device before those that still are."""
    rest = sorted((slot for slot in available if slot not in must), key=lambda slot: slot in bound)
    return tuple(dict.fromkeys((*must, *rest)))[:size]


def _is_closed(sight: Sight, instance: str) -> bool:
    return sight.use(instance).state is not InUse.YES


def _reads_as_new(observation: Observation, instance: Instance, made: Made) -> bool:
    """Nothing of what an earlier VM's device was set to is left: every published value is the initial one.

    Where the driver publishes nothing, only a device that Allocate made itself: nobody has ever written to it.
    """
    offer = observation.offer_of(instance)
    if offer is None:
        return False
    published = offer.profile.get("published")
    if published is None:
        return made.reservation.startswith(KEY_PREFIX)
    return all(instance.values.get(p["name"]) == p.get("initValue") for p in published.get("parameters", ()))
