"""A guest as a node of the chaos suite: its agent is killed and started again; what there is comes from its kernel."""

from __future__ import annotations

import asyncio
import sys
import uuid
from contextlib import suppress
from pathlib import Path

from mdev_api.kube.client import Client
from mdev_api.kube.resources import NODE_DEVICES, NODE_RESERVATIONS
from tests.chaos.dumps import NodeDump, is_uuid, object_of
from tests.kernel.gfx import DEVICES, Gfx
from tests.kernel.guest.errors import CommandError
from tests.kernel.guest.guest import Guest
from tests.kernel.guest.process import Process
from tests.waiting import wait_until

STATE = "/run/mdev-node-agent"
PARENT = "/sys/class/mdev_bus/gfx0"
RESCAN_SECONDS = 5
"""Opening a device sends no event."""


class GuestNode:
    """One guest with the driver gfx."""

    def __init__(self, guest: Guest, kubeconfig: Path) -> None:
        self.name = guest.name
        self.boots = 0
        self.gfx = Gfx(guest=guest)
        self.foreign: set[str] = set()
        self._guest = guest
        self._kubeconfig = kubeconfig
        self._agent: Process | None = None
        self._holders: dict[str, Process] = {}

    def start(self) -> None:
        """Start the agent, also where one that was killed is still inside the kernel."""
        options = f"--node-name {self.name} --kubeconfig {self._kubeconfig} --state-dir {STATE}"
        command = f"{sys.executable} -m mdev_node_agent run {options} --rescan-seconds {RESCAN_SECONDS}"
        self._agent = self._guest.start(f"{command} --log-format console", "agent")

    def kill(self) -> None:
        """kill -9; the kernel ends it when it can."""
        assert self._agent is not None
        self._agent.kill()

    def log(self) -> str:
        """What the agent that was started last has said."""
        return "" if self._agent is None else self._agent.log()

    def wait_written(self, before: str) -> None:
        """Wait until the driver was asked to write a value since it counted ``before``."""
        wait_until(lambda: self.gfx.get("write_count") != before, timeout=120, what="a write", interval=0.2)

    def wait_created(self, before: str) -> None:
        """Wait until the driver was asked for a device since it counted ``before``."""
        wait_until(lambda: self.gfx.get("create_count") != before, timeout=120, what="a create", interval=0.1)

    def make(self, *, hold: bool) -> str:
        """Make a device by hand."""
        device = self.gfx.create("gfx-varGB", str(uuid.uuid4()))
        self.foreign.add(device)
        if hold:
            assert self.open(device, self.boots)
        return device

    def open(self, device: str, boot: int) -> bool:
        """Open a device, as a virtual machine monitor does."""
        assert device not in self._holders, f"{self.name}: two virtual machines were given {device}"
        try:
            self._holders[device] = self._guest.hold(device)
        except CommandError:
            return False
        return True

    def close(self, device: str) -> None:
        """Close it."""
        holder = self._holders.pop(device, None)
        if holder is not None:
            holder.kill()
            holder.wait(timeout=30)

    def take_away(self, device: str) -> bool:
        """Remove a device by hand, unless somebody has it open."""
        if device in self._holders:
            return False
        self.foreign.discard(device)
        try:
            self.gfx.remove(device)
        except OSError:
            return False
        return True

    def close_all(self) -> None:
        """End every fault and every holder, and the agent."""
        for fault, nothing in (("hang_write", ""), ("hang_killable", "Y"), ("clamp_write", ""), ("fail_create", 0)):
            with suppress(OSError):
                self.gfx.put(fault, nothing)
        for device in tuple(self._holders):
            self.close(device)
        if self._agent is not None:
            self._agent.kill()

    async def dump(self, client: Client) -> NodeDump:
        """What its kernel, its agent's files and the API server say."""
        below = await asyncio.to_thread(self._guest.names, PARENT)
        return NodeDump(
            name=self.name,
            boot_id=(await asyncio.to_thread(self._guest.read, "/proc/sys/kernel/random/boot_id")).strip(),
            boot=self.boots,
            devices=frozenset(name for name in below if is_uuid(name)),
            on_bus=frozenset(await asyncio.to_thread(self._guest.names, DEVICES)),
            held=frozenset(device for device, holder in self._holders.items() if holder.alive()),
            foreign=frozenset(self.foreign),
            journal=await asyncio.to_thread(self._file, "journal.jsonl"),
            ledger=await asyncio.to_thread(self._file, "ledger.json"),
            reservations=await object_of(client, NODE_RESERVATIONS, self.name),
            published=await object_of(client, NODE_DEVICES, self.name),
        )

    def _file(self, name: str) -> str:
        try:
            return self._guest.read(f"{STATE}/{name}")
        except FileNotFoundError:
            return ""
