"""The source's entries: every device that moves is pinned, adjusted if that was agreed, and read afresh before Ready.

Pins stand through all attempts, and all of them are on one node and come in one patch. Their ids do not tell attempts
apart, and nothing in an entry changes but its intent; so where the next attempt needs other values, the pins are ended
first and made anew when the agent has forgotten them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mdev_api.kinds.node_reservations import DesiredValue, FailureReason, Intent, State
from mdev_operator.migration import entries, letting_go
from mdev_operator.migration.adjusting import Pins, as_pinned, pins_of
from mdev_operator.migration.attempt import Group, give_up, said
from mdev_operator.migration.decision import LOOK_AGAIN, Decision, Reserve, Situation, Tell, wait
from mdev_operator.migration.source import SourceDevice
from mdev_operator.offers.openings import MOST_RESERVATIONS

Values = tuple[DesiredValue, ...]


def moved(s: Situation, sources: Sequence[SourceDevice]) -> Decision | None:
    """The VM has another device than the one that is pinned: it was moved or restarted meanwhile. Begin anew."""
    for index, pin in pins_of(s).items():
        source = sources[index] if index < len(sources) else None
        if source is not None and (pin.node, pin.entry.device.instance) == (source.node, source.instance):
            continue
        now = f"device {source.instance} of node {source.node}" if source is not None else "fewer devices"
        was = f"device {pin.entry.device.instance} of node {pin.node}"
        message = f"the VM now has {now}, not {was}; planning anew"
        return replace(wait(s, "SourceChanged", message), tell=letting_go.tell(s, letting_go.not_ready))
    return None


def refused(s: Situation, group: Group | None) -> Decision | None:
    """A pin that its agent could not hold. One that could not be adjusted speaks against the destination it was for."""
    pin = next((h for h in s.sources if h.answer is not None and h.answer.state is State.FAILED), None)
    if pin is None:
        return None
    everything = letting_go.tell(s, letting_go.not_ready)
    if pin.entry.values and group is not None and pin.entry.intent is Intent.HOLD:
        why = f"device {pin.entry.device.instance} of node {pin.node} could not be adjusted: {said(pin)}"
        return replace(give_up(s, group, group.held[0], State.FAILED, why), tell=everything)
    why = f"node {pin.node} cannot hold the source: {said(pin)}"
    failure = pin.answer.failure if pin.answer is not None else None
    gone = failure is not None and failure.reason in (FailureReason.INVALID, FailureReason.NODE_REBOOTED)
    reason = "DeviceNotFound" if gone else "SourceStale"
    status = s.with_condition(s.migration.status, "Planned", False, reason, why)
    status = s.with_condition(status, "Ready", False, reason, why)
    return Decision(status=status, tell=everything, look_again=LOOK_AGAIN)


def not_yet(
    s: Situation, sources: Sequence[SourceDevice], wanted: Sequence[Values]
) -> tuple[str, str, tuple[Tell, ...]] | None:
    """Why the pins with these values cannot stand now, as reason, message and what to tell; None: they can, or do."""
    node = sources[0].node
    if node is None:
        return None
    pins = pins_of(s)
    if any(pin.entry.values != wanted[index] for index, pin in pins.items()):
        message = f"node {node} is to end the reservations of the source, which hold it to other values than are needed"
        return "Preparing", message, _ended(pins)
    if _old_stands(s, node, [i for i in range(len(sources)) if i not in pins]):
        return "Preparing", f"waiting for node {node} to end the reservation of an earlier attempt", ()
    held = len(s.cluster.held_on(node))
    if held + len(sources) - len(pins) > MOST_RESERVATIONS:
        message = f"node {node} has {held} of at most {MOST_RESERVATIONS} reservations: cannot pin"
        return "SourceBusy", message, ()
    return None


def give_back(s: Situation) -> tuple[Tell, ...]:
    """Have the agent put back what it changed on the source, if it changed anything."""
    pins = pins_of(s)
    return _ended(pins) if any(pin.entry.values for pin in pins.values()) else ()


def _ended(pins: Pins) -> tuple[Tell, ...]:
    nodes = {pin.node for pin in pins.values()}
    return tuple(
        Tell(node=node, intents={p.entry.id: Intent.UNDO for p in pins.values() if p.node == node})
        for node in sorted(nodes)
    )


def reserve(
    s: Situation, sources: Sequence[SourceDevice], wanted: Sequence[Values], number: int
) -> tuple[Reserve, ...]:
    """The pins that are missing, in one patch."""
    pins, node = pins_of(s), sources[0].node
    if node is None:
        return ()
    missing = tuple(
        entries.source(s.migration, source, index, number, wanted[index])
        for index, source in enumerate(sources)
        if index not in pins
    )
    return (Reserve(node=node, entries=missing),) if missing else ()


def unconfirmed(s: Situation, sources: Sequence[SourceDevice], group: Group) -> Decision | None:
    """Ready needs the agent's fresh reading of every source device, and that it says what the plan was made from.

    ``sources``: as they were read. None: all are confirmed.
    """
    node = sources[0].node
    if node is None:
        return None
    pins = pins_of(s)
    missing = [index for index in range(len(sources)) if index not in pins]
    if missing:
        return _pin_again(s, sources, group, node, missing)
    for index, source in enumerate(sources):
        waiting = _not_as_planned(s, source, pins, index)
        if waiting is not None:
            return waiting
    return None


def _pin_again(
    s: Situation, sources: Sequence[SourceDevice], group: Group, node: str, missing: Sequence[int]
) -> Decision:
    """Without its pin a device may have changed, so it is read again; an adjustment is planned anew."""
    if _old_stands(s, node, missing):
        return wait(s, "Preparing", f"waiting for node {node} to end an earlier reservation")
    names = ", ".join(str(sources[index].instance) for index in missing)
    decision = wait(s, "Preparing", f"having device {names} on node {node} read again")
    return replace(decision, reserve=reserve(s, sources, [()] * len(sources), group.number))


def _not_as_planned(s: Situation, source: SourceDevice, pins: Pins, index: int) -> Decision | None:
    pin, node = pins[index], source.node
    if pin.answer is None or pin.answer.state is not State.PREPARED:
        reason = "SourceStale" if s.seconds_since("Planned") >= LOOK_AGAIN else "Preparing"
        return wait(s, reason, f"waiting for the agent of node {node} to read device {source.instance} again")
    (as_it_should_be,) = as_pinned((source,), {0: pin})
    if pin.answer.digest != source.digest or source.source != as_it_should_be.source:
        message = f"device {source.instance} was read again and had changed; waiting for node {node} to publish it"
        return wait(s, "SourceChanged", message)
    return None


def _old_stands(s: Situation, node: str, missing: Sequence[int]) -> bool:
    """Whether a pin of before, or the agent's answer to it, is still there: a new one has the same id."""
    ids = {entries.source_id(s.migration, index) for index in missing}
    reservations = s.cluster.reservations.get(node)
    if any(h.node == node and h.entry.id in ids for h in s.sources):
        return True
    return reservations is not None and any(reservations.answer(entry_id) is not None for entry_id in ids)
