"""Writes the status of NodeReservations: at once, by server-side apply, retried for ever, skipped when equal.

An answer is never delayed and never lost: whatever the API server or the network says, the newest answers are sent
again after a jittered pause. Answers to entries that do not stand any more are dropped with the next write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import structlog

from mdev_api.kinds.common import dump
from mdev_api.kinds.node_reservations import EntryAnswer, NodeReservationsStatus
from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.requests import apply_status
from mdev_api.kube.resources import NODE_RESERVATIONS
from mdev_node_agent.settings import FIELD_MANAGER

log = structlog.get_logger(__name__)


class Answers:
    """The answers of one node, and their way to the API server."""

    def __init__(self, client: Client, node: str, boot_id: str) -> None:
        self._client = client
        self._node = node
        self._boot_id = boot_id
        self._given: dict[str, EntryAnswer] = {}
        self._standing: tuple[str, ...] = ()
        self._written: dict[str, Any] | None = None
        self._wake = asyncio.Event()

    @property
    def given(self) -> Mapping[str, EntryAnswer]:
        """The newest answer to each entry, by id."""
        return MappingProxyType(self._given)

    def adopt(self, answers: Mapping[str, EntryAnswer]) -> None:
        """Take on what an earlier process of this node answered; what this one has answered itself counts more."""
        self._given = {**answers, **self._given}

    def stand(self, entries: tuple[str, ...], stored: Mapping[str, Any] | None) -> None:
        """These entries stand now, and ``stored`` is the status that the API server has; None: there is no object."""
        self._standing = entries
        self._given = {key: answer for key, answer in self._given.items() if key in entries}
        self._written = None if stored is None else dict(stored)
        self._wake.set()

    def give(self, answer: EntryAnswer) -> bool:
        """Answer an entry; False if that is the answer already."""
        if self._given.get(answer.id) == answer:
            return False
        self._given[answer.id] = answer
        self._wake.set()
        return True

    async def run(self) -> None:
        """Write answers as they come until cancelled."""
        backoff = Backoff(initial=0.1, maximum=10.0)
        while True:
            await self._wake.wait()
            self._wake.clear()
            status = self._status()
            if self._written is None or status == self._written:
                continue
            try:
                stored = await self._client.send(apply_status(NODE_RESERVATIONS, self._node, status, FIELD_MANAGER))
            except ApiError as error:
                if error.not_found:
                    continue
                await self._pause(backoff, error, error.retry_after)
            except Unreachable as error:
                await self._pause(backoff, error, None)
            else:
                self._written = stored.get("status", {})
                backoff.reset()

    def _status(self) -> dict[str, Any]:
        answers = tuple(self._given[key] for key in self._standing if key in self._given)
        return dump(NodeReservationsStatus(boot_id=self._boot_id, reservations=answers))

    async def _pause(self, backoff: Backoff, error: Exception, retry_after: float | None) -> None:
        delay = backoff.next(at_least=retry_after)
        log.warning("answers are not written yet", node=self._node, reason=str(error), retry_in=round(delay, 2))
        self._wake.set()
        await asyncio.sleep(delay)
