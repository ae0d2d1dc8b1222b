"""Intent Hold: prepare the device, then keep it.

Everything that the entry names is checked against what this node shows before anything is touched. Then: make the
instance, read its parameters, write those that differ (each once, in the entry's order), read all back after each
write. For role Source the answer also carries the digest of the reading, kept current while the entry stands.
"""

from __future__ import annotations

from mdev_api.engine.metadata import ValueType, WriteStrategy
from mdev_api.hashing import reading_digest
from mdev_api.kinds.node_reservations import DesiredValue, Entry, Failure, FailureReason, Role, State
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_api.values import ValueFault, from_text
from mdev_node_agent.in_use import InUse
from mdev_node_agent.inventory import instance_view, profile_of
from mdev_node_agent.kubelet.foreign import taken_by
from mdev_node_agent.making import another_in_its_place, make
from mdev_node_agent.observation import Instance, Offer
from mdev_node_agent.published import VALUES
from mdev_node_agent.record import Making, Record
from mdev_node_agent.standing import backend_of, fits, planned_instance, standing
from mdev_node_agent.steps import Look, Read, Settle, Situation, Step, Write, answer_of, fail, failure


def hold(situation: Situation) -> Step:
    """The next step towards Prepared or Failed, or what keeps an answer current."""
    answer = situation.answer
    if answer is not None and answer.state is State.FAILED:
        return Settle(answer=answer)
    if answer is not None and answer.state is State.PREPARED:
        return keep(situation)
    record = standing(situation)
    failed = earlier_failure(situation, record)
    if failed is not None:
        return fail(situation, record, failed)
    if not situation.attempt.fresh:
        return Look()
    failed = _invalid(situation, record)
    if failed is not None:
        return fail(situation, record, failed)
    begun = situation.record
    if situation.entry.device.create is not None and (begun is None or begun.making is not Making.DONE):
        return make(situation, record)
    instance = planned_instance(situation)
    assert instance is not None
    return configure(situation, record, instance)


def earlier_failure(situation: Situation, record: Record | None) -> Failure | None:
    """What stopped the preparation before."""
    if record is not None and record.failure is not None:
        return Failure.model_validate(record.failure)
    return situation.attempt.failure


def configure(situation: Situation, record: Record | None, instance: str) -> Step:
    """Read, write what differs, read back, until the instance reads as the entry wants it: Prepared."""
    entry, readings = situation.entry, situation.attempt.readings
    seen = situation.sight.observation.instance(instance)
    if seen is None:
        what = f"device {instance} is not there any more"
        return fail(situation, record, failure(FailureReason.CONFLICT, what, step=StepName.READ_BACK))
    backend = backend_of(situation, instance)
    if readings is None and entry.values:
        files = tuple((v.name, str(v.type), v.attribute) for v in entry.values)
        return Read(instance=instance, backend=backend, files=files)
    for value in entry.values:
        reading = (readings or {})[value.name]
        if reading.value is None:
            failed = failure(
                FailureReason.REFUSED,
                f"{value.attribute} of {instance} cannot be read: {reading.message}",
                step=StepName.READ_BACK,
                parameter=value.name,
                errno=reading.errno,
            )
            return fail(situation, record, failed)
        if reading.value == value.value:
            continue
        earlier = None if record is None else record.write_of(value.name)
        if earlier is not None and earlier.done:
            what = f"{value.attribute} of {instance} was set to {value.value!r} and reads {reading.value!r}"
            failed = failure(FailureReason.READBACK_MISMATCH, what, step=StepName.READ_BACK, parameter=value.name)
            return fail(situation, record, failed)
        foreign = _not_ours_to_write(situation, record, value)
        if foreign is not None:
            return fail(situation, record, foreign)
        # The value before our first try: a crash may have left ours behind in between.
        before = reading.value if earlier is None else earlier.before
        begun = record or Record(instance=instance, backend=backend)
        return Write(record=begun, parent=seen.parent, value=value, before=before)
    return _prepared(situation, record, instance)


def _prepared(situation: Situation, record: Record | None, instance: str) -> Settle:
    digest = digest_of(situation, instance) if situation.entry.role is Role.SOURCE else None
    return Settle(answer=answer_of(situation, State.PREPARED, record=record, instance=instance, digest=digest))


def keep(situation: Situation) -> Step:
    """Prepared: tell when the device is gone or a foreign pod's, and for a source what it reads now."""
    answer = situation.answer
    assert answer is not None
    instance = answer.instance
    if instance is None:
        return Settle(answer=answer)
    if situation.sight.is_gone(instance) and not situation.busy:
        if not situation.attempt.fresh:
            return Look()
        return Settle(answer=answer.model_copy(update={"state": State.LOST}))
    other = another_in_its_place(situation, instance)
    if other is not None:
        return Settle(answer=answer.model_copy(update={"state": State.LOST, "failure": other}))
    foreign = taken_by(situation.entry, instance, situation.sight.service)
    if foreign is not None:
        what = f"pod {foreign.namespace}/{foreign.name}, which is not the one it was prepared for, has got {instance}"
        lost = failure(FailureReason.CONFLICT, what)
        return Settle(answer=answer.model_copy(update={"state": State.LOST, "failure": lost}))
    if situation.entry.role is Role.SOURCE and situation.sight.observation.instance(instance) is not None:
        return Settle(answer=answer.model_copy(update={"digest": digest_of(situation, instance)}))
    return Settle(answer=answer)


def digest_of(situation: Situation, instance: str) -> str | None:
    """What the device reads now, as one digest (:func:`mdev_api.hashing.reading_digest`)."""
    seen = situation.sight.observation.instance(instance)
    view = None if seen is None else instance_view(situation.sight, seen)
    if view is None:
        return None
    return reading_digest(
        boot_id=situation.sight.observation.boot_id,
        instance=view.id,
        profile=view.profile,
        values=view.values,
        attributes=view.attributes,
        unreadable=[parameter.name for parameter in view.unreadable],
    )


def _invalid(situation: Situation, record: Record | None) -> Failure | None:
    """Why the entry cannot be carried out on this node; every name in it is checked against what was seen here."""
    entry = situation.entry
    failed = impossible(entry)
    if failed is not None:
        return failed
    create = entry.device.create
    if create is not None:
        offers = situation.sight.observation.offers(create.parent, create.type)
        if not offers:
            what = f"this node shows no type {create.type!r} on a parent {create.parent!r}"
            return failure(FailureReason.INVALID, what)
        offer = next((o for o in offers if profile_of(o).name == create.profile), offers[0])
        return (
            other_profile(offer, create.profile, create.type)
            or unknown_attribute(situation, offer)
            or _made_otherwise(situation, create.profile)
        )
    return _existing_invalid(situation, record)


def impossible(entry: Entry) -> Failure | None:
    """What no node could carry out."""
    if entry.write_strategy is not WriteStrategy.DIRECT:
        return failure(FailureReason.INVALID, f"writeStrategy {entry.write_strategy} is not supported in this release")
    for value in entry.values:
        if fault := _value_fault(value):
            return failure(FailureReason.INVALID, fault, parameter=value.name)
    return None


def _made_otherwise(situation: Situation, expected: str) -> Failure | None:
    """Why the device that was made is not of the model that the entry asks for: of several, the driver picks one."""
    observation = situation.sight.observation
    instance = planned_instance(situation)
    seen = None if instance is None else observation.instance(instance)
    if seen is None or not fits(situation, seen.id):
        return None
    offer = observation.offer_of(seen)
    if offer is not None:
        return other_profile(offer, expected, seen.id)
    what = f"device {seen.id} of type {seen.type} does not say which of the type's models it is"
    return failure(FailureReason.PROFILE_CHANGED, what)


def _existing_invalid(situation: Situation, record: Record | None) -> Failure | None:
    device = situation.entry.device
    assert device.instance is not None
    instance = situation.sight.observation.instance(device.instance)
    if instance is None:
        return failure(FailureReason.INVALID, f"this node shows no device {device.instance!r}")
    offer = situation.sight.observation.offer_of(instance)
    if offer is None or device.profile is None:
        what = f"device {instance.id} has no type {instance.type!r} on {instance.parent!r} that this node shows"
        return failure(FailureReason.PROFILE_CHANGED, what)
    failed = other_profile(offer, device.profile, instance.id) or unknown_attribute(situation, offer, instance)
    if failed is not None or situation.entry.role is Role.SOURCE or record is not None:
        return failed
    if situation.sight.use(instance.id).state is InUse.YES:
        what = f"device {instance.id} is in use: it cannot be prepared for somebody else"
        return failure(FailureReason.CONFLICT, what)
    return None


def other_profile(offer: Offer, expected: str, what: str) -> Failure | None:
    """ProfileChanged unless the offer has the profile that is expected; ``what`` is about whom."""
    profile = profile_of(offer)
    if profile.name == expected:
        return None
    now = profile.name or profile.fault
    message = f"{what} has another profile by now: {now}, not {expected}"
    return failure(FailureReason.PROFILE_CHANGED, message)


def unknown_attribute(situation: Situation, offer: Offer, instance: Instance | None = None) -> Failure | None:
    """Only the files that discovery lists for this very device may be named."""
    published = offer.profile.get("published")
    if published is not None:
        known = {f"{VALUES}/{parameter['name']}" for parameter in published.get("parameters", ())}
    else:
        instance = instance or situation.sight.observation.instance(planned_instance(situation) or "")
        if instance is None:
            return None
        known = set(instance.attributes)
    for value in situation.entry.values:
        if value.attribute not in known:
            what = f"{value.attribute!r} is no parameter file that this node shows for the device"
            return failure(FailureReason.INVALID, what, parameter=value.name)
    return None


def _value_fault(value: DesiredValue) -> str | None:
    try:
        canonical = from_text(ValueType(value.type), value.value)
    except ValueFault as fault:
        return f"the value of {value.name}: {fault}"
    return None if canonical == value.value else f"the value of {value.name} is not canonical: {canonical!r} is"


def _not_ours_to_write(situation: Situation, record: Record | None, value: DesiredValue) -> Failure | None:
    """A device that somebody else made is never written, but for an agreed adjustment of a source and a slot.

    The kubelet has given a slot's device to the pod that the entry is for: nobody else's VM can be in it.
    """
    made = record is not None and record.making is Making.DONE
    if made or situation.listed or situation.entry.role is Role.SOURCE or situation.entry.device.slot is not None:
        return None
    what = f"{value.attribute} would have to be {value.value!r}, and this agent has not made the device: not written"
    return failure(FailureReason.INVALID, what, step=StepName.WRITE, parameter=value.name)
