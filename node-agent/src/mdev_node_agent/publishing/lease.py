"""The agent's sign of life: a Lease named like the node, renewed each minute.

Others take a node whose Lease has not changed for five minutes for stale. A stop does not end the Lease: it expires.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import structlog

from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.requests import apply
from mdev_api.kube.resources import LEASES
from mdev_api.kube.times import micro_time
from mdev_node_agent.settings import FIELD_MANAGER

log = structlog.get_logger(__name__)

RENEW_SECONDS = 60.0
LEASE_SECONDS = 330
"""What the Lease says of its own duration: five minutes and a half (design section 6)."""


async def renew_for_ever(client: Client, node: str, namespace: str) -> None:
    """Renew until cancelled: at once, then each minute, jittered by a tenth; a failure is tried again sooner."""
    backoff = Backoff(initial=0.5, maximum=30.0)
    while True:
        spec = {
            "holderIdentity": node,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": micro_time(datetime.now(UTC)),
        }
        delay = RENEW_SECONDS * random.uniform(0.9, 1.1)
        try:
            await client.send(apply(LEASES, node, {"spec": spec}, FIELD_MANAGER, namespace))
            backoff.reset()
        except (ApiError, Unreachable) as error:
            delay = backoff.next(at_least=error.retry_after if isinstance(error, ApiError) else None)
            log.warning("the Lease is not renewed yet", node=node, namespace=namespace, reason=str(error))
        await asyncio.sleep(delay)
