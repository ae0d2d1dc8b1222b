"""An agent begins only when the one before it is really gone.

Until then it publishes nothing of its own, renews no Lease (so the node counts as silent, and migrations go elsewhere)
and carries nothing out; it says why in its log, and after a minute also in the condition Healthy of NodeDevices.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import structlog

from mdev_api.kinds.common import dump
from mdev_api.kinds.node_devices import NodeDevicesStatus
from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.requests import apply_status, get
from mdev_api.kube.resources import NODE_DEVICES
from mdev_node_agent.memory.sole import SoleUse
from mdev_node_agent.publishing.conditions import not_healthy
from mdev_node_agent.settings import FIELD_MANAGER

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
TELL_SECONDS = 60.0
"""From one telling to the next, and to the first on the API server: a Pod is replaced in less."""


async def take_over(sole: SoleUse, client: Client, node: str) -> None:
    """Wait until this agent alone has the state directory.

    A directory that cannot be made now is tried again with each reservation, and the reservation says so.
    """
    try:
        if sole.take():
            return
        why = (
            f"another agent of this node has {sole.directory}: one that has ended may still be inside a driver's call "
            "(a process in state D); reservations are carried out when it is gone, at the latest after a reboot"
        )
        log.warning("waiting", node=node, reason=why)
        next_word = time.monotonic() + TELL_SECONDS
        while not sole.take():
            if time.monotonic() >= next_word:
                next_word = time.monotonic() + TELL_SECONDS
                log.warning("still waiting", node=node, reason=why)
                await _tell(client, node, why)
            await asyncio.sleep(LOOK_SECONDS)
        log.info("the agent before is gone", node=node)
    except OSError as error:
        log.error("no lock on the state directory", node=node, reason=str(error))


async def _tell(client: Client, node: str, why: str) -> None:
    """Healthy=False on NodeDevices, and all else as it is; where there is none yet, the log must do."""
    try:
        seen = await client.send(get(NODE_DEVICES, node))
        status = NodeDevicesStatus.model_validate(seen.get("status", {}))
        told = status.model_copy(
            update={"conditions": not_healthy(status.conditions, "Waiting", why, datetime.now(UTC))}
        )
        if told != status:
            # Whoever has the directory may be writing too, and what he writes is newer.
            version = seen["metadata"]["resourceVersion"]
            await client.send(apply_status(NODE_DEVICES, node, dump(told), FIELD_MANAGER, resource_version=version))
    except (ApiError, Unreachable) as error:
        log.warning("not told on NodeDevices", node=node, reason=str(error))
