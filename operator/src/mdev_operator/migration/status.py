"""What a DeviceMigration's status says: conditions that keep their times, the ranking, and why other nodes are out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from mdev_api.engine.metadata import Code
from mdev_api.engine.openings import Plan
from mdev_api.kinds.common import Condition, ConditionStatus
from mdev_api.kinds.device_migration import CandidateSummary, RejectionExample, RejectionSummary
from mdev_api.kube import times
from mdev_operator.openings import shown
from mdev_operator.rejections import NodeRejection

MOST_CANDIDATES = 10
MOST_EXAMPLES = 3
MESSAGE_LENGTH = 1024

_OF_OTHER_DEVICES = frozenset({Code.MODEL_MISMATCH, Code.NO_MODEL})
"""Codes that a node's other devices always cause; told only when they are all there is to say of a node."""


def shorten(text: str) -> str:
    """``text`` within the bound of messages."""
    return text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"


def condition_of(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of this type, if there is one."""
    return next((c for c in conditions if c.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition is there and True."""
    condition = condition_of(conditions, kind)
    return condition is not None and condition.status is ConditionStatus.TRUE


def with_condition(
    conditions: tuple[Condition, ...],
    kind: str,
    status: bool,
    reason: str,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """The conditions with this one set; its transition time moves only when its status does."""
    before = condition_of(conditions, kind)
    value = ConditionStatus.TRUE if status else ConditionStatus.FALSE
    since = before.last_transition_time if before is not None and before.status is value else times.time(now)
    new = Condition(
        type=kind,
        status=value,
        observed_generation=generation,
        last_transition_time=since,
        reason=reason,
        message=shorten(message),
    )
    others = [c for c in conditions if c.type != kind]
    return tuple(sorted([*others, new], key=lambda c: c.type))


def since(condition: Condition | None) -> datetime | None:
    """When the condition got its status."""
    return times.parse(condition.last_transition_time) if condition is not None else None


def candidates(plan: Plan) -> tuple[CandidateSummary, ...]:
    """The best of the ranking."""
    return tuple(
        CandidateSummary(
            node=c.opening.node,
            parent=c.opening.parent,
            type=c.opening.type,
            instance=c.opening.instance,
            writes=len(c.answer.writes),
            why=shorten(c.why),
        )
        for c in plan.candidates[:MOST_CANDIDATES]
    )


def rejected(plan: Plan, out_of_question: Iterable[NodeRejection]) -> tuple[RejectionSummary, ...]:
    """For each reason, how many nodes without any candidate it rejects, and examples.

    A node whose only fault is that it also has devices of other models is told by what its devices of the right model
    lack: their reasons silence ModelMismatch and NoModel of the others.
    """
    good = {c.opening.node for c in plan.candidates}
    found: dict[str, dict[str, list[RejectionExample]]] = defaultdict(lambda: defaultdict(list))
    for node, code, parameter, message in _findings(plan, out_of_question):
        if node not in good:
            example = RejectionExample(node=node, parameter=parameter, message=shorten(message))
            found[node][code].append(example)
    by_code: dict[str, list[RejectionExample]] = defaultdict(list)
    for _node, codes in sorted(found.items()):
        telling = [code for code in codes if code not in _OF_OTHER_DEVICES] or list(codes)
        for code in telling:
            by_code[code].append(codes[code][0])
    return tuple(
        RejectionSummary(code=code, nodes=len(examples), examples=tuple(examples[:MOST_EXAMPLES]))
        for code, examples in sorted(by_code.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def _findings(plan: Plan, out_of_question: Iterable[NodeRejection]) -> Iterable[tuple[str, str, str | None, str]]:
    for refused in out_of_question:
        yield refused.node, refused.code, None, refused.message
    for rejection in plan.rejections:
        opening = rejection.opening
        if rejection.no_capacity:
            message = f"{shown(opening)} has no free instance"
            yield opening.node, "NoCapacity", None, message
        for reason in rejection.reasons:
            yield opening.node, reason.code, reason.parameter, f"{shown(opening)}: {reason.message}"


def no_destination(summaries: tuple[RejectionSummary, ...]) -> str:
    """One sentence for the condition: why no node can take the device."""
    if not summaries:
        return "the cluster has no node with a VFIO device that this project knows"
    parts = []
    for summary in summaries:
        example = summary.examples[0]
        about = f" {example.parameter}" if example.parameter else ""
        parts.append(f"{summary.code}{about} on {summary.nodes} (e.g. {example.node}: {example.message})")
    return "no node can take the device: " + "; ".join(parts)
