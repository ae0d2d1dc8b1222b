"""What was done for a reservation, by whatever still knows it.

The journal is the first witness. If it was lost, our own status of the same boot is the second, and a device whose UUID
is derived from the reservation's id and that is what the reservation asked for is the third. What none of them proves
was not done by us.

A place (a VF) has no third witness: its address says nothing about who configured it. And where the driver was asked
and its answer is not known, a device in use is not ours: nobody was ever told of it.
"""

from __future__ import annotations

from dataclasses import replace

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.common import dump
from mdev_node_agent.deciding.steps import Situation
from mdev_node_agent.memory.record import Making, Record, Written
from mdev_node_agent.seeing.in_use import InUse


def standing(situation: Situation) -> Record | None:
    """The record of the journal, or what the other witnesses say; None: nothing was done.

    A device that is not what the entry asks for was not made by us, whatever its UUID.
    """
    if situation.record is not None:
        return _less_misfit(situation, situation.record)
    entry, answer = situation.entry, situation.answer
    instance = planned_instance(situation)
    if instance is None:
        return None
    made = instance == instance_uuid(entry.id) and fits(situation, instance)
    if answer is not None and answer.instance == instance and answer.created:
        made = True
    if answer is not None and answer.writes:
        writes = tuple(
            Written(name=w.name, type=str(w.type), attribute=w.attribute, before=w.from_value, after=w.to, done=True)
            for w in answer.writes
        )
    else:
        writes = ()
    if not made and not writes:
        return None
    record = Record(
        instance=instance,
        backend=backend_of(situation, instance),
        making=Making.DONE if made else Making.NONE,
        writes=writes,
        failure=dump(answer.failure) if answer is not None and answer.failure is not None else None,
    )
    return _less_misfit(situation, record)


def _less_misfit(situation: Situation, record: Record) -> Record:
    seen = situation.sight.observation.instance(record.instance) is not None
    if situation.entry.device.create is None or not seen:
        return record
    if not fits(situation, record.instance) or _is_somebody_elses(situation, record):
        return replace(record, making=Making.NONE, writes=())
    return record


def _is_somebody_elses(situation: Situation, record: Record) -> bool:
    """A place that was being taken when the agent ended, and that somebody else was faster to take."""
    begun = record.making is Making.BEGUN and not situation.busy
    return begun and is_place(situation, record) and situation.sight.use(record.instance).state is InUse.YES


def is_place(situation: Situation, record: Record) -> bool:
    """Is the new device one of those that are there (a VF), and not one by an id of its own (an mdev)?"""
    return situation.entry.device.create is not None and record.instance != instance_uuid(situation.entry.id)


def planned_instance(situation: Situation) -> str | None:
    """The device that the entry is about: named by it, derived from its id, or the place or slot's device that it has.

    None for a slot that is not bound, and for a new device whose place is not chosen yet.
    """
    device = situation.entry.device
    if device.instance is not None:
        return device.instance
    if situation.record is not None:
        return situation.record.instance
    if situation.answer is not None and situation.answer.instance is not None:
        return situation.answer.instance
    if device.create is None:
        return None
    offer = situation.sight.observation.offer(device.create.parent, device.create.type)
    return instance_uuid(situation.entry.id) if offer is None or offer.places is None else None


def fits(situation: Situation, instance: str) -> bool:
    """Is there a device of this id, of the type and on the parent that the entry asks for?"""
    create = situation.entry.device.create
    seen = situation.sight.observation.instance(instance)
    return create is not None and seen is not None and (seen.parent, seen.type) == (create.parent, create.type)


def backend_of(situation: Situation, instance: str) -> str:
    """Name of the back-end behind the device; empty if neither it nor its type was seen."""
    observation = situation.sight.observation
    seen, create = observation.instance(instance), situation.entry.device.create
    if seen is not None:
        offer = observation.offer(seen.parent, seen.type)
    elif create is not None:
        offer = observation.offer(create.parent, create.type)
    else:
        offer = None
    return "" if offer is None else str(offer.profile.get("backend", ""))
