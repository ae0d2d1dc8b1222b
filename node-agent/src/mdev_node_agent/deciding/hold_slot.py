"""Intent Hold of a slot (binding Late): keep room for one device of a resource, whichever the kubelet picks.

While nothing is picked, nothing is touched: the kubelet takes any free device of the resource, so every one of them
must have the entry's profile, and Prepared means that one is free beyond what other slots hold. Room is a promise
among reservations only: a pod without one can still take the device, and then the hook fails.

When KubeVirt's hook says which device was picked, that one is checked again, bound to the entry (journal first) and
written like any other. Only here a device that somebody else made is written: the kubelet has just given it to the pod
that the entry is for, and nobody has opened it yet.
"""

from __future__ import annotations

from mdev_api.kinds.node_reservations import Failure, FailureReason, State
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.deciding.hold import configure, earlier_failure, impossible, keep, other_profile, unknown_attribute
from mdev_node_agent.deciding.standing import backend_of, standing
from mdev_node_agent.deciding.steps import Bind, Look, Settle, Situation, Step, Write, answer_of, fail, failure
from mdev_node_agent.kubelet.serving import FreeSlots
from mdev_node_agent.memory.record import Record
from mdev_node_agent.seeing.in_use import InUse, Source


def hold_slot(situation: Situation) -> Step:
    """The next step towards Prepared without an instance, or, once one is picked, with it."""
    answer = situation.answer
    if answer is not None and answer.state is State.FAILED:
        return Settle(answer=answer)
    record = standing(situation)
    picked = situation.picked if record is None else record.instance
    if answer is not None and answer.state is State.PREPARED and (answer.instance is not None or picked is None):
        return keep(situation)
    failed = earlier_failure(situation, record)
    if failed is not None:
        return fail(situation, record, failed)
    service = situation.sight.service
    if picked is None and service.asked and not service.current:
        # No look of ours would help: the poll looks when the kubelet answers again.
        return Settle(answer=answer_of(situation, State.PENDING, record=None))
    if not situation.attempt.fresh:
        return Look()
    return _reserve(situation) if picked is None else _bind(situation, record, picked)


def _reserve(situation: Situation) -> Settle:
    failed = impossible(situation.entry)
    if failed is not None:
        return fail(situation, None, failed)
    service, resource = situation.sight.service, _resource(situation)
    if not service.asked:
        what = f"this agent does not ask the kubelet, so it cannot hold a device of {resource}: set --kubelet-dir"
        return fail(situation, None, failure(FailureReason.INVALID, what))
    slots = service.slots_of(resource)
    if slots is None:
        what = f"no device plugin of this node offers devices of this node as {resource}"
        return fail(situation, None, failure(FailureReason.NO_CAPACITY, what))
    failed = _no_room(situation, slots) or _unfit(situation, slots)
    if failed is not None:
        return fail(situation, None, failed)
    return Settle(answer=answer_of(situation, State.PREPARED, record=None))


def _no_room(situation: Situation, slots: FreeSlots) -> Failure | None:
    free = [instance for instance in slots.instances if instance not in situation.elsewhere]
    if len(free) > situation.waiting_slots:
        return None
    what = (
        f"of {slots.resource} no device is left: {len(slots.instances)} free, of which "
        f"{len(slots.instances) - len(free)} are reserved by name, and {situation.waiting_slots} other slots are held"
    )
    return failure(FailureReason.NO_CAPACITY, what)


def _unfit(situation: Situation, slots: FreeSlots) -> Failure | None:
    """The kubelet picks any free device, so one that does not fit spoils all."""
    if slots.types:
        what = f"{slots.resource} is served by this agent's own device plugin: reserve a device (binding Early)"
        return failure(FailureReason.INVALID, what)
    if slots.unknown:
        what = f"the kubelet may pick device {slots.unknown[0]} of {slots.resource}, which is none that this node shows"
        return failure(FailureReason.INVALID, what)
    faults = (_misfit(situation, instance) for instance in slots.instances)
    return next((fault for fault in faults if fault is not None), None)


def _bind(situation: Situation, record: Record | None, picked: str) -> Step:
    failed = impossible(situation.entry) or _misfit(situation, picked)
    if failed is None and picked in situation.elsewhere:
        what = f"device {picked}, which the kubelet has picked, is reserved for another migration"
        failed = failure(FailureReason.CONFLICT, what)
    if failed is not None:
        return fail(situation, record, failed)
    if record is None:
        return Bind(record=Record(instance=picked, backend=backend_of(situation, picked)))
    step = configure(situation, record, picked)
    use = situation.sight.use(picked)
    if isinstance(step, Write) and use.state is InUse.YES and use.source is not Source.POD_RESOURCES:
        what = f"{step.value.attribute} of {picked} would have to be written, and a program has the device open already"
        return fail(
            situation,
            record,
            failure(FailureReason.CONFLICT, what, step=StepName.WRITE, parameter=step.value.name),
        )
    return step


def _misfit(situation: Situation, instance: str) -> Failure | None:
    """Why this device cannot be what the entry stands for."""
    observation, profile = situation.sight.observation, situation.entry.device.profile
    seen = observation.instance(instance)
    offer = None if seen is None else observation.offer_of(seen)
    if seen is None or offer is None or profile is None:
        what = f"device {instance} of {_resource(situation)} is none that this node shows with its type"
        return failure(FailureReason.CONFLICT, what)
    return other_profile(offer, profile, instance) or unknown_attribute(situation, offer, seen)


def _resource(situation: Situation) -> str:
    slot = situation.entry.device.slot
    assert slot is not None
    return slot.resource
