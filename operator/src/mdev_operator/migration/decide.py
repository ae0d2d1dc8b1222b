"""What next for one migration, and why: a pure decision from the objects alone.

Nothing is remembered between decisions. Which attempt is under way is read from the entries that name the migration,
which were tried before from ``status.attempts``, since when something holds from the conditions. So a restart, another
leader, or a write whose answer was lost all come down to deciding again.
"""

from __future__ import annotations

from dataclasses import replace

from mdev_api.engine.compatibility_class import class_of
from mdev_api.engine.metadata import Verdict
from mdev_api.engine.openings import Candidate
from mdev_api.engine.verdict import compare
from mdev_api.kinds.device_migration import Attempt, DeviceMigration, DeviceMigrationStatus, MappedDevice, Mode
from mdev_api.kinds.node_reservations import FailureReason, Intent, State
from mdev_operator.cluster import Held, instance_of
from mdev_operator.kubevirt.foreign import taken_by, waits_for_pod
from mdev_operator.kubevirt.pod_fit import PodConstraints, misfit
from mdev_operator.migration import entries, letting_go
from mdev_operator.migration.decision import Decision, Reserve, Situation, Tell
from mdev_operator.migration.planning import how_bound, plan
from mdev_operator.migration.source import NoSource, SourceDevice, read_source
from mdev_operator.migration.status import condition_of, is_true, no_destination, shorten, since
from mdev_operator.openings import MOST_RESERVATIONS

LOOK_AGAIN = 30.0
"""Seconds after which silence alone may change a decision."""

MOST_ATTEMPTS = 64


def decide(s: Situation) -> Decision:
    """The next step of this migration."""
    spec, status = s.migration.spec, s.migration.status
    if is_true(status.conditions, "Finished"):
        return letting_go.finished(s)
    if spec.mode is Mode.PREPARE and spec.outcome is not None:
        return letting_go.after_outcome(s, spec.outcome)
    if s.migration.metadata.deletion_timestamp is not None:
        return letting_go.deleted(s)
    if spec.mode is Mode.PLAN:
        return _plan_only(s)
    if is_true(status.conditions, "Ready"):
        return _while_ready(s)
    return _until_ready(s)


def looks_for_destination(migration: DeviceMigration) -> bool:
    """Whether :func:`decide` will look at the source and for a place, so that both must be looked up."""
    spec, conditions = migration.spec, migration.status.conditions
    if is_true(conditions, "Finished") or migration.metadata.deletion_timestamp is not None:
        return False
    if spec.mode is Mode.PLAN:
        return True
    return spec.outcome is None and not is_true(conditions, "Ready")


def _source_of(s: Situation) -> SourceDevice | NoSource:
    """What is to move; nothing moves for a pod that is gone."""
    if isinstance(s.pod, NoSource):
        return s.pod
    return read_source(s.migration, s.cluster, s.vm)


def _plan_only(s: Situation) -> Decision:
    source = _source_of(s)
    if isinstance(source, NoSource):
        return Decision(status=_not_planned(s, source), finalizer=False, follow=True, look_again=LOOK_AGAIN)
    return Decision(status=plan(s, source).status, finalizer=False, follow=True, look_again=LOOK_AGAIN)


def _while_ready(s: Situation) -> Decision:
    spec, status = s.migration.spec, s.migration.status
    current = _current(s)
    left = spec.prepared_ttl_seconds - _seconds_since(s, "Ready")
    if not spec.started and left <= 0:
        # First of all: once this was told, no entry is held any more, and that is no loss.
        return letting_go.expired(s)
    lost = _why_lost(s, current)
    if current is None or lost is not None:
        return _lost_after_ready(s, current, lost or "its reservation was removed")
    status = _with_picked(s, current)
    follow = waits_for_pod(s.migration)
    if spec.started:
        if left > 0:
            return Decision(status=status, look_again=left, follow=follow)
        message = (
            f"started, and no outcome told within {spec.prepared_ttl_seconds} s after Ready; "
            "the devices are held until spec.outcome is set"
        )
        return Decision(status=s.with_condition(status, "Overdue", True, "OutcomeNotTold", message))
    return Decision(status=status, look_again=left, follow=follow)


def _why_lost(s: Situation, current: Held | None) -> str | None:
    """Why the prepared device is not the migration's any more; None: it still is, or there is no reservation."""
    if current is None:
        return None
    if current.answer is not None and current.answer.state in (State.FAILED, State.LOST):
        return _said(current)
    instance, devices = instance_of(current), s.cluster.devices.get(current.node)
    pod = taken_by(s.migration, devices.status if devices is not None else None, instance)
    return f"pod {pod}, which is not the one it was prepared for, has got {instance}" if pod is not None else None


def _with_picked(s: Situation, current: Held) -> DeviceMigrationStatus:
    """The map names the device of a slot as soon as the agent has seen which one the kubelet picked."""
    status = s.migration.status
    if not status.devices or status.devices[0].instance is not None or instance_of(current) is None:
        return status
    before = status.devices[0]
    device = _mapped(s, current, before.name, before.source, before.device_class)
    return status if device is None else status.model_copy(update={"devices": (device,)})


def _lost_after_ready(s: Situation, current: Held | None, why: str) -> Decision:
    """The prepared device is gone. Before ``started`` another one is looked for; after it, only the outcome counts."""
    if s.migration.spec.started:
        message = f"the prepared device was lost after started: {why}; tell the outcome"
        return Decision(status=s.with_condition(s.migration.status, "Overdue", True, "DestinationLost", message))
    status = s.migration.status
    if current is not None:
        status = _with_attempt(status, current, State.LOST, why)
    status = s.with_condition(status, "Ready", False, "Lost", f"the prepared device was lost: {why}")
    status = status.model_copy(update={"node": None, "devices": ()})
    tells = () if current is None else (Tell(node=current.node, intents={current.entry.id: Intent.UNDO_IF_UNUSED}),)
    return Decision(status=status, tell=tells, follow=True)


def _until_ready(s: Situation) -> Decision:
    before = condition_of(s.migration.status.conditions, "Ready")
    left = s.migration.spec.deadline_seconds - _seconds_since(s, "Ready")
    if left <= 0:
        why = f"last: {before.reason}: {before.message}" if before is not None else "nothing was tried"
        return letting_go.too_late(s, why)
    decision = _prepare(s)
    # An agent that comes back renews its Lease and may have nothing else to write.
    again = min(left, decision.look_again or LOOK_AGAIN)
    return replace(decision, follow=True, look_again=max(again, 0.05))


def _prepare(s: Situation) -> Decision:
    source = _source_of(s)
    current = _current(s)
    if isinstance(source, NoSource):
        status = s.with_condition(_not_planned(s, source), "Ready", False, source.reason, source.message)
        # A silent agent may come back with the same device; any other fault means planning anew.
        tells = () if source.reason == "SourceStale" else letting_go.tell(s, lambda held: Intent.UNDO)
        return Decision(status=status, tell=tells, look_again=LOOK_AGAIN)
    moved = next((h for h in s.sources if h.entry.intent is Intent.HOLD and not _is_of(h, source)), None)
    if moved is not None:
        return _source_moved(s, source, moved)
    refused = next((h for h in s.sources if h.answer is not None and h.answer.state is State.FAILED), None)
    if refused is not None:
        return _source_refused(s, refused)
    if current is None:
        return _next_attempt(s, source)
    return _judge(s, source, current)


def _next_attempt(s: Situation, source: SourceDevice) -> Decision:
    planned = plan(s, source)
    status = planned.status
    if not planned.candidates:
        message = no_destination(status.rejected)
        return Decision(status=s.with_condition(status, "Ready", False, "NoDestination", message))
    if len(status.attempts) >= MOST_ATTEMPTS:
        message = f"{MOST_ATTEMPTS} destinations were tried and failed; see status.attempts"
        return Decision(status=s.with_condition(status, "Ready", False, "NoDestination", message))
    if _old_pin_stands(s, source):
        message = f"waiting for node {source.node} to end the reservation of an earlier attempt"
        return Decision(status=s.with_condition(status, "Ready", False, "Preparing", message), look_again=LOOK_AGAIN)
    if _no_room_for_pin(s, source):
        message = f"node {source.node} has {MOST_RESERVATIONS} reservations, the most that one node takes: cannot pin"
        return Decision(status=s.with_condition(status, "Ready", False, "SourceBusy", message), look_again=LOOK_AGAIN)
    best = planned.candidates[0]
    number = entries.next_number((a.number for a in status.attempts), s.held)
    message = f"attempt {number}: reserving {best.opening.type} on node {best.opening.node}"
    status = s.with_condition(status, "Ready", False, "Preparing", message)
    return Decision(status=status, reserve=_reserve(s, source, best, number), look_again=LOOK_AGAIN)


def _reserve(s: Situation, source: SourceDevice, best: Candidate, number: int) -> tuple[Reserve, ...]:
    """The source is pinned first: when that fails nothing else happens."""
    devices = s.cluster.devices[best.opening.node].status
    assert devices is not None and devices.boot_id is not None
    profile = s.cluster.profiles[best.opening.profile].profile
    there = entries.destination(s.migration, number, best, profile, devices.boot_id)
    to = Reserve(node=best.opening.node, entries=(there,))
    if source.node is None or any(h.entry.intent is Intent.HOLD for h in s.sources):
        return (to,)
    return Reserve(node=source.node, entries=(entries.source(s.migration, source, number),)), to


def _judge(s: Situation, source: SourceDevice, current: Held) -> Decision:
    """An attempt is under way: is it done, did it fail, or is there something to wait for?"""
    state = current.answer.state if current.answer is not None else State.PENDING
    if state in (State.FAILED, State.LOST, State.UNDONE, State.TAINTED):
        return _give_up(s, current, state, _said(current))
    silent = s.cluster.silent(current.node)
    if silent is not None:
        return _give_up(s, current, State.PENDING, silent)
    changed = _no_longer_right(s, source, current)
    if changed is not None:
        return _give_up(s, current, state, changed)
    if state is not State.PREPARED:
        message = f"attempt {entries.number_of(current.entry)}: waiting for node {current.node} to prepare the device"
        return _wait(s, "Preparing", message)
    if source.node is None:
        return _ready(s, source, current)
    return _confirm_source(s, source, current)


def _confirm_source(s: Situation, source: SourceDevice, current: Held) -> Decision:
    """Ready needs the source agent's fresh reading, and that it says what the plan was made from."""
    pin = next((h for h in s.sources if h.entry.intent is Intent.HOLD), None)
    if pin is None:
        if _old_pin_stands(s, source):
            return _wait(s, "Preparing", f"waiting for node {source.node} to end an earlier reservation")
        assert source.node is not None
        entry = entries.source(s.migration, source, entries.number_of(current.entry))
        decision = _wait(s, "Preparing", f"having device {source.instance} on node {source.node} read again")
        return replace(decision, reserve=(Reserve(node=source.node, entries=(entry,)),))
    if pin.answer is None or pin.answer.state is not State.PREPARED:
        reason = "SourceStale" if _seconds_since(s, "Planned") >= LOOK_AGAIN else "Preparing"
        return _wait(s, reason, f"waiting for the agent of node {source.node} to read device {source.instance} again")
    if pin.answer.digest != source.digest:
        message = (
            f"device {source.instance} was read again and had changed; waiting for node {source.node} to publish it"
        )
        return _wait(s, "SourceChanged", message)
    return _ready(s, source, current)


def _ready(s: Situation, source: SourceDevice, current: Held) -> Decision:
    device = _mapped(s, current, source.name, source.instance, class_of(source.source))
    if device is None:
        return _wait(s, "Preparing", f"waiting for node {current.node} to publish instance {instance_of(current)}")
    status = s.migration.status.model_copy(update={"node": current.node, "devices": (device,)})
    slot = current.entry.device.slot
    if slot is None:
        message = f"{device.type} {device.instance} on node {current.node} is prepared and was read back"
    else:
        message = f"a {device.type} of {slot.resource} on node {current.node} is held; {how_bound(s)}"
    return Decision(status=s.with_condition(status, "Ready", True, "Prepared", message))


def _mapped(
    s: Situation, current: Held, name: str, source: str | None, device_class: str | None
) -> MappedDevice | None:
    """The device of the map; without an instance for a slot that was not picked from yet. None: not known yet."""
    entry, answer, instance = current.entry, current.answer, instance_of(current)
    at = s.cluster.instance(current.node, instance) if instance is not None else None
    create = entry.device.create
    parent = create.parent if create else at.parent if at else None
    type_id = create.type if create else at.type if at else None
    if instance is None:
        view = s.cluster.profiles.get(entry.device.profile or "")
        kind = view.profile.spec.type if view is not None else None
        type_id = kind.id if kind is not None else None
    if type_id is None or (parent is None and instance is not None):
        return None
    writes = len(answer.writes) if answer is not None else 0
    return MappedDevice(
        name=name,
        source=source,
        device_class=device_class,
        parent=parent,
        type=type_id,
        instance=instance,
        writes=writes,
    )


def _give_up(s: Situation, current: Held, state: State, why: str) -> Decision:
    """Record the attempt, have it undone, and decide again (the next candidate)."""
    status = _with_attempt(s.migration.status, current, state, why)
    message = f"attempt {entries.number_of(current.entry)} on node {current.node} failed: {why}"
    status = s.with_condition(status, "Ready", False, "AttemptFailed", message)
    return Decision(status=status, tell=(Tell(node=current.node, intents={current.entry.id: Intent.UNDO}),))


def _source_refused(s: Situation, refused: Held) -> Decision:
    why = f"node {refused.node} cannot hold the source: {_said(refused)}"
    failure = refused.answer.failure if refused.answer is not None else None
    gone = failure is not None and failure.reason in (FailureReason.INVALID, FailureReason.NODE_REBOOTED)
    reason = "DeviceNotFound" if gone else "SourceStale"
    status = s.with_condition(s.migration.status, "Planned", False, reason, why)
    status = s.with_condition(status, "Ready", False, reason, why)
    return Decision(status=status, tell=letting_go.tell(s, lambda held: Intent.UNDO), look_again=LOOK_AGAIN)


def _is_of(pin: Held, source: SourceDevice) -> bool:
    return (pin.node, pin.entry.device.instance) == (source.node, source.instance)


def _source_moved(s: Situation, source: SourceDevice, pin: Held) -> Decision:
    """The VM has another device than the one that is pinned: it was moved or restarted meanwhile. Begin anew."""
    was = f"device {pin.entry.device.instance} of node {pin.node}"
    message = f"the VM now has device {source.instance} of node {source.node}, not {was}; planning anew"
    status = s.with_condition(s.migration.status, "Ready", False, "SourceChanged", message)
    return Decision(status=status, tell=letting_go.tell(s, lambda held: Intent.UNDO), look_again=LOOK_AGAIN)


def _not_planned(s: Situation, why: NoSource) -> DeviceMigrationStatus:
    status = s.migration.status.model_copy(update={"candidates": (), "rejected": ()})
    return s.with_condition(status, "Planned", False, why.reason, why.message)


def _no_longer_right(s: Situation, source: SourceDevice, current: Held) -> str | None:
    """Whether the source, the node, or what the destination's profile means, changed since the entry was written."""
    node = s.cluster.nodes.get(current.node)
    unfit = misfit(s.pod, node) if isinstance(s.pod, PodConstraints) and node is not None else None
    if unfit is not None:
        return unfit.message
    profile = s.cluster.profiles.get(entries.profile_of(current.entry) or "")
    if profile is None or profile.metadata is None:
        return None  # A dangling reference says nothing about the device; its agent answers for that.
    answer = compare(source.source, profile.metadata)
    if answer.verdict is not Verdict.COMPATIBLE:
        found = "; ".join(reason.message for reason in answer.reasons)
        return f"the device does not fit any more: {found}"
    if entries.desired_values(profile.profile, answer.desired) != current.entry.values:
        return "the source's values, or the destination's parameters, are not what they were when it was reserved"
    return None


def _current(s: Situation) -> Held | None:
    """The attempt under way: the oldest that is held."""
    holding = [h for h in s.destinations if h.entry.intent is Intent.HOLD]
    return min(holding, key=lambda h: entries.number_of(h.entry), default=None)


def _old_pin_stands(s: Situation, source: SourceDevice) -> bool:
    """Whether the source entry of before, or the agent's answer to it, is still there: a new one has the same id."""
    if source.node is None or any(h.entry.intent is Intent.HOLD for h in s.sources):
        return False
    reservations = s.cluster.reservations.get(source.node)
    entry_id = f"{s.migration.metadata.uid}-source-0"
    stands = any(h.node == source.node for h in s.sources)
    return stands or (reservations is not None and reservations.answer(entry_id) is not None)


def _no_room_for_pin(s: Situation, source: SourceDevice) -> bool:
    if source.node is None or any(h.entry.intent is Intent.HOLD for h in s.sources):
        return False
    return len(s.cluster.held_on(source.node)) >= MOST_RESERVATIONS


def _with_attempt(status: DeviceMigrationStatus, held: Held, state: State, why: str) -> DeviceMigrationStatus:
    number = entries.number_of(held.entry)
    if any(a.number == number for a in status.attempts):
        return status
    create = held.entry.device.create
    attempt = Attempt(
        number=max(number, 1),
        node=held.node,
        parent=create.parent if create else None,
        type=create.type if create else None,
        instance=held.entry.device.instance,
        state=state,
        message=shorten(why),
    )
    return status.model_copy(update={"attempts": (*status.attempts, attempt)})


def _said(held: Held) -> str:
    """What the agent answered, in one sentence."""
    answer = held.answer
    if answer is None:
        return "no answer"
    failure = answer.failure
    if failure is None:
        return f"it is {answer.state}"
    about = " ".join(part for part in (failure.step, failure.parameter, failure.errno) if part)
    return f"{failure.reason}{f' ({about})' if about else ''}: {failure.message}"


def _wait(s: Situation, reason: str, message: str) -> Decision:
    status = s.with_condition(s.migration.status, "Ready", False, reason, message)
    return Decision(status=status, look_again=LOOK_AGAIN)


def _seconds_since(s: Situation, kind: str) -> float:
    """For how long the condition has its status; 0 if it is not there yet."""
    moment = since(condition_of(s.migration.status.conditions, kind))
    return (s.now - moment).total_seconds() if moment is not None else 0.0
