"""Why a node, or one place on it, is out of question before parameters are compared."""

from __future__ import annotations

from dataclasses import dataclass

from mdev_api.engine.metadata import Code
from mdev_api.kinds.node_devices import NodeInstance
from mdev_operator.inventory.cluster import Cluster, ProfileView


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRejection:
    """One reason of one node: ``code`` for programs, ``message`` for people."""

    node: str
    code: str
    message: str


def readable(cluster: Cluster, node: str, what: str, profile: str) -> ProfileView | NodeRejection:
    """The profile of an offer or instance (``what``), with what it means; or that it cannot be known."""
    view = cluster.profiles.get(profile)
    if view is None:
        message = f"{what} refers to DeviceProfile {profile}, which does not exist"
        return NodeRejection(node=node, code="ProfileMissing", message=message)
    if view.metadata is None:
        message = f"DeviceProfile {profile} of {what} was not read yet"
        return NodeRejection(node=node, code="ProfileMissing", message=message)
    return view


def unreadable(node: str, what: str, instance: NodeInstance) -> NodeRejection:
    """An instance whose values are not all known."""
    names = ", ".join(u.name for u in instance.unreadable)
    return NodeRejection(node=node, code=Code.UNREADABLE.value, message=f"{what} {instance.id} cannot be read: {names}")
