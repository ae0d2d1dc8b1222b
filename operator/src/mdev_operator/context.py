"""What every shell of the operator needs: the cluster, a way to write that checks who leads, and the queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mdev_api.kube.client import Client
from mdev_api.kube.requests import Request
from mdev_operator.classes.state import ClassState
from mdev_operator.inventory.absences import Absences
from mdev_operator.inventory.inventory import Inventory
from mdev_operator.leading.elector import Elector, LeadershipLost
from mdev_operator.profiles.suspects import Evidence
from mdev_operator.reservations import Send
from mdev_operator.workqueue import WorkQueue

FIELD_MANAGER = "mdev-operator"

NODE_GONE_AFTER = 1800.0
"""Seconds that a Node may be missing before what needs it ends (design section 6)."""

UNREFERENCED_AFTER = 86400.0
"""Seconds that a DeviceProfile may be unreferenced before it is deleted."""

LOOK_INTERVAL = 3600.0
"""Seconds between two looks for unreferenced profiles."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """``fence()`` is that of the term as it is now. ``following``: queue keys to handle when the cluster changes.

    ``absences``: Nodes that live GETs do not find, ``unreferenced``: profiles that nothing names, both with since when.
    ``told``: names of Events that this process has posted, by the queue key that they were posted for.
    """

    send: Send
    inventory: Inventory
    queue: WorkQueue
    fence: Callable[[], int]
    following: set[str] = field(default_factory=set)
    written_at: dict[str, float] = field(default_factory=dict)
    classes: ClassState = field(default_factory=ClassState)
    absences: Absences = field(default_factory=lambda: Absences(after=NODE_GONE_AFTER))
    unreferenced: Absences = field(default_factory=lambda: Absences(after=UNREFERENCED_AFTER, most=LOOK_INTERVAL))
    evidence: Evidence = field(default_factory=Evidence)
    told: dict[str, set[str]] = field(default_factory=dict)


def guarded(client: Client, elector: Elector) -> Send:
    """``client.send`` that begins no write once this process does not surely lead any more (LeadershipLost)."""

    async def send(request: Request) -> dict[str, Any]:
        if request.method != "GET" and not elector.still_leading():
            raise LeadershipLost(f"not leading any more: {request} was not sent")
        return await client.send(request)

    return send
