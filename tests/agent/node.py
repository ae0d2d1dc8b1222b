"""A node of a test as the API server has it, and a simulated one: the real agent on a kernel in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import create, get, json_patch
from mdev_api.kube.resources import NAMESPACES, NODE_DEVICES, NODE_RESERVATIONS
from mdev_node_agent.backends.backend import Backend
from mdev_node_agent.run import run
from mdev_node_agent.settings import Deadlines, RunSettings
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

DEADLINES = Deadlines(call=2.0, remove=0.5)


@dataclass(kw_only=True)
class NodeObjects:
    """What the API server has of one node, read and written with ``client``."""

    name: str
    client: Client

    async def status(self) -> dict[str, Any]:
        """Status of NodeDevices; empty if there is none yet."""
        return await self._status(NODE_DEVICES)

    async def instances(self) -> dict[str, dict[str, Any]]:
        """Instances that NodeDevices shows, by id."""
        return {instance["id"]: instance for instance in (await self.status()).get("instances", ())}

    async def _status(self, resource: Any) -> dict[str, Any]:
        try:
            status: dict[str, Any] = (await self.client.send(get(resource, self.name))).get("status", {})
        except ApiError as error:
            if not error.not_found:
                raise
            return {}
        return status

    async def profile(self, parent: str, type_id: str) -> str:
        """Name of the profile of an offer, when it is there."""

        async def look() -> str | None:
            parents = (await self.status()).get("parents", ())
            offers = [o for p in parents if p["name"] == parent for o in p.get("offers", ())]
            return next((o["profile"] for o in offers if o["type"] == type_id), None)

        return await eventually(look, timeout=10, what=f"an offer {type_id} on {parent}")

    async def reserve(self, *entries: dict[str, Any]) -> None:
        """Add entries, as the operator does it."""
        try:
            await self.client.send(create(NODE_RESERVATIONS, {"metadata": {"name": self.name}, "spec": {"fence": 0}}))
        except ApiError as error:
            if not error.already_exists:
                raise
        operations = [{"op": "add", "path": "/spec/reservations/-", "value": entry} for entry in entries]
        await self.client.send(json_patch(NODE_RESERVATIONS, self.name, operations))

    async def tell(self, intent: str, *, index: int = 0) -> None:
        """Change the intent of the entry at this place."""
        path = f"/spec/reservations/{index}/intent"
        await self.client.send(
            json_patch(NODE_RESERVATIONS, self.name, [{"op": "replace", "path": path, "value": intent}])
        )

    async def reservations(self) -> dict[str, Any]:
        """NodeReservations as it is."""
        return await self.client.send(get(NODE_RESERVATIONS, self.name))

    async def answer(self, entry_id: str) -> dict[str, Any] | None:
        """The agent's answer to an entry."""
        answers = (await self._status(NODE_RESERVATIONS)).get("reservations", ())
        return next((answer for answer in answers if answer["id"] == entry_id), None)

    async def answered(self, entry_id: str, *states: str, timeout: float = 10) -> dict[str, Any]:
        """Wait until the answer has one of these states (or ``waiting`` reasons)."""

        async def look() -> dict[str, Any] | None:
            answer = await self.answer(entry_id)
            there = answer is not None and (answer["state"] in states or answer.get("waiting") in states)
            return answer if there else None

        return await eventually(look, timeout=timeout, what=f"{entry_id} of {self.name} to be {' or '.join(states)}")


@dataclass(kw_only=True)
class Node(NodeObjects):
    """A simulated node: its kernel, and the agent's settings."""

    kernel: MemoryKernel
    kubeconfig: Path
    state_dir: Path
    kubelet_dir: Path | None = None
    hook_socket: Path | None = None
    serve: tuple[str, ...] = ()
    facts_dir: Path | None = None

    @asynccontextmanager
    async def agent(
        self, *, rescan_seconds: float = 3600.0, backends: Sequence[Backend] | None = None
    ) -> AsyncIterator[asyncio.Task[None]]:
        """The agent of this node, running within the block."""
        settings = RunSettings(
            node=self.name,
            kubeconfig=self.kubeconfig,
            state_dir=self.state_dir,
            rescan_seconds=rescan_seconds,
            kubelet_dir=self.kubelet_dir,
            hook_socket=self.hook_socket,
            serve=self.serve,
            facts_dir=self.facts_dir,
        )
        work = run(settings, port=self.kernel, backends=backends, source=self.kernel, deadlines=DEADLINES)
        task = asyncio.create_task(work)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def ensure_namespace(client: Client, name: str = "mdev-node-agent") -> None:
    """Make the namespace of the agents' Leases."""
    try:
        await client.send(create(NAMESPACES, {"metadata": {"name": name}}))
    except ApiError as error:
        if not error.already_exists:
            raise
