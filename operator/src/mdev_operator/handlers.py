"""kopf's part: it watches what people create, and logs in. It decides nothing.

``on.event`` keeps no state on objects, sets no finalizer and retries nothing: it only puts a key into the queue, and
the level-based reconcile does the rest (facts: index and handlers with state cost a write for each object).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from mdev_api.kube.credentials import Credentials, TokenFile
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from mdev_operator.migration.reconcile import key_for


class EndlessBackoff:
    """Pauses between tries of kopf's requests: it must never give up, because it would end the process."""

    def __iter__(self) -> Iterator[float]:
        delay = 1.0
        while True:
            yield delay * random.uniform(0.8, 1.2)
            delay = min(delay * 2, 30.0)


def registry(add: Callable[[str], None], credentials: Credentials) -> kopf.OperatorRegistry:
    """The handlers of one life of kopf."""
    handlers = kopf.OperatorRegistry()

    # A token file that is missing for a moment is read again soon, not after kopf's usual minute.
    @kopf.on.login(registry=handlers, backoff=1.0)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(credentials)

    resource = DEVICE_MIGRATIONS

    @kopf.on.event(resource.group, resource.version, resource.plural, registry=handlers)
    async def migration_changed(namespace: str | None, name: str | None, **_: Any) -> None:
        if name is not None:
            add(key_for(namespace, name))

    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf's settings: no peering (our own Lease elects), no Events of its own, endless patience."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.networking.error_backoffs = EndlessBackoff()
    chosen.networking.request_timeout = 30
    # By default the process is killed ten minutes after kopf has ended, for whatever reason.
    chosen.process.ultimate_exiting_timeout = None
    return chosen


def connection_info(credentials: Credentials) -> kopf.ConnectionInfo:
    """The same identity that our own client uses; asked again after each 401."""
    token = credentials.token
    if isinstance(token, TokenFile):
        # One of its own: kopf's thread is not the one of our client.
        token = TokenFile(token.path).read()
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_data=credentials.ca,
        token=token,
        certificate_data=credentials.client_certificate,
        private_key_data=credentials.client_key,
    )
