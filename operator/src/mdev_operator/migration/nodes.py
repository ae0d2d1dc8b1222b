"""What becomes of a migration when one of its nodes is not well, or is gone for good (pure).

While an attempt is under way a destination that is stale, not Ready, cordoned or missing is given up like any other
that failed. From Ready on nothing is given up for that: the node may come back with the device as it was. Only a node
that is gone for good ends the migration.
"""

from __future__ import annotations

from collections.abc import Iterable

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.node_reservations import Intent, Role
from mdev_operator.inventory.cluster import Cluster, Held
from mdev_operator.migration import letting_go
from mdev_operator.migration.decision import Decision, Situation
from mdev_operator.migration.status import is_true


def unwell(cluster: Cluster, node: str) -> str | None:
    """Why this node is no destination just now, whatever it has; None: it is well."""
    view = cluster.nodes.get(node)
    if view is None:
        return f"there is no Node {node}"
    silent = cluster.silent(node)
    if silent is not None:
        return silent
    if not view.ready:
        return f"node {node} is not Ready"
    return None if view.schedulable else f"node {node} is cordoned"


def needs(migration: DeviceMigration, held: Iterable[Held], gone: frozenset[str]) -> str | None:
    """The node among those that are ``gone`` without which this migration cannot end well; None: it needs none.

    An entry of an attempt that was given up is on its way out already: the migration goes on elsewhere. From Ready on
    the destination and the source are needed, whatever their entries say, so that a round that broke off is repeated.
    """
    ready = is_true(migration.status.conditions, "Ready")
    if ready and migration.status.node in gone:
        return migration.status.node
    for one in held:
        if one.node in gone and (one.entry.intent is Intent.HOLD or (ready and one.entry.role is Role.SOURCE)):
            return one.node
    return None


def node_gone(s: Situation, node: str) -> Decision:
    """A node that the migration needs is gone for good: everything is let go as far as that is provably safe."""
    message = f"node {node} is gone: the API server has known no such Node for longer than it may be away"
    if not is_true(s.migration.status.conditions, "Ready"):
        return letting_go.let_go(s, letting_go.not_ready, "NodeGone", message)
    return letting_go.let_go(s, letting_go.if_unused, "NodeGone", message)
