"""Writes NodeDevices and the DeviceProfiles that it refers to: profiles first, only what changed, never lost.

The first change goes out at once, followers are gathered for a second. A profile is created, or, where its name is
taken, compared: one whose stored content differs is refused (ProfileRefused), and its offer is not shown. One that
was seen is not asked for again until :meth:`Publisher.check_again`. Whatever the API server or the network answers, the
newest inventory is tried again after a jittered pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from mdev_api.kinds.common import dump
from mdev_api.kinds.node_devices import NodeDevicesStatus
from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.requests import apply_status, create, get
from mdev_api.kube.resources import DEVICE_PROFILES, NODE_DEVICES
from mdev_node_agent.publishing.conditions import conditions
from mdev_node_agent.publishing.inventory import Inventory, take_stock
from mdev_node_agent.seeing.sight import Sight
from mdev_node_agent.settings import FIELD_MANAGER

log = structlog.get_logger(__name__)

GATHER_SECONDS = 1.0

LATE_SECONDS = 75.0
"""After a write without an answer: the API server ends each request after a minute, so by then it came, or never will.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    sight: Sight
    managed: frozenset[str] = field(default_factory=frozenset)
    blocked: frozenset[str] = field(default_factory=frozenset)


class Publisher:
    """The inventory of one node on its way to the API server."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._wanted: _Wanted | None = None
        self._known: set[str] = set()
        self._refused: dict[str, str] = {}
        self._stored: dict[str, Any] | None = None
        self._wake = asyncio.Event()

    def publish(self, sight: Sight, *, managed: Collection[str], blocked: Collection[str]) -> None:
        """This is what there is now. Returns at once."""
        self._wanted = _Wanted(sight=sight, managed=frozenset(managed), blocked=frozenset(blocked))
        self._wake.set()

    def check_again(self) -> None:
        """Somebody may have changed or deleted what we wrote: ask the API server for everything once more."""
        self._known.clear()
        self._refused.clear()
        self._stored = None
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        backoff = Backoff(initial=0.2, maximum=30.0)
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._wanted is None:
                continue
            try:
                written = await self._publish(self._wanted)
            except (ApiError, Unreachable) as error:
                delay = backoff.next(at_least=error.retry_after if isinstance(error, ApiError) else None)
                log.warning("not published yet", node=self._node, reason=str(error), retry_in=round(delay, 2))
                self._wake.set()
                await asyncio.sleep(delay)
                continue
            backoff.reset()
            if written:
                await asyncio.sleep(GATHER_SECONDS)

    async def _publish(self, wanted: _Wanted) -> bool:
        """Write what differs from what is stored; False: nothing does."""
        stock = take_stock(wanted.sight, managed=wanted.managed, refused=self._refused)
        for name, spec in stock.profiles.items():
            await self._ensure_profile(name, spec)
        if self._refused.keys() & stock.profiles.keys():
            stock = take_stock(wanted.sight, managed=wanted.managed, refused=self._refused)
        if self._stored is None:
            self._stored = await self._ensure_object()
        status = self._status(stock, wanted.blocked)
        if status == self._stored:
            return False
        try:
            answer = await self._client.send(apply_status(NODE_DEVICES, self._node, status, FIELD_MANAGER))
        except ApiError as error:
            if error.not_found:
                self.check_again()
            elif error.status >= 500:
                self._stored = None
            raise
        except Unreachable:
            # It may have been carried out: what is stored must be read before anything is compared with it again. Or it
            # will be, after that, and replace what is newer.
            self._read_again()
            asyncio.get_running_loop().call_later(LATE_SECONDS, self._read_again)
            raise
        self._stored = answer.get("status", {})
        log.info(
            "published",
            node=self._node,
            parents=len(stock.status.parents),
            instances=len(stock.status.instances),
            told=len(stock.told),
        )
        return True

    def _read_again(self) -> None:
        self._stored = None
        self._wake.set()

    def _status(self, stock: Inventory, blocked: frozenset[str]) -> dict[str, Any]:
        earlier = NodeDevicesStatus.model_validate(self._stored or {}).conditions
        now = conditions(earlier, stock.told, blocked, datetime.now(UTC))
        return dump(stock.status.model_copy(update={"conditions": now}))

    async def _ensure_object(self) -> dict[str, Any]:
        """The status that is stored; NodeDevices is created if it is not there."""
        try:
            stored = await self._client.send(get(NODE_DEVICES, self._node))
        except ApiError as error:
            if not error.not_found:
                raise
            stored = await self._client.send(create(NODE_DEVICES, {"metadata": {"name": self._node}}))
        status: dict[str, Any] = stored.get("status", {})
        return status

    async def _ensure_profile(self, name: str, spec: Mapping[str, Any]) -> None:
        if name in self._known:
            return
        body = {"metadata": {"name": name}, "spec": spec}
        try:
            try:
                stored = await self._client.send(create(DEVICE_PROFILES, body))
            except ApiError as error:
                if not error.already_exists:
                    raise
                stored = await self._client.send(get(DEVICE_PROFILES, name))
        except ApiError as error:
            if not error.invalid:
                raise
            self._refuse(name, f"ProfileRefused: the API server does not take DeviceProfile {name}: {error.message}")
            return
        if stored.get("spec") != spec:
            self._refuse(name, f"ProfileRefused: the DeviceProfile {name} that is stored has other content: delete it")
            return
        self._known.add(name)

    def _refuse(self, name: str, why: str) -> None:
        log.error("profile refused", node=self._node, profile=name, reason=why)
        self._refused[name] = why
