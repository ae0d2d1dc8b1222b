"""A node without qemu: the real agent on a kernel in memory, in a thread with an event loop of its own.

So nodes run beside tests and operators of any kind, and a test that blocks does not stop them.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mdev_node_agent.run import run
from mdev_node_agent.settings import Deadlines, RunSettings
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

Running = tuple[asyncio.AbstractEventLoop, "asyncio.Task[None]"]


class SimulatedNode:
    """One kernel, and the agent on it between ``start`` and ``stop``."""

    def __init__(self, name: str, kernel: MemoryKernel, *, kubeconfig: Path, state_dir: Path) -> None:
        self.name = name
        self.kernel = kernel
        self._settings = RunSettings(node=name, kubeconfig=kubeconfig, state_dir=state_dir)
        self._thread: threading.Thread | None = None
        self._running: Future[Running] = Future()
        self._error: BaseException | None = None

    def start(
        self,
        *,
        rescan_seconds: float = 60.0,
        deadlines: Deadlines | None = None,
        shown: MemoryKernel | None = None,
    ) -> None:
        """Start the agent. ``shown``: the kernel that it sees and works on instead of the node's."""
        kernel = self.kernel if shown is None else shown
        settings = replace(self._settings, rescan_seconds=rescan_seconds)
        self._running = running = Future()

        async def work() -> None:
            agent = asyncio.create_task(run(settings, port=kernel, source=kernel, deadlines=deadlines))
            running.set_result((asyncio.get_running_loop(), agent))
            with suppress(asyncio.CancelledError):
                try:
                    await agent
                except Exception as error:  # noqa: BLE001  (told by whoever asks for ended_with)
                    self._error = error
            await _connections_closed()

        self._thread = threading.Thread(target=asyncio.run, args=[work()], name=f"agent of {self.name}", daemon=True)
        self._thread.start()

    def ended_with(self) -> BaseException | None:
        """What ended the agent; None while it runs, as it should until ``stop``."""
        return self._error

    def stop(self) -> None:
        """End the agent and its thread; does nothing for one that does not run."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        loop, agent = self._running.result(timeout=20)
        with suppress(RuntimeError):  # The loop is closed: the agent had ended by itself.
            loop.call_soon_threadsafe(agent.cancel)
        thread.join(timeout=20)
        if thread.is_alive():
            raise RuntimeError(f"the agent of {self.name} does not end")


async def _connections_closed() -> None:
    """Wait until this loop watches nothing but its own pipe: a watch that was cancelled still says good-bye in TLS."""
    selector = getattr(asyncio.get_running_loop(), "_selector")  # noqa: B009  (no public name; mypy knows none either)

    async def look() -> bool:
        return len(selector.get_map()) <= 1

    await eventually(look, timeout=10, what="the agent's connections to close", interval=0.01)
