"""kopf's part: it watches what people create, logs in, answers probes, and ends when told. It decides nothing.

``on.event`` keeps no state on objects, sets no finalizer and retries nothing: it only puts a key into the queue, and
the level-based reconcile does the rest (facts: index and handlers with state cost a write for each object).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import kopf

from mdev_api.kube.credentials import Credentials, TokenFile
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from mdev_operator.migration.reconcile import key_for
from mdev_operator.workqueue import WorkQueue


class EndlessBackoff:
    """Pauses between tries of kopf's requests: it must never give up, because it would end the process."""

    def __iter__(self) -> Iterator[float]:
        delay = 1.0
        while True:
            yield delay * random.uniform(0.8, 1.2)
            delay = min(delay * 2, 30.0)


def registry(queue: WorkQueue, credentials: Credentials) -> kopf.OperatorRegistry:
    """The handlers of one operator process."""
    handlers = kopf.OperatorRegistry()

    # A token file that is missing for a moment is read again soon, not after kopf's usual minute.
    @kopf.on.login(registry=handlers, backoff=1.0)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(credentials)

    resource = DEVICE_MIGRATIONS

    @kopf.on.event(resource.group, resource.version, resource.plural, registry=handlers)
    async def migration_changed(namespace: str | None, name: str | None, **_: Any) -> None:
        if name is not None:
            queue.add(key_for(namespace, name))

    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf's settings: no peering (our own Lease elects), no Events of its own, endless patience."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.networking.error_backoffs = EndlessBackoff()
    chosen.networking.request_timeout = 30
    return chosen


def connection_info(credentials: Credentials) -> kopf.ConnectionInfo:
    """The same identity that our own client uses; asked again after each 401."""
    token = credentials.token.read() if isinstance(credentials.token, TokenFile) else credentials.token
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_data=credentials.ca,
        token=token,
        certificate_data=credentials.client_certificate,
        private_key_data=credentials.client_key,
    )
