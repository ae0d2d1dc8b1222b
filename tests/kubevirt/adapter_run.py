"""The adapter alone, as one operator process runs it, and a double of the part that plans and prepares.

The double answers a DeviceMigration as the operator does: Ready on a node, or reasons until the deadline; Finished once
the outcome is told. So what is tested is the adapter, against a real API server and scheduler, and it can be killed at
any of its writes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kube import times
from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import Request, apply_status, list_page
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from mdev_operator.context import Context
from mdev_operator.kubevirt.adapter import Adapter, reconcile
from mdev_operator.kubevirt.decide import Patience
from mdev_operator.kubevirt.manager import KubeVirtConfig
from mdev_operator.kubevirt.watching import Watching
from mdev_operator.workqueue import WorkQueue

Object = dict[str, Any]


class Killed(BaseException):
    """The process is gone."""


@dataclass(frozen=True, kw_only=True)
class Death:
    """Killed at write ``number`` (from 0), just before it is sent or just after it arrived."""

    number: int
    after: bool


@contextlib.asynccontextmanager
async def adapter(
    client: Client,
    patience: Patience,
    *,
    death: Death | None = None,
    devices: Sequence[NodeDevices] = (),
    kubevirt: KubeVirtConfig | None = None,
) -> AsyncIterator[asyncio.Task[None]]:
    """One process with the adapter, until the block ends or it dies. It knows of these devices and of this KubeVirt."""
    writes: list[str] = []
    queue = WorkQueue(new_backoff=lambda: Backoff(initial=0.1, maximum=0.5))
    watching = Watching(client, queue.add, interval=0.5)
    running = Adapter(watching=watching, patience=patience)

    async def send(request: Request) -> Object:
        if request.method == "GET":
            return await client.send(request)
        mine = death is not None and death.number == len(writes)
        writes.append(str(request))
        if mine and death is not None and not death.after:
            raise Killed(str(request))
        answer = await client.send(request)
        if mine:
            raise Killed(str(request))
        return answer

    cluster = SimpleNamespace(devices={d.node: d for d in devices}, kubevirt=kubevirt)
    inventory = SimpleNamespace(cluster=lambda: cluster)
    ctx = cast(Context, SimpleNamespace(send=send, inventory=inventory, queue=queue))

    async def handle(key: str) -> None:
        _, namespace, name = key.split("/")
        await reconcile(ctx, running, namespace, name)

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(watching.run())
            group.create_task(queue.run(handle))

    task = asyncio.create_task(work())
    try:
        yield task
        if task.done() and death is None:
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await task


@dataclass(kw_only=True)
class Planner:
    """``destination``: node that each migration of the namespace becomes Ready on; None: it has ``rejected``."""

    client: Client
    namespace: str
    destination: str | None = None
    rejected: list[Object] = field(default_factory=list)
    lost: bool = False

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            for migration in (await self.client.send(list_page(DEVICE_MIGRATIONS, namespace=self.namespace)))["items"]:
                await self._answer(migration)
            await asyncio.sleep(0.05)

    async def _answer(self, migration: Object) -> None:
        status = self._status(migration)
        if status is None or status == migration.get("status"):
            return
        name = migration["metadata"]["name"]
        try:
            await self.client.send(apply_status(DEVICE_MIGRATIONS, name, status, "mdev-operator", self.namespace))
        except ApiError as error:
            if not error.not_found:
                raise

    def _status(self, migration: Object) -> Object | None:
        spec, before = migration["spec"], migration.get("status") or {}
        conditions = {c["type"]: c for c in before.get("conditions", ())}
        if "Finished" in conditions:
            return None
        age = datetime.now(UTC) - times.parse(migration["metadata"]["creationTimestamp"])
        superseded = "mdev-operator.io/superseded-by" in migration["metadata"].get("annotations", {})
        if spec.get("outcome"):
            reason = "Superseded" if superseded else spec["outcome"]
            return self._with(before, _condition("Finished", "True", reason, "the outcome was told"))
        if spec.get("started") and self.lost:
            return self._with(before, _condition("Overdue", "True", "DestinationLost", "it was 4096 and not 8192"))
        if spec.get("started") or conditions.get("Ready", {}).get("status") == "True":
            return None
        if self.destination is not None:
            ready = _condition("Ready", "True", "Prepared", "prepared")
            return {**self._with(before, ready), "node": self.destination}
        if age.total_seconds() > spec["deadlineSeconds"]:
            return self._with(before, _condition("Finished", "True", "Deadline", "not Ready in time; no node takes it"))
        said = self._with(before, _condition("Ready", "False", "NoDestination", "no node takes it"))
        return {**said, "rejected": self.rejected} if not conditions else None

    def _with(self, status: Object, condition: Object) -> Object:
        others = [c for c in status.get("conditions", ()) if c["type"] != condition["type"]]
        return {**status, "conditions": sorted([*others, condition], key=lambda c: str(c["type"]))}


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    moment = times.time(datetime.now(UTC))
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": moment}
