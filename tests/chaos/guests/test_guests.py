"""A small run of chaos in two guests: real kernels, real mediated devices, agents that SIGKILL really ends.

The script is fixed: the driver's faults decide where an agent is when it is killed. The invariants are those of the
long runs on simulated nodes (tests/chaos), looked at in the guests' own sysfs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.resources import NODE_DEVICES
from tests.chaos.dumps import dump_world
from tests.chaos.guests.guest_node import GuestNode
from tests.chaos.invariants import violations
from tests.chaos.mover import Mover
from tests.chaos.plan import Ending, Move
from tests.chaos.stories import Register, Vm
from tests.controlplane.control_plane import ControlPlane
from tests.kernel.conftest import BootGuest
from tests.simulated.cluster import AGENT_NAMESPACE, SimulatedCluster, ensure_namespaces
from tests.simulated.operator_process import OperatorProcess
from tests.waiting import eventually

START_SECONDS = 300
"""Two emulated machines import Python at the same time."""
QUIET_SECONDS = 90
NAMESPACE = "chaos-kernel"


class Chaos:
    """Two nodes, and who moves machines between them."""

    def __init__(self, cluster: SimulatedCluster, a: GuestNode, b: GuestNode) -> None:
        self.cluster, self.a, self.b = cluster, a, b
        self.register = Register()
        self._mover = Mover(cluster, {node.name: node for node in (a, b)}, self.register)
        self._count = 0

    async def carry(self, ending: Ending, node: str, *, of: Vm | None = None, **more: Any) -> None:
        """One migration from the beginning to its end; ``of``: the machine that moves."""
        self._count += 1
        pick = None if of is None else (self.register.running().index(of) + 0.5) / len(self.register.vms)
        asked = {"memory": 2048, "deadline": 150, **more}
        await self._mover.carry(Move(number=self._count, ending=ending, pick=pick, node=node, **asked))

    async def quiet(self) -> list[str]:
        """The violations that do not come right by themselves."""
        names = [self.cluster.full(story.name) for story in self.register.stories]
        found: list[str] = []

        async def look() -> bool:
            found[:] = violations(await dump_world(self.cluster.client, (self.a, self.b), names), self.register)
            return not found

        try:
            await eventually(look, timeout=QUIET_SECONDS, what="everything to be quiet", interval=1.0)
        except TimeoutError:
            return found
        return []


@pytest.fixture
async def chaos(boot_guest: BootGuest, control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Chaos]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(load(control_plane.kubeconfig)))
        await ensure_namespaces(client, AGENT_NAMESPACE, NAMESPACE)
        log = tmp_path / "operator.log"
        operator = stack.enter_context(OperatorProcess(control_plane.kubeconfig, log, namespace=NAMESPACE))
        cluster = SimulatedCluster(
            client=client, kubeconfig=control_plane.kubeconfig, directory=tmp_path, operator_log=operator.log
        )
        stack.push_async_callback(cluster.clear)
        a, b = await asyncio.gather(*(_node(stack, boot_guest, control_plane, cluster, name) for name in ("a", "b")))
        for node in (a, b):
            await cluster.until(NODE_DEVICES, node.name, "published", _has_parents, timeout=START_SECONDS)
        await asyncio.to_thread(operator.wait_leading)
        yield Chaos(cluster, a, b)
        print(operator.log()[-6000:], *(f"--- {node.name}\n{node.log()[-4000:]}" for node in (a, b)))


async def _node(
    stack: AsyncExitStack, boot_guest: BootGuest, plane: ControlPlane, cluster: SimulatedCluster, name: str
) -> GuestNode:
    guest = await asyncio.to_thread(boot_guest, cluster.full(name), ["gfx"])
    kubeconfig = guest.share / "kubeconfig"
    given = plane.kubeconfig_for(guest.name, ["system:masters"], server=plane.guest_server)
    kubeconfig.write_bytes(given.read_bytes())
    await cluster.mark(name)
    node = GuestNode(guest, kubeconfig)
    stack.push_async_callback(asyncio.to_thread, node.close_all)
    await asyncio.to_thread(node.start)
    return node


def _has_parents(devices: dict[str, object]) -> bool:
    status = devices.get("status")
    return isinstance(status, dict) and bool(status.get("parents"))


async def killed_in_a_write(node: GuestNode, move: Awaitable[None], *, killable: bool) -> None:
    """The driver holds the write that the move needs, SIGKILL comes, and a successor starts at once."""
    before = await asyncio.to_thread(node.gfx.get, "write_count")
    await asyncio.to_thread(node.gfx.put, "hang_killable", "Y" if killable else "N")
    await asyncio.to_thread(node.gfx.put, "hang_write", "memory")
    moving = asyncio.ensure_future(move)
    await asyncio.to_thread(node.wait_written, before)
    await asyncio.to_thread(node.kill)
    await asyncio.to_thread(node.start)
    await asyncio.to_thread(node.gfx.put, "hang_write", "")
    await moving


async def killed_after_a_create(node: GuestNode, move: Awaitable[None]) -> None:
    """SIGKILL as soon as the driver has been asked for a device."""
    before = await asyncio.to_thread(node.gfx.get, "create_count")
    moving = asyncio.ensure_future(move)
    await asyncio.to_thread(node.wait_created, before)
    await asyncio.to_thread(node.kill)
    await asyncio.to_thread(node.start)
    await moving


async def failing(node: GuestNode, fault: str, value: str, move: Awaitable[None]) -> None:
    """The driver has this fault for as long as the move takes."""
    await asyncio.to_thread(node.gfx.put, fault, value)
    await move
    await asyncio.to_thread(node.gfx.put, fault, 0 if fault == "fail_create" else "")


async def test_after_faults_and_kills_on_real_kernels_every_invariant_holds(chaos: Chaos) -> None:
    a, b = chaos.a, chaos.b
    await asyncio.gather(*(asyncio.to_thread(node.make, hold=hold) for node in (a, b) for hold in (True, False)))

    await asyncio.gather(
        killed_in_a_write(a, chaos.carry(Ending.SUCCEEDED, "a"), killable=False),
        killed_in_a_write(b, chaos.carry(Ending.DELETED, "b"), killable=True),
    )
    (vm,) = chaos.register.running()
    await asyncio.gather(
        failing(a, "clamp_write", "memory", chaos.carry(Ending.FAILED, "a", deadline=10)),
        killed_after_a_create(b, chaos.carry(Ending.SUCCEEDED, "b", of=vm, remove=True)),
    )
    await asyncio.gather(
        failing(a, "fail_create", "5", chaos.carry(Ending.FAILED, "a", deadline=10)),
        chaos.carry(Ending.FAILED, "b", memory=0, opens=True),
    )

    assert await chaos.quiet() == []
    ends = [story.ended or str(story.move.ending) for story in chaos.register.stories]
    assert sorted(ends) == ["Deadline", "Deadline", "Failed", "Succeeded", "Succeeded", "deleted"]
