"""What next for one migration, and why: a pure decision from the objects alone.

Nothing is remembered between decisions. Which attempt is under way is read from the entries that name the migration,
which were tried before from ``status.attempts``, since when something holds from the conditions. So a restart, another
leader, or a write whose answer was lost all come down to deciding again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mdev_api.engine.metadata import Verdict
from mdev_api.engine.openings import Candidate
from mdev_api.engine.verdict import compare
from mdev_api.engine.writing import off_values
from mdev_api.kinds.device_migration import DeviceMigration, DeviceMigrationStatus, Mode
from mdev_api.kinds.node_reservations import State
from mdev_operator.inventory.cluster import Held, instance_of
from mdev_operator.kubevirt.pod_fit import PodConstraints, misfit
from mdev_operator.migration import adjusting, attempt, entries, letting_go, pinning
from mdev_operator.migration.attempt import Group, give_up, of_device, under_way
from mdev_operator.migration.decision import LOOK_AGAIN, Decision, Reserve, Situation, wait
from mdev_operator.migration.device_map import at_source, mapped
from mdev_operator.migration.nodes import needs, node_gone, unwell
from mdev_operator.migration.planning import how_bound, no_destination, plan
from mdev_operator.migration.source import NoSource, SourceDevice, read_sources
from mdev_operator.migration.status import condition_of, is_true
from mdev_operator.migration.while_ready import while_ready

MOST_ATTEMPTS = 64


def decide(s: Situation) -> Decision:
    """The next step of this migration."""
    spec, status = s.migration.spec, s.migration.status
    if is_true(status.conditions, "Finished"):
        return letting_go.finished(s)
    if spec.mode is Mode.PREPARE and spec.outcome is not None:
        return letting_go.after_outcome(s, spec.outcome)
    gone = needs(s.migration, s.held, s.gone)
    if gone is not None:
        return node_gone(s, gone)
    if s.migration.metadata.deletion_timestamp is not None:
        return letting_go.deleted(s)
    if spec.mode is Mode.PLAN:
        return _plan_only(s)
    if letting_go.is_taken_back(status):
        return letting_go.expired(s)
    if is_true(status.conditions, "Ready"):
        return while_ready(s)
    return _until_ready(s)


def looks_for_destination(migration: DeviceMigration) -> bool:
    """Whether :func:`decide` will look at the source and for a place, so that both must be looked up."""
    spec, conditions = migration.spec, migration.status.conditions
    if is_true(conditions, "Finished") or migration.metadata.deletion_timestamp is not None:
        return False
    if spec.mode is Mode.PLAN:
        return True
    ended = letting_go.is_taken_back(migration.status)
    return spec.outcome is None and not ended and not is_true(conditions, "Ready")


Sources = tuple[SourceDevice, ...]


def _sources_of(s: Situation) -> Sources | NoSource:
    """What is to move, as it was read; nothing moves for a pod that is gone."""
    if isinstance(s.pod, NoSource):
        return s.pod
    return read_sources(s.migration, s.cluster, s.vm)


def _plan_only(s: Situation) -> Decision:
    sources = _sources_of(s)
    status = _not_planned(s, sources) if isinstance(sources, NoSource) else plan(s, sources).status
    return Decision(status=status, finalizer=False, follow=True, look_again=LOOK_AGAIN)


def _until_ready(s: Situation) -> Decision:
    before = condition_of(s.migration.status.conditions, "Ready")
    left = s.migration.spec.deadline_seconds - s.seconds_since("Ready")
    if left <= 0:
        why = f"last: {before.reason}: {before.message}" if before is not None else "nothing was tried"
        return letting_go.too_late(s, why)
    decision = _prepare(s)
    # An agent that comes back renews its Lease and may have nothing else to write.
    again = min(left, decision.look_again or LOOK_AGAIN)
    return replace(decision, follow=True, look_again=max(again, 0.05))


def _prepare(s: Situation) -> Decision:
    sources = _sources_of(s)
    if isinstance(sources, NoSource):
        status = s.with_condition(_not_planned(s, sources), "Ready", False, sources.reason, sources.message)
        # A silent agent may come back with the same device; any other fault means planning anew.
        tells = () if sources.reason == "SourceStale" else letting_go.tell(s, letting_go.not_ready)
        return Decision(status=status, tell=tells, look_again=LOOK_AGAIN)
    group = under_way(s)
    wrong = pinning.moved(s, sources) or pinning.refused(s, group)
    if wrong is not None:
        return wrong
    return _next_attempt(s, sources) if group is None else _judge(s, sources, group)


def _next_attempt(s: Situation, sources: Sources) -> Decision:
    before = adjusting.as_before(sources, adjusting.pins_of(s))
    if isinstance(before, str):
        return wait(s, "Preparing", before)
    planned = plan(s, before)
    status = planned.status
    if not planned.best:
        message = no_destination(status.rejected, sources)
        # What was changed for an earlier destination is not left so without any.
        tells = pinning.give_back(s)
        return Decision(status=s.with_condition(status, "Ready", False, "NoDestination", message), tell=tells)
    if len(status.attempts) >= MOST_ATTEMPTS:
        message = f"{MOST_ATTEMPTS} destinations were tried and failed; see status.attempts"
        return Decision(status=s.with_condition(status, "Ready", False, "NoDestination", message))
    pairs = zip(before, planned.best, strict=True)
    values = [adjusting.entry_values(s.cluster, source, best.adjust) for source, best in pairs]
    held_up = pinning.not_yet(s, before, values)
    if held_up is not None:
        reason, message, tells = held_up
        status = s.with_condition(status, "Ready", False, reason, message)
        return Decision(status=status, tell=tells, look_again=LOOK_AGAIN)
    number = entries.next_number((a.number for a in status.attempts), s.held)
    types = ", ".join(candidate.opening.type for candidate in planned.best)
    message = f"attempt {number}: reserving {types} on node {planned.best[0].opening.node}"
    status = s.with_condition(status, "Ready", False, "Preparing", message)
    # The sources are pinned first: when that fails nothing else happens.
    reserve = (*pinning.reserve(s, before, values, number), _reserve(s, planned.best, number))
    return Decision(status=status, reserve=reserve, look_again=LOOK_AGAIN)


def _reserve(s: Situation, best: Sequence[Candidate], number: int) -> Reserve:
    """All devices of the attempt in one patch of their node."""
    node = best[0].opening.node
    devices = s.cluster.devices[node].status
    assert devices is not None and devices.boot_id is not None
    there = tuple(
        entries.destination(
            s.migration, number, index, one, s.cluster.profiles[one.opening.profile].profile, devices.boot_id
        )
        for index, one in enumerate(best)
    )
    return Reserve(node=node, entries=there)


def _judge(s: Situation, sources: Sources, group: Group) -> Decision:
    """An attempt is under way: is it done, did it fail, or is there something to wait for?"""
    given_up = attempt.given_up(s, group)
    if given_up is not None:
        return given_up
    names = [source.name for source in sources]
    ended = group.ended
    if ended is not None and ended.answer is not None:
        return give_up(s, group, ended, ended.answer.state, of_device(names, ended, attempt.said(ended)))
    if not group.has(len(sources)):
        why = f"it has {len(group.held)} of {len(sources)} reservations that hold: one was removed, or told to end"
        return give_up(s, group, group.held[0], State.PENDING, why)
    ill = unwell(s.cluster, group.node)
    if ill is not None:
        return give_up(s, group, group.held[0], State.PENDING, ill)
    pinned = adjusting.as_pinned(sources, adjusting.pins_of(s))
    for source, held in zip(pinned, group.held, strict=True):
        changed = _no_longer_right(s, source, held)
        if changed is not None:
            state = held.answer.state if held.answer is not None else State.PENDING
            return give_up(s, group, held, state, of_device(names, held, changed))
    if group.prepared < len(sources):
        what = "the device" if len(sources) == 1 else f"the devices ({group.prepared} of {len(sources)} are)"
        return wait(s, "Preparing", f"attempt {group.number}: waiting for node {group.node} to prepare {what}")
    return pinning.unconfirmed(s, sources, group) or _ready(s, pinned, group)


def _ready(s: Situation, sources: Sources, group: Group) -> Decision:
    """``sources``: as they are pinned."""
    told = {device.name: device.adjustments for device in s.migration.status.devices}
    found = mapped(s.cluster, group, [at_source(source, told.get(source.name, ())) for source in sources])
    if isinstance(found, Held):
        return wait(s, "Preparing", f"waiting for node {group.node} to publish instance {instance_of(found)}")
    status = s.migration.status.model_copy(update={"node": group.node, "devices": found})
    slot = group.held[0].entry.device.slot
    which = ", ".join(f"{device.type} {device.instance}" for device in found)
    if slot is not None:
        message = f"a {found[0].type} of {slot.resource} on node {group.node} is held; {how_bound(s)}"
    elif len(found) == 1:
        message = f"{which} on node {group.node} is prepared and was read back"
    else:
        message = f"{len(found)} devices on node {group.node} are prepared and were read back: {which}"
    return Decision(status=s.with_condition(status, "Ready", True, "Prepared", message))


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
    if entries.desired_values(profile.profile, answer.desired, off_values(profile.metadata)) != current.entry.values:
        return "the source's values, or the destination's parameters, are not what they were when it was reserved"
    return None
