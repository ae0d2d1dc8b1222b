"""Could any node ever take this device? A DeviceMigration's planning, asked of the best that the cluster may become.

In that cluster every node is Ready, schedulable and heard of, nothing is reserved, and whatever is taken now may be
free when the VM's turn comes: what is left to refuse are reasons that waiting does not cure. A profile that was not
read yet counts as one that may fit. Nothing is reserved here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mdev_api.engine.compatibility_class import class_of
from mdev_api.engine.plan import rank
from mdev_api.kinds.compatibility_class import label_of
from mdev_operator.inventory.cluster import Cluster
from mdev_operator.migration.ranking import no_destination, rejected
from mdev_operator.migration.source import SourceDevice
from mdev_operator.offers.openings import Constraints, find

_MAY_PASS = frozenset({"ProfileMissing", "Unreadable", "NoCapacity"})
"""Codes of what may be another tomorrow although nobody changes the hardware."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """``hopeless``: why no node can ever take it; None if one could. ``label``: of the device's class, if it helps."""

    hopeless: str | None = None
    label: str | None = None


def outlook(cluster: Cluster, source: SourceDevice, node_selector: Mapping[str, str]) -> Outlook:
    """What awaits a migration of this device to nodes with these labels.

    The label is named only if a node that could take the device carries it already: labels of nodes follow their offers
    within a second, but a label that no node has would keep the VM's new pod waiting for ever.
    """
    constraints = Constraints(
        node_selector=node_selector,
        node_name=None,
        exclude_nodes=frozenset(),
        source_node=source.node,
        tried=frozenset(),
    )
    found = find(_at_best(cluster), constraints)
    plan = rank(source.source, found.openings, source.type)
    fitting = {c.opening.node for c in plan.candidates} | {r.opening.node for r in plan.rejections if r.no_capacity}
    if not fitting and not any(r.code in _MAY_PASS for r in found.rejections):
        return Outlook(hopeless=no_destination(rejected(plan, found.rejections)))
    return Outlook(label=_carried(cluster, source, fitting))


def _at_best(cluster: Cluster) -> Cluster:
    nodes = {name: replace(view, ready=True, schedulable=True) for name, view in cluster.nodes.items()}
    return replace(cluster, nodes=nodes, reservations={}, silent=lambda _node: None)


def _carried(cluster: Cluster, source: SourceDevice, nodes: Iterable[str]) -> str | None:
    name = class_of(source.source)
    if name is None:
        return None
    label = label_of(name)
    return label if any(cluster.nodes[node].labels.get(label) == "true" for node in nodes) else None
