"""What next for one migration of KubeVirt, and why: a pure decision from what the API server says now.

``started`` is set before the gate is lifted. So there is no moment in which the pod may run and our reservation may
still expire, and whoever comes back after a crash in between finds a gated pod and a started migration, and goes on.

How a migration ended is read from where the VM is, then from KubeVirt's own word, never from the absence of something
in a cache. A gate that need not be lifted any more is never lifted: its pod is deleted, at the version that was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from mdev_api.kinds.device_migration import Binding, DeviceMigration, Outcome
from mdev_api.kube import times
from mdev_operator.kubevirt.objects import TargetPod, Vmi, Vmim
from mdev_operator.kubevirt.reasons import sentences
from mdev_operator.kubevirt.ungate import CannotBind
from mdev_operator.migration.status import condition_of, is_true, since

LOOK_AGAIN = 10.0
"""Seconds after which a wait for KubeVirt looks at objects that nobody here watches (the VM)."""

SLACK = 2.0
"""Seconds after the deadline that the DeviceMigration, whose own deadline is the same, has to end and say why."""

TURN = 0.5
"""Seconds until a pod that waits for another one to take its device looks again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """``deadline``: seconds from a pod's creation until its gate is given up. ``keep``: seconds that a finished
    DeviceMigration of ours stays for people to read."""

    deadline: float = 90.0
    keep: float = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """All that one decision looks at, each read live. None: it does not exist.

    ``newer``: a younger migration of the same VM that virt-controller has taken up. ``refused``: why the pod itself
    cannot be bound to a node. ``turn``: which other pod is taking its device on the chosen node just now.
    """

    vmim: Vmim | None
    newer: str | None
    vmi: Vmi | None
    pod: TargetPod | None
    migration: DeviceMigration | None
    binding: Binding
    refused: CannotBind | None
    turn: str | None
    now: datetime
    patience: Patience


@dataclass(frozen=True, kw_only=True, slots=True)
class Create:
    """Make the DeviceMigration."""

    binding: Binding
    deadline_seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Set ``started``, if the DeviceMigration is still as it was seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ungate:
    """Bind the pod to the node and lift the gate."""

    node: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Explain:
    """Tell people, on the VM and on its migration."""

    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletePod:
    """Delete the target pod, if it is still as it was seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tell:
    """Tell the DeviceMigration how it ended."""

    outcome: Outcome
    superseded_by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forget:
    """Delete the DeviceMigration, which has finished long ago."""


Step = Create | Start | Ungate | Explain | DeletePod | Tell | Forget


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Steps in their order; one that is refused ends the round. ``look_again``: seconds, None: only when told."""

    steps: tuple[Step, ...] = ()
    look_again: float | None = None


def decide(s: Sight) -> Decision:
    """The next steps for one migration and its target pod."""
    if s.migration is None:
        return _nothing_reserved(s)
    if is_true(s.migration.status.conditions, "Finished"):
        return _finished(s, s.migration)
    if s.migration.spec.outcome is not None:
        return Decision(steps=_take_away(s))
    told = _ending(s, s.migration)
    if told is not None:
        return Decision(steps=(*_take_away(s), told))
    if _gated(s) is not None:
        return _while_gated(s, s.migration)
    return _after_the_gate(s, s.migration)


def given_up_at(s: Sight, pod: TargetPod) -> datetime:
    """Until when a gate may be lifted.

    The deadline counts from the pod's creation; an operator that came late gets a third of it for a try. In no case
    later than at 80 % of KubeVirt's own patience, which counts from the pod's creation too: a pod that is ungated after
    that and is unschedulable for one moment is deleted at once.
    """
    seen = s.now
    if s.migration is not None and s.migration.metadata.creation_timestamp is not None:
        seen = times.parse(s.migration.metadata.creation_timestamp)
    ordinary = pod.created + timedelta(seconds=s.patience.deadline)
    at_least = seen + timedelta(seconds=s.patience.deadline / 3)
    return min(max(ordinary, at_least), _kubevirt_gives_up(s, pod))


def _kubevirt_gives_up(s: Sight, pod: TargetPod) -> datetime:
    return pod.created + timedelta(seconds=0.8 * (s.vmim.patience if s.vmim is not None else 300.0))


def _nothing_reserved(s: Sight) -> Decision:
    pod = _gated(s)
    if pod is None:
        return Decision()
    if not _wanted(s):
        return Decision(steps=(DeletePod(),))
    if s.refused is not None:
        return Decision(steps=(Explain(notes=(s.refused.message,)), DeletePod()))
    left = (given_up_at(s, pod) - s.now).total_seconds()
    if left < 1:
        age = (s.now - pod.created).total_seconds()
        note = f"no device could be looked for: the target pod is {age:.0f} s old, and KubeVirt would soon delete it"
        return Decision(steps=(Explain(notes=(note,)), DeletePod()))
    return Decision(steps=(Create(binding=s.binding, deadline_seconds=math.floor(left)),))


def _while_gated(s: Sight, m: DeviceMigration) -> Decision:
    pod = _gated(s)
    assert pod is not None
    left = (given_up_at(s, pod) - s.now).total_seconds() + SLACK
    if s.refused is not None or left <= 0 or _lost(m):
        return _give_up(s)
    if m.spec.started and m.status.node is not None:
        return Decision(steps=(Ungate(node=m.status.node),))
    ready = is_true(m.status.conditions, "Ready") and m.metadata.deletion_timestamp is None
    if not ready or m.status.node is None:
        return Decision(look_again=left)
    if s.turn is not None:
        return Decision(look_again=min(left, TURN))
    return Decision(steps=(Start(), Ungate(node=m.status.node)))


def _after_the_gate(s: Sight, m: DeviceMigration) -> Decision:
    """KubeVirt's turn. It waits long, or for ever, for a pod that has no room on its node or no right device."""
    pod = s.pod
    if pod is None or pod.deleting or not m.spec.started:
        return Decision(look_again=LOOK_AGAIN)
    if _lost(m) and _before_hand_off(s):
        return Decision(steps=(Explain(notes=_notes(s)), DeletePod()), look_again=LOOK_AGAIN)
    left = (given_up_at(s, pod) - s.now).total_seconds() + SLACK
    if pod.unschedulable is None or left > 0:
        return Decision(look_again=min(max(left, TURN), LOOK_AGAIN))
    note = f"a device was prepared on node {m.status.node}, but the scheduler has no room there: {pod.unschedulable}"
    return Decision(steps=(Explain(notes=(note,)), DeletePod()), look_again=LOOK_AGAIN)


def _give_up(s: Sight) -> Decision:
    return Decision(steps=(Explain(notes=_notes(s)), DeletePod(), Tell(outcome=Outcome.FAILED)))


def _notes(s: Sight) -> tuple[str, ...]:
    assert s.migration is not None
    if s.refused is not None:
        return (s.refused.message,)
    if s.turn is not None and is_true(s.migration.status.conditions, "Ready"):
        return (f"a device was prepared on node {s.migration.status.node}, but {s.turn}",)
    return sentences(s.migration)


def _finished(s: Sight, m: DeviceMigration) -> Decision:
    steps: tuple[Step, ...] = ()
    if _gated(s) is not None:
        steps = (Explain(notes=sentences(m)), DeletePod()) if _wanted(s) else (DeletePod(),)
    ended = since(condition_of(m.status.conditions, "Finished"))
    assert ended is not None
    left = s.patience.keep - (s.now - ended).total_seconds()
    if left > 0 or steps:
        return Decision(steps=steps, look_again=max(left, LOOK_AGAIN))
    return Decision(steps=(Forget(),))


def _ending(s: Sight, m: DeviceMigration) -> Tell | None:
    """How it ended, if it did."""
    v, started = s.vmim, bool(m.spec.started)
    if s.vmi is not None and s.vmi.moving == m.metadata.name.removeprefix("vmim-"):
        return None  # The VM is on its way: not even a migration object that is gone changes that.
    arrived = s.vmi is not None and s.vmi.node is not None and s.vmi.node == m.status.node
    if v is None or v.final:
        succeeded = arrived or (started and v is not None and v.phase == "Succeeded")
        return Tell(
            outcome=Outcome.SUCCEEDED if succeeded else Outcome.FAILED,
            superseded_by=s.newer if v is None and not succeeded else None,
        )
    held_back = s.pod is None or _gated(s) is not None
    if s.newer is not None and held_back:
        superseded_by = None if arrived else s.newer
        return Tell(outcome=Outcome.SUCCEEDED if arrived else Outcome.FAILED, superseded_by=superseded_by)
    if (v.deleting and (held_back or not started)) or (s.pod is None and not started):
        return Tell(outcome=Outcome.FAILED)
    return None


def _wanted(s: Sight) -> bool:
    """Whether KubeVirt still wants this pod to run."""
    return s.vmim is not None and not s.vmim.final and not s.vmim.deleting and s.newer is None


def _gated(s: Sight) -> TargetPod | None:
    return s.pod if s.pod is not None and s.pod.gated and not s.pod.deleting else None


def _take_away(s: Sight) -> tuple[Step, ...]:
    return (DeletePod(),) if _gated(s) is not None else ()


def _lost(m: DeviceMigration) -> bool:
    """Whether the device is gone that the pod was, or is to be, started for."""
    overdue = condition_of(m.status.conditions, "Overdue")
    return is_true(m.status.conditions, "Overdue") and overdue is not None and overdue.reason == "DestinationLost"


def _before_hand_off(s: Sight) -> bool:
    """Whether the guest has not begun to move: then deleting the target pod fails the migration and nothing else."""
    return s.vmim is not None and s.vmim.phase not in ("Running", "Succeeded", "Failed") and _at_rest(s)


def _at_rest(s: Sight) -> bool:
    return s.vmi is not None and s.vmi.moving is None
