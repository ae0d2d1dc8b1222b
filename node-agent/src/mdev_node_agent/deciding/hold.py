"""Intent Hold: prepare the device, then keep it.

Everything that the entry names is checked against what this node shows before anything is touched. Then: make the
instance, and have it read as the entry wants it (:mod:`mdev_node_agent.deciding.configuring`). For role Source, whose
values are an adjustment of the running device, the answer also carries the digest of the reading, kept current while
the entry stands.
"""

from __future__ import annotations

from mdev_api.engine.metadata import ValueType, WriteStrategy
from mdev_api.hashing import reading_digest
from mdev_api.kinds.node_reservations import DesiredValue, Entry, Failure, FailureReason, Role, State
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_api.values import ValueFault, from_text
from mdev_node_agent.deciding.configuring import next_change
from mdev_node_agent.deciding.making import another_in_its_place, make
from mdev_node_agent.deciding.standing import fits, planned_instance, standing
from mdev_node_agent.deciding.steps import Look, Settle, Situation, Step, answer_of, fail, failure
from mdev_node_agent.kubelet.foreign import taken_by
from mdev_node_agent.memory.record import Making, Record
from mdev_node_agent.metadata.published import VALUES
from mdev_node_agent.publishing.inventory import instance_view, profile_of
from mdev_node_agent.seeing.in_use import InUse
from mdev_node_agent.seeing.observation import Instance, Offer


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
    return next_change(situation, record, instance) or _prepared(situation, record, instance)


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
        return Settle(answer=answer.model_copy(update={"state": State.LOST}), ended=True)
    other = another_in_its_place(situation, instance)
    if other is not None:
        return Settle(answer=answer.model_copy(update={"state": State.LOST, "failure": other}), ended=True)
    foreign = taken_by(situation.entry, instance, situation.sight.service)
    if foreign is not None:
        what = f"pod {foreign.namespace}/{foreign.name}, which is not the one it was prepared for, has got {instance}"
        lost = failure(FailureReason.CONFLICT, what)
        return Settle(answer=answer.model_copy(update={"state": State.LOST, "failure": lost}), ended=True)
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
    if entry.role is Role.SOURCE and entry.write_strategy is not WriteStrategy.DIRECT:
        what = f"writeStrategy {entry.write_strategy}: nothing is switched off on a source, whose VM runs; use Direct"
        return failure(FailureReason.INVALID, what)
    for value in entry.values:
        for text in (value.value, value.off_value):
            if text is not None and (fault := _value_fault(value, text)):
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
    if failed is not None:
        return failed
    if situation.entry.role is Role.SOURCE:
        return _not_at_run_time(situation.entry, offer)
    if record is not None:
        return None
    if situation.sight.use(instance.id).state is InUse.YES:
        what = f"device {instance.id} is in use: it cannot be prepared for somebody else"
        return failure(FailureReason.CONFLICT, what)
    return None


def _not_at_run_time(entry: Entry, offer: Offer) -> Failure | None:
    """A driver that says itself that a value may not be changed while a VM runs is believed; else its errno counts."""
    published = (offer.profile.get("published") or {}).get("parameters", ())
    fixed = {parameter["name"] for parameter in published if parameter.get("runtimeWritable") is False}
    for value in entry.values:
        if value.name in fixed:
            what = f"the driver says that {value.name} cannot be changed while a VM uses the device"
            return failure(FailureReason.INVALID, what, step=StepName.WRITE, parameter=value.name)
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


def _value_fault(value: DesiredValue, text: str) -> str | None:
    try:
        canonical = from_text(ValueType(value.type), text)
    except ValueFault as fault:
        return f"the value of {value.name}: {fault}"
    return None if canonical == text else f"the value of {value.name} is not canonical: {canonical!r} is"
