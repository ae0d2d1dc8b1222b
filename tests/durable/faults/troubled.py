"""Both programs behind their proxies, and what the tests of faults ask of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from mdev_api.kube.requests import list_page
from mdev_api.kube.resources import EVENTS, NODE_RESERVATIONS
from tests.controlplane.control_plane import ControlPlane
from tests.faults.fault import EndWatch, ErrorEvent, Fault, Reset
from tests.faults.identities import Identity, agent_token, identity
from tests.faults.proxy import FaultProxy
from tests.faults.request import EVERYTHING, Match
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.simulated.cluster import Object, SimulatedCluster, gpu, instance
from tests.simulated.operator_process import OperatorProcess
from tests.waiting import eventually

PATIENCE = 60.0
"""Seconds for what waited through a fault to be done: pauses between tries grow with the fault."""

MOST = {"operator": 150, "agent": 60}
"""Requests of each program in a fault of three seconds. The operator has a dozen watches, each tried again after 0.2,
0.4, 0.8 ... seconds; whoever does not pause sends several hundred."""


@dataclass(kw_only=True)
class Troubled:
    """One test's cluster, agents and faults on the operator that its module shares."""

    plane: ControlPlane
    cluster: SimulatedCluster
    operator: OperatorProcess
    operator_identity: Identity
    to_operator: FaultProxy
    to_agents: FaultProxy
    identities: dict[str, Identity] = field(default_factory=dict)

    async def add_node(self, name: str = "a") -> MemoryKernel:
        """A node whose agent has the identity that ``deploy/`` gives it, and asks through the proxy."""
        await self.cluster.mark(name)
        full = self.cluster.full(name)
        token = agent_token(self.plane, full)
        made = identity(self.plane, self.cluster.directory, full, server=self.to_agents.server, token=token)
        self.identities[name] = made
        return await self.cluster.add_node(name, Gfx(), kubeconfig=made.kubeconfig)

    @property
    def proxies(self) -> tuple[FaultProxy, FaultProxy]:
        """The operator's and the agents'."""
        return self.to_operator, self.to_agents

    def end_watches(self, how: EndWatch | Reset | ErrorEvent) -> None:
        """End the watches that are open; each program has some."""
        for proxy in self.proxies:
            assert proxy.end_watches(how), f"no watch is open: {proxy.told()}"

    @contextmanager
    def both(self, fault: Fault) -> Iterator[None]:
        """The fault on both programs for the block; each must have met it by the end."""
        with ExitStack() as stack:
            for proxy in self.proxies:
                stack.enter_context(proxy.during(fault))
            yield

    async def lasts(self, seconds: float) -> None:
        """Let a fault last: what nobody does meanwhile has no other sign than time."""
        until = time.monotonic() + seconds

        async def over() -> bool:
            return time.monotonic() >= until

        await eventually(over, timeout=seconds + 20, what=f"{seconds:g} s to be over")

    async def is_ready(self, name: str = "m", node: str = "a") -> Object:
        """Wait until the migration is Ready, and there is one entry for it and one device, not two."""
        seen = await self.cluster.shows(name, "Ready", "True", timeout=PATIENCE)
        entries = await self.cluster.entries(node)
        assert len(entries) == 1, entries
        assert self.cluster.nodes[node].kernel.devices() == [instance(seen)]
        return seen

    async def met(self, proxy: FaultProxy, times: int, match: Match = EVERYTHING, *, did: str, since: float) -> None:
        """Wait until so many requests have met the fault since then (time.monotonic())."""

        async def look() -> bool:
            return proxy.count(match, did=did, since=since) >= times

        try:
            await eventually(look, timeout=PATIENCE, what=f"{times} requests of the {proxy.program} to meet {did}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; the last requests:\n{proxy.told()}") from None

    async def refused(self, proxy: FaultProxy, times: int, match: Match) -> None:
        """Wait until the API server itself has refused (403) so many of these requests from now on."""
        since = time.monotonic()

        async def look() -> bool:
            return sum(s.status == 403 for s in proxy.seen(match, since=since)) >= times

        try:
            await eventually(look, timeout=PATIENCE, what=f"{times} refusals to the {proxy.program}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; the last requests:\n{proxy.told()}") from None

    async def answered(self, proxy: FaultProxy, status: int, *, since: float) -> None:
        """Wait until the API server itself has answered a request so since then, with watches that end all the time."""

        async def look() -> bool:
            proxy.end_watches(Reset())
            return any(s.status == status and s.did == "forwarded" for s in proxy.seen(since=since))

        try:
            await eventually(look, timeout=PATIENCE, what=f"{status} to the {proxy.program}", interval=0.5)
        except TimeoutError as error:
            raise AssertionError(f"{error}; the last requests:\n{proxy.told()}") from None

    async def let_go(self, node: str) -> None:
        """Wait until nothing on the node is to be held any more."""
        await self.cluster.until(
            NODE_RESERVATIONS,
            self.cluster.full(node),
            "let go",
            lambda o: all(e["intent"] != "Hold" for e in o["spec"]["reservations"]),
        )

    async def told(self, name: str, words: str) -> None:
        """Wait until an Event of the migration says this."""
        full = self.cluster.full(name)

        async def look() -> bool:
            events = (await self.cluster.client.send(list_page(EVENTS, namespace="default")))["items"]
            return any(e["regarding"]["name"] == full and words in e["note"] for e in events)

        await eventually(look, timeout=PATIENCE, what=f"an Event of {full} that says {words!r}", interval=0.2)

    async def ask(self, name: str = "m", **spec: Any) -> None:
        """Make a migration that needs one device of 8192 MB."""
        await self.cluster.migrate(name, gpu(8192), **spec)

    def requests(self, *, since: float) -> dict[str, int]:
        """How many requests each program has sent since then (time.monotonic())."""
        return {p.program: p.count(since=since) for p in self.proxies}

    def ended(self) -> list[str]:
        """Which programs have ended that should run."""
        code = self.operator.ended()
        found = [] if code is None else [f"the operator ended with {code}; it said:\n{self.operator.log()[-4000:]}"]
        for name, node in self.cluster.nodes.items():
            if (error := node.ended_with()) is not None:
                found.append(f"the agent of {name} ended with {error!r}")
        return found
