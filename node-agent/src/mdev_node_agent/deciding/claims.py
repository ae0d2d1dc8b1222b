"""What reservations lay claim to: instances that they name, and room among a resource's free devices. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import FINAL_STATES, Entry, EntryAnswer, Intent, State
from mdev_node_agent.kubelet.serving import Service
from mdev_node_agent.memory.ledger import Made
from mdev_node_agent.memory.record import Record
from mdev_node_agent.seeing.observation import Observation


def waiting_slots(
    resource: str, others: Iterable[Entry], answers: Mapping[str, EntryAnswer], picked: Collection[str]
) -> int:
    """How many of ``others`` hold a device of the resource for a pod that has none yet (not in ``picked``, by id)."""
    return sum(
        entry.device.slot is not None
        and entry.device.slot.resource == resource
        and entry.intent is Intent.HOLD
        and entry.id not in picked
        and (answer := answers.get(entry.id)) is not None
        and answer.state is State.PREPARED
        and answer.instance is None
        for entry in others
    )


def elsewhere(
    others: Iterable[Entry], answers: Mapping[str, EntryAnswer], records: Mapping[str, Record]
) -> frozenset[str]:
    """The instances that ``others`` are about and that no answer has let go."""
    instances: set[str | None] = set()
    for entry in others:
        answer, record = answers.get(entry.id), records.get(entry.id)
        if answer is not None and answer.state in FINAL_STATES:
            continue
        instances |= {entry.device.instance, answer.instance if answer else None, record.instance if record else None}
        if entry.device.create is not None:
            instances.add(instance_uuid(entry.id))
    return frozenset(instance for instance in instances if instance is not None)


def owned(made: Mapping[str, Made], observation: Observation) -> frozenset[str]:
    """The instances of the ledger that are ours as far as anybody can see.

    Of a place that is not so while it is merely claimed, nor once something else than what we made is there.
    """
    ours = set()
    for key, entry in made.items():
        seen = observation.instance(key)
        same = seen is None or not entry.type or (seen.parent, seen.type) == (entry.parent, entry.type)
        if entry.made and same:
            ours.add(key)
    return frozenset(ours)


def taken_places(
    entry: str,
    others: Iterable[Entry],
    answers: Mapping[str, EntryAnswer],
    records: Mapping[str, Record],
    made: Mapping[str, Made],
) -> frozenset[str]:
    """Places that ``entry`` must not take: what the other entries are about, and what was claimed or made for anybody
    else, whether or not an entry still names it.
    """
    ledger = {key for key, listed in made.items() if listed.reservation != entry}
    begun = {record.instance for key, record in records.items() if key != entry}
    return elsewhere(others, answers, records) | ledger | begun


def claimed(
    entries: Iterable[Entry], answers: Mapping[str, EntryAnswer], picked: Iterable[str], service: Service
) -> frozenset[str]:
    """Every instance that some entry is about, or may be about soon: the kubelet picks any free one for a slot."""
    standing = tuple(entries)
    instances = {entry.device.instance for entry in standing} | {instance_uuid(entry.id) for entry in standing}
    instances |= {answers[entry.id].instance for entry in standing if entry.id in answers}
    resources = {entry.device.slot.resource for entry in standing if entry.device.slot is not None}
    free = {instance for slots in service.slots if slots.resource in resources for instance in slots.instances}
    return frozenset(instance for instance in (*instances, *picked, *free) if instance is not None)
