"""Where could it go? From the source and the cluster to ranked candidates, and what the status says of the rest.

The engine compares metadata; what else speaks against a candidate is sifted out here, among those that would fit, so
that nobody is told of a fault that does not matter: a device that virt-handler would delete again
(``ConflictingManager``), and, where nobody writes values between the kubelet's choice and the VM's start, free devices
that are not right already (``NotUniform``: uniform pre-configuration is all that is left then).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mdev_api.engine.compatibility_class import class_of
from mdev_api.engine.openings import Candidate, Plan
from mdev_api.engine.plan import rank
from mdev_api.kinds.device_migration import Binding, DeviceMigrationStatus, MappedDevice
from mdev_operator.cluster import Cluster
from mdev_operator.kubevirt.manager import swept
from mdev_operator.kubevirt.pod_fit import PodConstraints
from mdev_operator.migration.decision import Situation
from mdev_operator.migration.source import SourceDevice
from mdev_operator.migration.status import candidates, condition_of, no_destination, rejected
from mdev_operator.openings import Constraints, Place, find, shown
from mdev_operator.rejections import NodeRejection

CONFLICT = "ConflictingManager"
"""Code of a rejection, and type of the condition that says what to configure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """The candidates, best first, and the status that tells of them and of all other nodes."""

    candidates: tuple[Candidate, ...]
    status: DeviceMigrationStatus


def plan(s: Situation, source: SourceDevice) -> Planned:
    """Everything that could take the source now."""
    found = find(s.cluster, constraints_of(s, source))
    ranked = rank(source.source, found.openings, source.type)
    refused = {id(c.opening): why for c in ranked.candidates if (why := _unusable(s.cluster, source, c)) is not None}
    if refused:
        left = [opening for opening in found.openings if id(opening) not in refused]
        ranked = rank(source.source, left, source.type)
    reasons = rejected(ranked, (*found.rejections, *refused.values()))
    device = MappedDevice(name=source.name, source=source.instance, device_class=class_of(source.source))
    seen = {"candidates": candidates(ranked), "rejected": reasons, "devices": (device,)}
    status = s.migration.status.model_copy(update=seen)
    status = _with_conflict(s, status, refused.values())
    if not ranked.candidates:
        message = no_destination(reasons)
        return Planned(candidates=(), status=s.with_condition(status, "Planned", False, "NoDestination", message))
    status = s.with_condition(status, "Planned", True, "Planned", _best(s, ranked))
    return Planned(candidates=ranked.candidates, status=status)


def constraints_of(s: Situation, source: SourceDevice) -> Constraints:
    """What is asked of a destination, but for the comparison itself."""
    spec = s.migration.spec
    attempts = s.migration.status.attempts
    return Constraints(
        node_selector=spec.node_selector,
        node_name=spec.node_name,
        exclude_nodes=frozenset(spec.exclude_nodes),
        source_node=source.node,
        tried=frozenset(Place(node=a.node, parent=a.parent, type=a.type, instance=a.instance) for a in attempts),
        binding=spec.binding,
        resource=source.resource,
        pod=s.pod if isinstance(s.pod, PodConstraints) else None,
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


def _best(s: Situation, ranked: Plan) -> str:
    best, bound = ranked.candidates[0], how_bound(s)
    message = f"best: {best.opening.type} on node {best.opening.node}, {best.why}"
    return f"{message}; {bound}" if bound else message


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
