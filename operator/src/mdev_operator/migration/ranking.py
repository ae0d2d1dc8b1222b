"""What a DeviceMigration's status says of the cluster: the best destinations, and why the other nodes are none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mdev_api.engine.assignment import Assignments, Shortfall
from mdev_api.engine.metadata import Code
from mdev_api.engine.openings import Plan, Rejection
from mdev_api.kinds.device_migration import CandidateDevice, CandidateSummary, RejectionExample, RejectionSummary
from mdev_operator.migration.status import shorten
from mdev_operator.offers.openings import shown
from mdev_operator.offers.rejections import NodeRejection

MOST_CANDIDATES = 10
MOST_EXAMPLES = 3

_OF_OTHER_DEVICES = frozenset({Code.MODEL_MISMATCH, Code.NO_MODEL})
"""Codes that a node's other devices always cause; told only when they are all there is to say of a node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Finding:
    """One thing that speaks against a node. ``device``: for which of several devices; None: for any."""

    node: str
    code: str
    parameter: str | None
    message: str
    device: int | None = None


def candidates(plan: Plan) -> tuple[CandidateSummary, ...]:
    """The best of one device's ranking."""
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


def candidates_together(found: Assignments, names: Sequence[str]) -> tuple[CandidateSummary, ...]:
    """The best nodes for several devices."""
    return tuple(
        CandidateSummary(
            node=a.node,
            devices=tuple(
                CandidateDevice(
                    name=name,
                    parent=c.opening.parent,
                    type=c.opening.type,
                    instance=c.opening.instance,
                    writes=len(c.answer.writes),
                )
                for name, c in zip(names, a.candidates, strict=True)
            ),
            writes=sum(len(c.answer.writes) for c in a.candidates),
            why=shorten(a.why),
        )
        for a in found.assignments[:MOST_CANDIDATES]
    )


def rejected(plan: Plan, out_of_question: Iterable[NodeRejection]) -> tuple[RejectionSummary, ...]:
    """For each reason, how many nodes without any candidate it rejects, and examples.

    A node whose only fault is that it also has devices of other models is told by what its devices of the right model
    lack: their reasons silence ModelMismatch and NoModel of the others.
    """
    good = {c.opening.node for c in plan.candidates}
    found = [_of_node(refused) for refused in out_of_question]
    found += (finding for rejection in plan.rejections for finding in _of_opening(rejection))
    return _summaries(finding for finding in found if finding.node not in good)


def rejected_together(
    found: Assignments, out_of_question: Iterable[NodeRejection], names: Sequence[str]
) -> tuple[RejectionSummary, ...]:
    """The same for several devices: each node is told by the devices that find no place there."""
    good = {a.node for a in found.assignments}
    findings = [_of_node(refused) for refused in out_of_question if refused.node not in good]
    findings += (finding for short in found.shortfalls for finding in _of_shortfall(short, names))
    return _summaries(findings)


def no_destination(summaries: tuple[RejectionSummary, ...], what: str = "the device") -> str:
    """One sentence for the condition: why no node can take what is to move."""
    if not summaries:
        return "the cluster has no node with a VFIO device that this project knows"
    parts = []
    for summary in summaries:
        example = summary.examples[0]
        about = f" {example.parameter}" if example.parameter else ""
        parts.append(f"{summary.code}{about} on {summary.nodes} (e.g. {example.node}: {example.message})")
    return f"no node can take {what}: " + "; ".join(parts)


def _of_node(refused: NodeRejection) -> _Finding:
    return _Finding(node=refused.node, code=refused.code, parameter=None, message=refused.message)


def _of_opening(rejection: Rejection, device: int | None = None, prefix: str = "") -> Iterable[_Finding]:
    opening = rejection.opening
    where = f"{prefix}{shown(opening)}"
    if rejection.no_capacity:
        message = f"{where} has no free instance"
        yield _Finding(node=opening.node, code="NoCapacity", parameter=None, message=message, device=device)
    for reason in rejection.reasons:
        message = f"{where}: {reason.message}"
        yield _Finding(node=opening.node, code=reason.code, parameter=reason.parameter, message=message, device=device)


def _of_shortfall(short: Shortfall, names: Sequence[str]) -> Iterable[_Finding]:
    name = names[short.device]
    if short.beside is not None:
        message = f"{name} finds no place: the node has room for {short.beside} of the {len(names)} devices"
        yield _Finding(node=short.node, code="NoCapacity", parameter=None, message=message, device=short.device)
    for rejection in short.rejections:
        yield from _of_opening(rejection, short.device, f"{name}: ")


def _summaries(findings: Iterable[_Finding]) -> tuple[RejectionSummary, ...]:
    found: dict[tuple[str, int | None], dict[str, RejectionExample]] = defaultdict(dict)
    for f in findings:
        example = RejectionExample(node=f.node, parameter=f.parameter, message=shorten(f.message))
        found[f.node, f.device].setdefault(f.code, example)
    by_code: dict[str, dict[str, RejectionExample]] = defaultdict(dict)
    for (node, _), codes in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
        telling = [code for code in codes if code not in _OF_OTHER_DEVICES] or list(codes)
        for code in telling:
            by_code[code].setdefault(node, codes[code])
    return tuple(
        RejectionSummary(code=code, nodes=len(nodes), examples=tuple([*nodes.values()][:MOST_EXAMPLES]))
        for code, nodes in sorted(by_code.items(), key=lambda item: (-len(item[1]), item[0]))
    )
