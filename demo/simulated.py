"""Nodes without qemu: the real agent on a kernel in memory, each in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from demo.nodes import CARDS, RESCAN_SECONDS, Card
from mdev_node_agent.run import run
from mdev_node_agent.settings import RunSettings
from tests.controlplane.control_plane import ControlPlane
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty


def kernel_with(cards: Sequence[Card]) -> MemoryKernel:
    """A kernel in memory with these cards."""
    drivers: list[Gfx | Mtty] = []
    for card in cards:
        if card.driver == "mtty":
            drivers.append(Mtty())
        else:
            drivers.append(Gfx(types=card.types or None, memory_allowed=card.memory_allowed or None))
    return MemoryKernel(drivers=drivers)


class SimulatedNode:
    """One kernel and the agent on it."""

    def __init__(self, name: str, settings: RunSettings, log: Path) -> None:
        self.name = name
        self._log = log
        self._settings = settings
        self._kernel = kernel_with(CARDS[name])
        self._loop = asyncio.new_event_loop()
        self._agent: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"agent of {name}", daemon=True)

    def run_agent(self, *, lying: bool) -> None:
        """See :class:`demo.nodes.Node`."""
        shown = kernel_with(CARDS[self.name]) if lying else self._kernel
        self._thread.start()

        def begin() -> None:
            self._agent = self._loop.create_task(run(self._settings, port=shown, source=shown))

        self._loop.call_soon_threadsafe(begin)

    def hold(self, instance: str) -> Callable[[], None]:
        """See :class:`demo.nodes.Node`."""
        self._kernel.open_device(instance)
        return lambda: self._kernel.close_device(instance)

    def dump_tree(self) -> str:
        """See :class:`demo.nodes.Node`."""
        return self._kernel.dump_tree()

    def agent_log(self) -> str:
        """See :class:`demo.nodes.Node`."""
        agent = self._agent
        if agent is not None and agent.done() and not agent.cancelled():
            return f"the agent ended: {agent.exception()!r}"
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return "\n".join([line for line in lines if self.name in line][-20:])

    def stop(self) -> None:
        """End the agent and its thread."""

        async def end() -> None:
            if self._agent is not None:
                self._agent.cancel()
                with suppress(asyncio.CancelledError):
                    await self._agent

        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(end(), self._loop).result(timeout=20)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=20)
        self._loop.close()


@contextmanager
def simulated_nodes(directory: Path, plane: ControlPlane) -> Iterator[dict[str, SimulatedNode]]:
    """All nodes of the demo; their agents are ended at the end."""
    nodes = {}
    log = directory / "agents.log"
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(log.open("w", encoding="utf-8")))
    for name in CARDS:
        kubeconfig = plane.kubeconfig_for(f"agent-{name}", ["system:masters"])
        settings = RunSettings(
            node=name, kubeconfig=kubeconfig, state_dir=directory / name, rescan_seconds=RESCAN_SECONDS
        )
        nodes[name] = SimulatedNode(name, settings, log)
    try:
        yield nodes
    finally:
        for node in nodes.values():
            node.stop()
