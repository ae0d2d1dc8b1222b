"""Nodes that are real: Debian's kernel under qemu, each with the agent from this checkout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from demo.nodes import CARDS, RESCAN_SECONDS, Card
from tests.controlplane.control_plane import ControlPlane
from tests.kernel.guest.guest import Guest
from tests.kernel.guest.prepare import compile_python, prepare
from tests.kernel.guest.process import Process

CHECKOUT = Path(__file__).resolve().parents[1]


class GuestNode:
    """A guest and the agent in it."""

    def __init__(self, name: str, guest: Guest, kubeconfig: Path) -> None:
        self.name = name
        self._guest = guest
        self._kubeconfig = kubeconfig
        self._agent: Process | None = None

    def run_agent(self, *, lying: bool) -> None:
        """See :class:`demo.nodes.Node`."""
        module = "demo.lying_agent" if lying else "mdev_node_agent"
        options = f"--node-name {self.name} --kubeconfig {self._kubeconfig} --state-dir /run/mdev-node-agent"
        options += f" --rescan-seconds {RESCAN_SECONDS}"
        python = f"PYTHONPATH={CHECKOUT} {sys.executable}"
        command = f"{python} -m {module} run {options} --in-use process --log-format console"
        self._agent = self._guest.start(command, "agent")

    def hold(self, instance: str) -> Callable[[], None]:
        """See :class:`demo.nodes.Node`."""
        return self._guest.hold(instance).kill

    def dump_tree(self) -> str:
        """See :class:`demo.nodes.Node`."""
        return self._guest.dump_tree()

    def agent_log(self) -> str:
        """See :class:`demo.nodes.Node`."""
        return self._agent.log()[-3000:] if self._agent is not None else "(no agent was started)"


@contextmanager
def guest_nodes(directory: Path, plane: ControlPlane) -> Iterator[dict[str, GuestNode]]:
    """Boot all guests at once; they are switched off at the end."""
    images = prepare()
    compile_python()

    def boot(name: str) -> Guest:
        modules = [_spec(card) for card in CARDS[name]]
        return Guest.boot(directory / name, name=name, modules=modules, images=images)

    with ExitStack() as running, ThreadPoolExecutor() as pool:
        nodes = {}
        booting = {name: pool.submit(boot, name) for name in CARDS}
        for name, future in booting.items():
            guest = running.enter_context(future.result())
            server = plane.guest_server
            kubeconfig = plane.kubeconfig_for(f"agent-{name}", ["system:masters"], server=server)
            own = guest.share / "kubeconfig"
            own.write_bytes(kubeconfig.read_bytes())
            nodes[name] = GuestNode(name, guest, Path(guest.guest_share) / "kubeconfig")
        yield nodes


def _spec(card: Card) -> str:
    words = [card.driver]
    if card.types:
        words.append(f"types={','.join(card.types)}")
    if card.memory_allowed:
        words.append(f"memory_allowed={','.join(map(str, card.memory_allowed))}")
    return " ".join(words)
