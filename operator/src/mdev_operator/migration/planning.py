"""Where could it go? From the sources and the cluster to ranked candidates, and what the status says of the rest.

The engine compares metadata; what else speaks against a candidate is sifted out here, among those that would fit, so
that nobody is told of a fault that does not matter: a device that virt-handler would delete again
(``ConflictingManager``), and, where nobody writes values between the kubelet's choice and the VM's start, free devices
that are not right already (``NotUniform``: uniform pre-configuration is all that is left then).

One device is ranked by itself. Several are ranked each by itself and then put together
(:mod:`mdev_api.engine.assignment`); devices that are alike are ranked once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mdev_api.engine.adjustment import rank_adjusting
from mdev_api.engine.assignment import assign
from mdev_api.engine.metadata import Source
from mdev_api.engine.openings import Candidate, Opening, Plan
from mdev_api.engine.plan import rank
from mdev_api.kinds.device_migration import (
    Binding,
    CandidateSummary,
    DeviceMigrationStatus,
    RejectionSummary,
    SourceAdjustment,
)
from mdev_operator.inventory.cluster import Cluster
from mdev_operator.kubevirt.manager import swept
from mdev_operator.kubevirt.pod_fit import PodConstraints
from mdev_operator.migration import adjusting, ranking
from mdev_operator.migration.attempt import places_of
from mdev_operator.migration.decision import Situation
from mdev_operator.migration.source import SourceDevice
from mdev_operator.migration.status import condition_of
from mdev_operator.offers.openings import Constraints, Found, find, shown
from mdev_operator.offers.rejections import NodeRejection

CONFLICT = "ConflictingManager"
"""Code of a rejection, and type of the condition that says what to configure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """The best destination and the status that tells of it and of all others.

    ``best``: one candidate for each device; none: there is no destination.
    """

    best: tuple[Candidate, ...]
    status: DeviceMigrationStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ranked:
    """What came of the ranking. ``why``: one sentence on the best."""

    best: tuple[Candidate, ...]
    why: str
    candidates: tuple[CandidateSummary, ...]
    rejected: tuple[RejectionSummary, ...]
    refused: tuple[NodeRejection, ...]


def plan(s: Situation, sources: Sequence[SourceDevice]) -> Planned:
    """Everything that could take all the sources now."""
    found = find(s.cluster, constraints_of(s, sources))
    ranked = _ranked(s.cluster, sources, found, adjust=False)
    if not ranked.best and s.migration.spec.source_adjustment is SourceAdjustment.IF_NEEDED:
        with_changes = _ranked(s.cluster, sources, found, adjust=True)
        ranked = with_changes if with_changes.best else ranked
    adjust = tuple(c.adjust for c in ranked.best) or tuple(() for _ in sources)
    devices = tuple(adjusting.mapped(source, writes) for source, writes in zip(sources, adjust, strict=True))
    seen = {"candidates": ranked.candidates, "rejected": ranked.rejected, "devices": devices}
    status = s.migration.status.model_copy(update=seen)
    status = _with_conflict(s, status, ranked.refused)
    if not ranked.best:
        message = no_destination(ranked.rejected, sources)
        return Planned(best=(), status=s.with_condition(status, "Planned", False, "NoDestination", message))
    bound = how_bound(s)
    message = f"best: {ranked.why}; {bound}" if bound else f"best: {ranked.why}"
    return Planned(best=ranked.best, status=s.with_condition(status, "Planned", True, "Planned", message))


def no_destination(rejected: tuple[RejectionSummary, ...], sources: Sequence[SourceDevice]) -> str:
    """One sentence for the condition."""
    what = "the device" if len(sources) == 1 else f"all {len(sources)} devices"
    return ranking.no_destination(rejected, what)


def constraints_of(s: Situation, sources: Sequence[SourceDevice]) -> Constraints:
    """What is asked of a destination, but for the comparison itself."""
    spec = s.migration.spec
    return Constraints(
        node_selector=spec.node_selector,
        node_name=spec.node_name,
        exclude_nodes=frozenset(spec.exclude_nodes),
        source_node=sources[0].node,
        tried=places_of(s.migration, len(sources)),
        binding=spec.binding,
        resource=sources[0].resource,
        pod=s.pod if isinstance(s.pod, PodConstraints) else None,
        devices=len(sources),
    )


def how_bound(s: Situation) -> str:
    """What happens to the device between Ready and the VM's start; empty where it is named at Ready."""
    if s.migration.spec.binding is not Binding.LATE:
        return ""
    if s.cluster.no_hook is None:
        return "the kubelet picks the device; it is verified and written before the VM opens it"
    return (
        "the kubelet picks the device, and nothing verifies or writes it before the VM opens it, because "
        f"{s.cluster.no_hook}: only nodes count whose free devices all have the right values already "
        "(uniform pre-configuration)"
    )


def _ranked(cluster: Cluster, sources: Sequence[SourceDevice], found: Found, *, adjust: bool) -> _Ranked:
    if len(sources) == 1:
        return _one(cluster, sources[0], found, adjust=adjust)
    return _together(cluster, sources, found, adjust=adjust)


def _one(cluster: Cluster, source: SourceDevice, found: Found, *, adjust: bool) -> _Ranked:
    ranked, refused = _sifted(cluster, source, found, adjust=adjust)
    best = ranked.candidates[:1]
    why = "".join(f"{c.opening.type} on node {c.opening.node}, {c.why}" for c in best)
    return _Ranked(
        best=best,
        why=why,
        candidates=ranking.candidates(ranked),
        rejected=ranking.rejected(ranked, (*found.rejections, *refused)),
        refused=refused,
    )


def _together(cluster: Cluster, sources: Sequence[SourceDevice], found: Found, *, adjust: bool) -> _Ranked:
    names = [source.name for source in sources]
    known: list[tuple[tuple[Source, str | None, str | None], Plan]] = []
    plans: list[Plan] = []
    refused: list[NodeRejection] = []
    for source in sources:
        alike = (source.source, source.type, source.profile)
        same = next((plan for other, plan in known if other == alike), None)
        if same is None:
            same, sifted_out = _sifted(cluster, source, found, adjust=adjust)
            known.append((alike, same))
            refused += sifted_out
        plans.append(same)
    together = assign(plans, names)
    first = together.assignments[:1]
    return _Ranked(
        best=first[0].candidates if first else (),
        why="".join(f"node {a.node}, {a.why}" for a in first),
        candidates=ranking.candidates_together(together, names),
        rejected=ranking.rejected_together(together, (*found.rejections, *refused), names),
        refused=tuple(refused),
    )


def _sifted(
    cluster: Cluster, source: SourceDevice, found: Found, *, adjust: bool
) -> tuple[Plan, tuple[NodeRejection, ...]]:
    """The ranking of one device without those that do not do for another reason, and these reasons."""
    ranked = _rank(cluster, source, found.openings, adjust=adjust)
    refused = {id(c.opening): why for c in ranked.candidates if (why := _unusable(cluster, source, c)) is not None}
    if refused:
        left = [opening for opening in found.openings if id(opening) not in refused]
        ranked = _rank(cluster, source, left, adjust=adjust)
    return ranked, tuple(refused.values())


def _rank(cluster: Cluster, source: SourceDevice, openings: Sequence[Opening], *, adjust: bool) -> Plan:
    """``adjust``: destinations count too that need a change of the running device; an explicit one is none."""
    view = cluster.profiles.get(source.profile) if source.profile is not None else None
    if not adjust or view is None or view.metadata is None:
        return rank(source.source, openings, source.type)
    return rank_adjusting(source.source, view.metadata, openings, source.type)


def _unusable(cluster: Cluster, source: SourceDevice, candidate: Candidate) -> NodeRejection | None:
    opening = candidate.opening
    if opening.slot is not None:
        if cluster.no_hook is None or not candidate.answer.writes:
            return None
        names = ", ".join(write.parameter for write in candidate.answer.writes)
        message = (
            f"{shown(opening)}: not every free device has the right values ({names}), and nobody can write the one "
            f"that the kubelet picks, because {cluster.no_hook}; give all of them the same values beforehand"
        )
        return NodeRejection(node=opening.node, code="NotUniform", message=message)
    spec = cluster.profiles[opening.profile].profile.spec
    if cluster.kubevirt is None or spec.backend != "mdev" or spec.type is None:
        return None
    labels = cluster.nodes[opening.node].labels
    why = swept(spec.type.id, spec.type.name, cluster.kubevirt, labels, source.resource)
    return NodeRejection(node=opening.node, code=CONFLICT, message=why) if why is not None else None


def _with_conflict(
    s: Situation, status: DeviceMigrationStatus, refused: Iterable[NodeRejection]
) -> DeviceMigrationStatus:
    """The condition stays, as False, once it was True: so people see that what they configured has been understood."""
    conflicts = [r for r in refused if r.code == CONFLICT]
    if conflicts:
        nodes = len({r.node for r in conflicts})
        message = f"{nodes} node{'s' if nodes > 1 else ''} left out, e.g. {conflicts[0].node}: {conflicts[0].message}"
        return s.with_condition(status, CONFLICT, True, "VirtHandlerWouldDelete", message)
    if condition_of(status.conditions, CONFLICT) is None:
        return status
    return s.with_condition(status, CONFLICT, False, "NoConflict", "no place is left out for another manager's sake")
