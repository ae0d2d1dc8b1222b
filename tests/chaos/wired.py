"""What an agent reaches the world by, wired to its :class:`~tests.chaos.life.Life`: kernel, journal, ledger, network.

``wired()`` replaces the agent's own journal, ledger and client for as long as a run lasts; the code of the agent is
the product's. Each tells the steps that it comes to, by these names: ``before`` or ``after`` one of :data:`ACTS`, and
``inside`` one of :data:`CALLS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from unittest.mock import patch

from mdev_api.kube.client import Client
from mdev_api.kube.requests import Request
from mdev_node_agent.memory.journal import Journal
from mdev_node_agent.memory.ledger import Ledger, Made
from mdev_node_agent.seeing.in_use import Use
from mdev_node_agent.seeing.observation import Instance
from mdev_node_agent.sysfs.port import Directory, EventsLost, Uevent
from tests.chaos.life import Life
from tests.memkernel.kernel import MemoryKernel

JOURNAL = tuple(
    f"journal {line}"
    for line in (
        "begin",
        "making begun",
        "making none",
        "making done",
        "making gone",
        "write",
        "wrote",
        "failed",
        "end",
    )
)
LEDGER = ("ledger add", "ledger strike")
CALLS = ("create", "parameter", "remove")
REQUESTS = ("answer", "inventory")
ACTS = (*JOURNAL, *LEDGER, *CALLS, *REQUESTS)
STEPS = (*(f"{side} {act}" for act in ACTS for side in ("before", "after")), *(f"inside {call}" for call in CALLS))
"""Every step at which an agent can be killed."""


class Witness(Protocol):
    """Hears of what an agent asks its kernel, in the thread that asks."""

    def asks(self, directory: Directory, name: str) -> None:
        """This file is written now."""

    def answered(self, name: str, error: OSError | None, *, reading: bool) -> None:
        """The kernel has answered a write, or refused a read."""


class WiredDirectory:
    """An opened directory."""

    def __init__(self, inner: Directory, life: Life, witness: Witness) -> None:
        self._inner = inner
        self._life = life
        self._witness = witness
        self.name = inner.name
        self.close = inner.close

    def open(self, name: str) -> WiredDirectory:
        with self._life.in_kernel():
            return WiredDirectory(self._inner.open(name), self._life, self._witness)

    def list(self) -> list[str]:
        with self._life.in_kernel():
            return self._inner.list()

    def read(self, name: str) -> bytes:
        with self._life.in_kernel():
            try:
                return self._inner.read(name)
            except OSError as error:
                self._witness.answered(name, error, reading=True)
                raise

    def link(self, name: str) -> str:
        with self._life.in_kernel():
            return self._inner.link(name)

    def write(self, name: str, data: bytes) -> None:
        call = name if name in CALLS else "parameter"
        self._life.step(f"before {call}")
        with self._life.in_kernel(f"inside {call}"):
            self._witness.asks(self._inner, name)
            try:
                self._inner.write(name, data)
            except OSError as error:
                self._witness.answered(name, error, reading=False)
                raise
            self._witness.answered(name, None, reading=False)
        self._life.step(f"after {call}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class WiredKernel:
    """The port and the in-use question of one process on a kernel."""

    def __init__(self, kernel: MemoryKernel, life: Life, witness: Witness) -> None:
        self._kernel = kernel
        self._life = life
        self._witness = witness

    def open(self, path: str) -> Directory:
        with self._life.in_kernel():
            return WiredDirectory(self._kernel.open(path), self._life, self._witness)

    def boot_id(self) -> str:
        return self._kernel.boot_id()

    def events(self) -> AsyncIterator[Uevent | EventsLost]:
        return self._kernel.events()

    def look(self, instances: Sequence[Instance]) -> Mapping[str, Use]:
        with self._life.in_kernel():
            return self._kernel.look(instances)


class WiredJournal(Journal):
    """Whoever makes one is in the process that it belongs to."""

    def __init__(self, state_dir: Path, boot_id: str) -> None:
        super().__init__(state_dir, boot_id)
        self._life = Life.current.get()

    def append(self, reservation: str, line: Mapping[str, Any], *, sync: bool = True) -> None:
        act = f"journal {line['event']} {line.get('state', '')}".strip()
        self._life.step(f"before {act}")
        with self._life.in_kernel():
            super().append(reservation, line, sync=sync)
        self._life.step(f"after {act}")


class WiredLedger(Ledger):
    """The same for the ledger."""

    def __init__(self, state_dir: Path, boot_id: str) -> None:
        super().__init__(state_dir, boot_id)
        self._life = Life.current.get()

    def add(self, made: Made) -> None:
        self._life.step("before ledger add")
        with self._life.in_kernel():
            super().add(made)
        self._life.step("after ledger add")

    def strike(self, instance: str) -> None:
        self._life.step("before ledger strike")
        with self._life.in_kernel():
            super().strike(instance)
        self._life.step("after ledger strike")


class WiredClient(Client):
    """A client whose process may die: what it would have sent or heard then is lost."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._life = Life.current.get()

    async def send(self, request: Request, **more: Any) -> dict[str, Any]:
        act = _act(request)
        await self._step(act and f"before {act}")
        answer = await super().send(request, **more)
        await self._step(act and f"after {act}")
        return answer

    async def stream(self, request: Request, **more: Any) -> AsyncGenerator[dict[str, Any], None]:
        await self._step(None)
        async for event in super().stream(request, **more):
            await self._step(None)
            yield event

    async def _step(self, name: str | None) -> None:
        if name is not None and not self._life.dead.is_set() and (snare := self._life.snares.passing(name)):
            self._life.kill(snare)
        if self._life.dead.is_set():
            await asyncio.Future()  # Cancelled when the process is gone.


def _act(request: Request) -> str | None:
    if request.method == "PATCH" and "/nodereservations/" in request.path:
        return "answer"
    if request.method == "PATCH" and "/nodedevices/" in request.path and request.path.endswith("/status"):
        return "inventory"
    return None


@contextmanager
def wired() -> Iterator[None]:
    """Agents that are started within the block are wired to the Life of their thread."""
    with ExitStack() as patched:
        for name, kind in (("Journal", WiredJournal), ("Ledger", WiredLedger), ("Client", WiredClient)):
            patched.enter_context(patch(f"mdev_node_agent.run.{name}", kind))
        yield
