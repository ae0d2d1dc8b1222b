"""A reflector of a resource that the cluster may not have: looked for at the start and each minute, then followed."""

from __future__ import annotations

import asyncio

import structlog

from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.reflector import Reflector
from mdev_api.kube.requests import Request

log = structlog.get_logger(__name__)

LOOK_INTERVAL = 60.0
"""Seconds between two looks whether the API server serves the resource by now."""


class OptionalReflector:
    """Runs ``reflector`` once its resource is there; a resource that goes again is waited for by the reflector."""

    def __init__(self, client: Client, reflector: Reflector, *, interval: float = LOOK_INTERVAL) -> None:
        self.synced = asyncio.Event()
        """Set once it is known what there is: also when the resource is not served. Never cleared."""
        self.resource = reflector.resource
        self._client = client
        self._reflector = reflector
        self._interval = interval

    async def run(self) -> None:
        """Look and follow until cancelled."""
        served = await self._is_served()
        if not served:
            log.info("the API server does not serve it, so what needs it is off", resource=str(self.resource))
        while not served:
            self.synced.set()
            await asyncio.sleep(self._interval)
            served = await self._is_served()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reflector.run())
            await self._reflector.synced.wait()
            self.synced.set()

    async def _is_served(self) -> bool:
        """Ask until there is an answer. Everybody may ask what is served, so that no right is needed before it is."""
        request = Request(method="GET", path=f"/apis/{self.resource.api_version}")
        backoff = Backoff(initial=0.2, maximum=30.0)
        while True:
            try:
                answer = await self._client.send(request)
                return any(r.get("name") == self.resource.plural for r in answer.get("resources") or ())
            except ApiError as error:
                if error.not_found:
                    return False
                failure: Exception = error
            except Unreachable as error:
                failure = error
            delay = backoff.next()
            log.warning(
                "cannot tell whether the API server serves it, trying again",
                resource=str(self.resource),
                reason=str(failure),
                retry_in=round(delay, 2),
            )
            await asyncio.sleep(delay)
