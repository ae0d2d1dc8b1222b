"""Making a new device: under an id of its own (an mdev), or on one that is there (a VF). Pure.

An mdev's UUID is derived from the reservation's id: whatever bears it was made for that reservation. A VF's address is
used again and again, so here the claim is everything: the first place that nobody claims is chosen, journal and ledger
name it before the driver is asked, and what somebody else has configured there meanwhile is never taken on. Where the
agent ended while the driver was being asked, what reads as the type that was asked for is ours, unless it is in use.
"""

from __future__ import annotations

from dataclasses import replace

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import Create as Wanted
from mdev_api.kinds.node_reservations import Failure, FailureReason
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.deciding.standing import backend_of, fits
from mdev_node_agent.deciding.steps import Adopt, Create, Settle, Situation, Step, fail, failure
from mdev_node_agent.memory.record import Making, Record
from mdev_node_agent.publishing.inventory import profile_of
from mdev_node_agent.seeing.in_use import InUse
from mdev_node_agent.seeing.observation import Offer


def make(situation: Situation, record: Record | None) -> Step:
    """The next step towards the new device. ``record``: what stands (`mdev_node_agent.deciding.standing.standing`)."""
    create = situation.entry.device.create
    assert create is not None
    offers = situation.sight.observation.offers(create.parent, create.type)
    offer = next((offer for offer in offers if profile_of(offer).name == create.profile), None)
    assert offer is not None, "an entry is checked before it is carried out"
    own_id = instance_uuid(situation.entry.id)
    instance = own_id if record is None else record.instance
    ours = instance == own_id or (record is not None and record.making is not Making.NONE)
    if ours and fits(situation, instance):
        taken_on = record or Record(instance=instance, backend=backend_of(situation, instance))
        return Adopt(record=replace(taken_on, making=Making.DONE), parent=create.parent, type=create.type)
    if offer.places is not None:
        return _on_a_place(situation, create, offer, record)
    if situation.attempt.collided or situation.sight.observation.instance(own_id) is not None:
        what = f"a device {own_id} exists already and is not a {create.type} on {create.parent}"
        return fail(situation, record, failure(FailureReason.CONFLICT, what, step=StepName.CREATE, errno="EEXIST"))
    backend = backend_of(situation, own_id)
    return Create(instance=own_id, backend=backend, parent=create.parent, type=create.type)


def another_in_its_place(situation: Situation, instance: str) -> Failure | None:
    """Why the device that was made is not ours any more: somebody has made another one at the same address."""
    create, seen = situation.entry.device.create, situation.sight.observation.instance(instance)
    if create is None or seen is None or fits(situation, instance):
        return None
    what = f"{instance} is a {seen.type} on {seen.parent} by now: somebody else has changed it"
    return failure(FailureReason.CONFLICT, what)


def _on_a_place(situation: Situation, create: Wanted, offer: Offer, record: Record | None) -> Create | Settle:
    places = offer.places or ()
    if record is not None and record.making is Making.BEGUN and record.instance not in places:
        sight = situation.sight
        if sight.observation.instance(record.instance) is None and not sight.is_gone(record.instance):
            what = f"{record.instance} was being made when the agent ended, and cannot be seen now"
            return fail(situation, record, failure(FailureReason.CONFLICT, what, step=StepName.CREATE))
    free = [place for place in places if _is_free(situation, offer, place)]
    if not free:
        what = _why_none(situation, create, offer)
        return fail(situation, record, failure(FailureReason.NO_CAPACITY, what, step=StepName.CREATE))
    place = record.instance if record is not None and record.instance in free else free[0]
    backend = str(offer.profile.get("backend", ""))
    return Create(instance=place, backend=backend, parent=create.parent, type=create.type, place=True)


def _is_free(situation: Situation, offer: Offer, place: str) -> bool:
    if place in situation.elsewhere or place in situation.attempt.lost:
        return False
    return not offer.lasting or situation.sight.use(place).state is InUse.NO


def _why_none(situation: Situation, create: Wanted, offer: Offer) -> str:
    places = offer.places or ()
    taken = sum(place in situation.elsewhere for place in places)
    states = [situation.sight.use(place).state for place in places if offer.lasting]
    used, unknown = states.count(InUse.YES), states.count(InUse.UNKNOWN)
    return (
        f"no function of {create.parent} is free for {create.type}: of {len(places)} that could become one, {taken} "
        f"are claimed, {used} are in use, of {unknown} that is not known, and {len(situation.attempt.lost)} were taken "
        "by somebody else just now"
    )
