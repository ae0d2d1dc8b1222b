"""Nodes without qemu: the real agent on a kernel in memory, each in a thread with an event loop of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from demo.nodes import CARDS, RESCAN_SECONDS, Card
from tests.controlplane.control_plane import ControlPlane
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty
from tests.simulated.node import SimulatedNode


def kernel_with(cards: Sequence[Card]) -> MemoryKernel:
    """A kernel in memory with these cards."""
    drivers: list[Gfx | Mtty] = []
    for card in cards:
        if card.driver == "mtty":
            drivers.append(Mtty())
        else:
            drivers.append(Gfx(types=card.types or None, memory_allowed=card.memory_allowed or None))
    return MemoryKernel(drivers=drivers)


class MemoryNode:
    """A simulated node as the demo's script sees it."""

    def __init__(self, node: SimulatedNode, log: Path) -> None:
        self.name = node.name
        self._node = node
        self._log = log

    def run_agent(self, *, lying: bool) -> None:
        """See :class:`demo.nodes.Node`."""
        self._node.start(rescan_seconds=RESCAN_SECONDS, shown=kernel_with(CARDS[self.name]) if lying else None)

    def hold(self, instance: str) -> Callable[[], None]:
        """See :class:`demo.nodes.Node`."""
        self._node.kernel.open_device(instance)
        return lambda: self._node.kernel.close_device(instance)

    def dump_tree(self) -> str:
        """See :class:`demo.nodes.Node`."""
        return self._node.kernel.dump_tree()

    def agent_log(self) -> str:
        """See :class:`demo.nodes.Node`."""
        error = self._node.ended_with()
        if error is not None:
            return f"the agent ended: {error!r}"
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return "\n".join([line for line in lines if self.name in line][-20:])


@contextmanager
def simulated_nodes(directory: Path, plane: ControlPlane) -> Iterator[dict[str, MemoryNode]]:
    """All nodes of the demo; their agents are ended at the end."""
    log = directory / "agents.log"
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(log.open("w", encoding="utf-8")))
    nodes = []
    for name, cards in CARDS.items():
        kubeconfig = plane.kubeconfig_for(f"agent-{name}", ["system:masters"])
        nodes.append(SimulatedNode(name, kernel_with(cards), kubeconfig=kubeconfig, state_dir=directory / name))
    try:
        yield {node.name: MemoryNode(node, log) for node in nodes}
    finally:
        for node in nodes:
            node.stop()
