"""A node whose agent is killed and started again, as a kubelet does it, and whose machine may reboot.

The agent is the real one, in a thread. What is asked of the machine itself (by administrators, by virtual machine
monitors) goes through here too, so that it is known which device somebody holds and which the harness made.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

from mdev_api.kube.client import Client
from mdev_api.kube.resources import NODE_DEVICES, NODE_RESERVATIONS
from mdev_node_agent.run import run
from mdev_node_agent.settings import Deadlines, RunSettings
from mdev_node_agent.sysfs.port import Directory
from tests.chaos.account import Account
from tests.chaos.dumps import NodeDump, below_parents, object_of, text_of
from tests.chaos.life import Life, Snares
from tests.chaos.wired import WiredKernel
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

DEADLINES = Deadlines(call=3.0, remove=1.0)
RESCAN_SECONDS = 3.0


class ChaosNode:
    """Its kernel is there from the beginning, an agent between ``start`` and ``stop``."""

    def __init__(
        self, name: str, driver: Gfx, *, kubeconfig: Path, state_dir: Path, snares: Snares, account: Account
    ) -> None:
        self.name = name
        self.kernel = MemoryKernel(drivers=[driver])
        self._driver = driver
        self.state_dir = state_dir
        self.boots = 0
        self.held: set[str] = set()
        """Devices that somebody has open, as far as whoever opened them knows."""
        self.foreign: set[str] = set()
        """Devices that the harness made by hand and has not removed."""
        self.failing: dict[str, str] = {}
        """Faults of the driver that are in force."""
        self.wrongs: list[str] = []
        """What must never happen and did, in sentences."""
        self._settings = RunSettings(
            node=name, kubeconfig=kubeconfig, state_dir=state_dir, rescan_seconds=RESCAN_SECONDS
        )
        self._snares = snares
        self._account = account
        self._hand = threading.Lock()
        self._life: Life | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._supervisor: threading.Thread | None = None

    def start(self) -> None:
        """Start the agent; each that dies or ends has a successor."""
        self._supervisor = threading.Thread(target=self._supervise, name=f"kubelet of {self.name}", daemon=True)
        self._supervisor.start()

    def stop(self) -> None:
        """Kill the agent, let go of whatever keeps one inside the kernel, and wait until every one is gone."""
        self._stopping = True
        if self._life is not None:
            self._life.kill()
        self.fault("hang_write", "")
        for device in tuple(self.held):
            self.close(device)
        for thread in (self._supervisor, *self._threads):
            if thread is not None:
                thread.join(timeout=20)

    def make(self, parent: str, type_id: str, *, hold: bool) -> str | None:
        """Make a device by hand, as mdevctl does; None: there is no room."""
        device = str(uuid.uuid4())
        with self._hand:
            try:
                self.kernel.write(f"class/mdev_bus/{parent}/mdev_supported_types/{type_id}/create", device)
            except OSError:
                return None
            self.foreign.add(device)
            if hold:
                self._open(device)
        return device

    def take_away(self, device: str) -> bool:
        """Remove a device by hand, unless somebody has it open or the driver hangs; whether it was there.

        The kernel would keep whoever removes a device whose write hangs until that ends, so nobody here does.
        """
        with self._hand:
            if device in self.held or self.failing.get("hang_write"):
                return False
            self.foreign.discard(device)
            try:
                self.kernel.write(f"bus/mdev/devices/{device}/remove", "1")
            except OSError:
                return False
            return True

    def open(self, device: str, boot: int) -> bool:
        """Open a device, as a virtual machine monitor does; False: it is not there, or this is another boot."""
        with self._hand:
            if self.boots != boot:
                return False
            if device in self.held:
                self.wrongs.append(f"{self.name}: two virtual machines were given {device}")
                return False
            try:
                self._open(device)
            except OSError:
                return False
            return True

    def close(self, device: str) -> None:
        """Close it."""
        with self._hand:
            if device in self.held:
                self.held.discard(device)
                with suppress(OSError):
                    self.kernel.close_device(device)

    def fault(self, name: str, value: str) -> None:
        """Have the driver fail in this way; an empty value, or 0, ends it."""
        with self._hand:
            self.kernel.write(f"module/gfx/parameters/{name}", f"{value}\n")
            self.failing[name] = value

    async def dump(self, client: Client) -> NodeDump:
        """What its kernel, its agents' files and the API server say."""
        return NodeDump(
            name=self.name,
            boot_id=self.kernel.boot_id(),
            boot=self.boots,
            devices=frozenset(await asyncio.to_thread(below_parents, self.kernel)),
            on_bus=frozenset(await asyncio.to_thread(self.kernel.devices)),
            held=frozenset(self.held),
            foreign=frozenset(self.foreign),
            journal=text_of(self.state_dir / "journal.jsonl"),
            ledger=text_of(self.state_dir / "ledger.json"),
            reservations=await object_of(client, NODE_RESERVATIONS, self.name),
            published=await object_of(client, NODE_DEVICES, self.name),
        )

    def asks(self, directory: Directory, name: str) -> None:
        """The agent writes: judged from outside."""
        if name == "remove" and directory.name in self.held:
            self.wrongs.append(f"{self.name}: its agent removes {directory.name}, which a process has open")
        if self.failing.get("hang_write") == name:
            self._account.count("driver hang_write")

    def answered(self, name: str, error: OSError | None, *, reading: bool) -> None:
        """What the agent was told; which fault of the driver it has met with that."""
        number = None if error is None else error.errno
        if reading:
            met = "fail_read" if self.failing.get("fail_read") == name else None
        elif name == "create":
            met = f"fail_create {number}" if number and self.failing.get("fail_create") == str(number) else None
        elif error is not None:
            met = "fail_write" if self.failing.get("fail_write") == name else None
        else:
            met = "clamp_write" if self.failing.get("clamp_write") == name else None
        if met is not None:
            self._account.count(f"driver {met}")

    def _open(self, device: str) -> None:
        self.kernel.open_device(device)
        self.held.add(device)

    def _supervise(self) -> None:
        while not self._stopping:
            ended = threading.Event()
            life = Life(self._snares)
            life.on_death = ended.set
            self._life = life
            if self._stopping:
                life.kill()
            thread = threading.Thread(target=self._live, args=[life, ended], name=f"agent of {self.name}", daemon=True)
            self._threads.append(thread)
            thread.start()
            ended.wait()
            self._driver.kill_writers()
            if life.snare is not None and life.snare.reboot and not self._stopping:
                self._reboot()
            time.sleep(0.05)

    def _reboot(self) -> None:
        with self._hand:
            self.boots += 1
            self.held.clear()
            self.foreign.clear()
            self.failing.clear()
            self.kernel.reboot()
        self._account.count("node rebooted")

    def _live(self, life: Life, ended: threading.Event) -> None:
        """One process: its loop stops where it dies, and its files are closed when its last call has returned."""
        Life.current.set(life)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        port = WiredKernel(self.kernel, life, self)
        agent = loop.create_task(run(self._settings, port=port, source=port, deadlines=DEADLINES))

        def ended_itself(_: object) -> None:
            loop.stop()

        agent.add_done_callback(ended_itself)

        def died() -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.stop)
            ended.set()

        life.on_death = died
        if not life.dead.is_set():
            loop.run_forever()
        if not life.dead.is_set():
            error = None if agent.cancelled() else agent.exception()
            self.wrongs.append(f"{self.name}: its agent ended by itself: {error!r}")
            life.kill()
        agent.remove_done_callback(ended_itself)
        loop.set_exception_handler(lambda *_: None)  # Nobody hears what a dead process throws.
        life.wait_last_call()
        loop.run_until_complete(_clear(agent))
        loop.close()


async def _clear(agent: asyncio.Task[None]) -> None:
    """Close what a process has open; no code of it does anything any more."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(agent, *others, return_exceptions=True)
    selector = getattr(asyncio.get_running_loop(), "_selector")  # noqa: B009

    async def closed() -> bool:
        return len(selector.get_map()) <= 1

    with suppress(TimeoutError):
        await eventually(closed, timeout=10, what="the connections to close", interval=0.01)
    await asyncio.get_running_loop().shutdown_asyncgens()
