"""The agent from the source tree in a guest, on real mediated devices, against a real API server.

The rescan is set to one hour, so whatever is seen here was told by the kernel's uevents.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mdev_api.hashing import instance_uuid
from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import get
from mdev_api.kube.resources import DEVICE_PROFILES
from tests.agent.node import NodeObjects, ensure_namespace
from tests.agent.reservations import entry, value
from tests.controlplane.control_plane import ControlPlane
from tests.kernel.conftest import BootGuest
from tests.kernel.gfx import Gfx
from tests.kernel.guest.__main__ import compile_python
from tests.kernel.guest.guest import Guest
from tests.kernel.guest.process import Process
from tests.waiting import eventually, wait_until

START_SECONDS = 120
"""An emulated machine imports slowly: about 10 s alone, several times that on a busy host."""


class AgentInGuest:
    """One guest, its driver, and the agent that is started and killed in it."""

    def __init__(self, guest: Guest, kubeconfig: Path) -> None:
        self.guest = guest
        self.gfx = Gfx(guest=guest)
        self._kubeconfig = kubeconfig
        self._process: Process | None = None

    def start(self) -> None:
        """Start the agent if it does not run."""
        if self._process is not None and self._process.alive():
            return
        options = f"--node-name {self.guest.name} --kubeconfig {self._kubeconfig} --state-dir /run/mdev-node-agent"
        command = f"{sys.executable} -m mdev_node_agent run {options} --rescan-seconds 3600 --log-format console"
        self._process = self.guest.start(command, "agent")

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=30)

    def kill_inside_the_kernel(self) -> None:
        """kill -9, which does not end a call that the kernel does not let end: the process stays, in state D."""
        assert self._process is not None
        self._process.kill()
        self._process = None

    def wait_said(self, words: str) -> None:
        """Wait until the agent that runs has said this."""
        assert self._process is not None
        self._process.wait_for(words, timeout=START_SECONDS)

    def boot_id(self) -> str:
        return self.guest.read("/proc/sys/kernel/random/boot_id").strip()


@pytest.fixture(scope="module")
def agent(boot_guest: BootGuest, control_plane: ControlPlane) -> Iterator[AgentInGuest]:
    compile_python()
    guest = boot_guest("agent", ["gfx"])
    text = control_plane.kubeconfig_for("agent", ["system:masters"], server=control_plane.guest_server).read_text()
    kubeconfig = guest.share / "kubeconfig"
    kubeconfig.write_text(text)
    running = AgentInGuest(guest, kubeconfig)
    yield running
    running.gfx.put("hang_write", "")
    running.gfx.put("hang_killable", "Y")


@pytest_asyncio.fixture
async def node(agent: AgentInGuest, control_plane: ControlPlane) -> AsyncIterator[NodeObjects]:
    async with Client(load(control_plane.kubeconfig)) as client:
        await ensure_namespace(client)
        node = NodeObjects(name=agent.guest.name, client=client)
        agent.start()
        boot_id = agent.boot_id()

        async def look() -> bool:
            return (await node.status()).get("bootID") == boot_id

        await eventually(look, timeout=START_SECONDS, what="the agent's inventory", interval=0.5)
        yield node


@pytest.fixture
def by_hand(agent: AgentInGuest) -> Iterator[str]:
    device = agent.gfx.create("gfx-4GB", str(uuid.uuid4()))
    yield device
    agent.gfx.remove(device)


async def reserve(agent: AgentInGuest, node: NodeObjects, entry_id: str) -> None:
    """Ask for a new device whose memory has to be written."""
    profile = await node.profile("gfx0", "gfx-varGB")
    create = {"create": {"parent": "gfx0", "type": "gfx-varGB", "profile": profile}}
    await node.reserve(entry(entry_id, boot_id=agent.boot_id(), device=create, values=[value("memory", "2048")]))


async def kill_between_create_and_write(agent: AgentInGuest, node: NodeObjects, entry_id: str) -> None:
    """The driver holds the write, and kill -9 ends the agent there."""
    writes = agent.gfx.get("write_count")
    agent.gfx.put("hang_write", "memory")
    await reserve(agent, node, entry_id)
    wait_until(lambda: agent.gfx.get("write_count") != writes, timeout=60, what="a write that hangs", interval=0.2)
    agent.kill()
    agent.gfx.put("hang_write", "")
    assert agent.gfx.read(instance_uuid(entry_id), "memory") == "1024\n"


async def test_uevents_show_a_device_long_before_the_rescan(
    agent: AgentInGuest, node: NodeObjects, by_hand: str
) -> None:
    async def look() -> dict[str, Any] | None:
        return (await node.instances()).get(by_hand)

    seen = await eventually(look, timeout=20, what="the device on NodeDevices")
    assert (seen["type"], seen["managed"]) == ("gfx-4GB", False)


async def test_a_device_made_by_hand_is_never_removed(agent: AgentInGuest, node: NodeObjects, by_hand: str) -> None:
    async def look() -> dict[str, Any] | None:
        return (await node.instances()).get(by_hand)

    seen = await eventually(look, timeout=10, what="the device on NodeDevices")
    device = {"instance": by_hand, "profile": seen["profile"]}
    await node.reserve(entry("hand-source", boot_id=agent.boot_id(), device=device, role="Source"))
    await node.answered("hand-source", "Prepared", timeout=20)
    await node.tell("RemoveIfUnused")
    await node.answered("hand-source", "HandedOver", timeout=20)
    assert by_hand in agent.gfx.instances()


async def test_metadata_that_comes_after_the_registration_is_published_at_once(
    agent: AgentInGuest, node: NodeObjects
) -> None:
    async def published() -> list[dict[str, Any] | None]:
        names = [offer["profile"] for p in (await node.status()).get("parents", ()) for offer in p["offers"]]
        return [(await node.client.send(get(DEVICE_PROFILES, name)))["spec"].get("published") for name in names]

    async def nothing() -> bool:
        return await published() == [None]

    async def model() -> bool:
        return [p and p["model"] for p in await published()] == ["com.gfx/GPU"]

    agent.guest.rmmod("gfx")
    agent.guest.modprobe("gfx types=4GB metadata=N")
    await eventually(nothing, timeout=60, what="the type without metadata on NodeDevices")
    agent.gfx.put("metadata", "Y")
    await eventually(model, timeout=20, what="the type's model on NodeDevices, an hour before the rescan")
    agent.guest.rmmod("gfx")
    agent.guest.modprobe("gfx")


async def test_an_agent_killed_while_it_prepares_finishes_and_makes_no_second_device(
    agent: AgentInGuest, node: NodeObjects
) -> None:
    created = int(agent.gfx.get("create_count"))
    await kill_between_create_and_write(agent, node, "move-1")
    agent.start()
    answer = await node.answered("move-1", "Prepared", "Failed", timeout=START_SECONDS)
    assert (answer["state"], answer["values"][0]["value"]) == ("Prepared", "2048")
    assert agent.gfx.read(instance_uuid("move-1"), "memory") == "2048\n"
    assert int(agent.gfx.get("create_count")) == created + 1
    agent.gfx.remove(instance_uuid("move-1"))


async def test_an_agent_killed_while_it_prepares_undoes_if_told_so(agent: AgentInGuest, node: NodeObjects) -> None:
    await kill_between_create_and_write(agent, node, "move-2")
    place = len((await node.reservations())["spec"]["reservations"]) - 1
    await node.tell("Undo", index=place)
    agent.start()
    await node.answered("move-2", "Undone", timeout=START_SECONDS)
    assert agent.gfx.instances() == set()


async def test_an_agent_waits_until_the_killed_one_is_out_of_the_kernel(agent: AgentInGuest, node: NodeObjects) -> None:
    writes = agent.gfx.get("write_count")
    agent.gfx.put("hang_killable", "N")
    agent.gfx.put("hang_write", "memory")
    await reserve(agent, node, "move-3")
    wait_until(lambda: agent.gfx.get("write_count") != writes, timeout=60, what="a write that hangs", interval=0.2)
    agent.kill_inside_the_kernel()
    place = len((await node.reservations())["spec"]["reservations"]) - 1
    await node.tell("Undo", index=place)
    agent.start()
    agent.wait_said("another agent of this node has /run/mdev-node-agent")
    during = await node.answer("move-3"), agent.gfx.instances()
    agent.gfx.put("hang_write", "")
    await node.answered("move-3", "Undone", timeout=START_SECONDS)
    agent.gfx.put("hang_killable", "Y")
    assert ((during[0] or {}).get("state") != "Undone", during[1]) == (True, {instance_uuid("move-3")})
    assert agent.gfx.instances() == set()
