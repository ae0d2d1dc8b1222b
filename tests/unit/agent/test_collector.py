"""What we made, nobody holds and nobody uses for ten minutes goes; nothing else ever does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection
from pathlib import Path

from mdev_node_agent.acting.collector import Collector
from mdev_node_agent.acting.hands import Hands
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.deciding.collection import UNUSED_SECONDS
from mdev_node_agent.memory.journal import Journal
from mdev_node_agent.memory.ledger import Ledger, Made
from mdev_node_agent.memory.sole import SoleUse
from mdev_node_agent.seeing.in_use import NoSource
from mdev_node_agent.seeing.sight import Eye
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually


class Desk:
    """A kernel with one device, and a collector whose clock the test sets."""

    def __init__(self, state_dir: Path, *, ours: bool = True, tells_use: bool = True) -> None:
        self.kernel = MemoryKernel(drivers=[Gfx()])
        self.device = str(uuid.uuid4())
        self.kernel.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-4GB/create", self.device)
        self.now = 0.0
        self.held: Collection[str] | None = frozenset()
        boot_id = self.kernel.boot_id()
        self.ledger = Ledger(state_dir, boot_id)
        if ours:
            self.ledger.add(Made(instance=self.device, reservation="move-1", boot_id=boot_id, backend="mdev"))
        backends = [MdevBackend()]
        self.eye = Eye(self.kernel, backends, self.kernel if tells_use else NoSource())
        hands = Hands(
            port=self.kernel,
            backends=backends,
            journal=Journal(state_dir, boot_id),
            ledger=self.ledger,
            boot_id=boot_id,
            sole=SoleUse(state_dir),
        )
        self.collector = Collector(
            eye=self.eye,
            hands=hands,
            held=lambda: self.held,
            stand=lambda: None if self.held is None else frozenset(),
            clock=lambda: self.now,
        )

    async def rescan(self, now: float) -> None:
        self.now = now
        await self.eye.look()
        await self.collector.collect()

    async def settles(self) -> list[str]:
        """The devices, when every removal that was begun has returned."""
        while pending := [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]:
            await asyncio.wait(pending)

        async def done() -> bool:
            return not self.collector._removing

        await eventually(done, timeout=5, what="removals to return")
        return self.kernel.devices()


async def test_an_unused_device_of_ours_goes_after_ten_minutes(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.rescan(0)
    await desk.rescan(UNUSED_SECONDS - 1)
    assert await desk.settles() == [desk.device]
    await desk.rescan(UNUSED_SECONDS)
    assert await desk.settles() == []
    assert desk.ledger.instances == {}


async def test_a_device_that_we_did_not_make_stays(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ours=False)
    await desk.rescan(0)
    await desk.rescan(10 * UNUSED_SECONDS)
    assert await desk.settles() == [desk.device]


async def test_use_begins_the_ten_minutes_anew(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.rescan(0)
    desk.kernel.open_device(desk.device)
    await desk.rescan(UNUSED_SECONDS)
    desk.kernel.close_device(desk.device)
    await desk.rescan(UNUSED_SECONDS + 1)
    assert await desk.settles() == [desk.device]


async def test_a_device_that_a_reservation_names_stays(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.held = {desk.device}
    await desk.rescan(0)
    await desk.rescan(UNUSED_SECONDS)
    assert await desk.settles() == [desk.device]


async def test_nothing_goes_while_the_reservations_are_not_known(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.rescan(0)
    desk.held = None
    await desk.rescan(UNUSED_SECONDS)
    assert await desk.settles() == [desk.device]


async def test_nothing_goes_where_nobody_can_tell_who_uses_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, tells_use=False)
    await desk.rescan(0)
    await desk.rescan(10 * UNUSED_SECONDS)
    assert await desk.settles() == [desk.device]


async def test_a_device_that_is_gone_is_struck_from_the_ledger(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.kernel.write(f"bus/mdev/devices/{desk.device}/remove", "1")
    await desk.rescan(0)
    assert desk.ledger.instances == {}


async def test_a_device_that_was_made_during_the_look_is_not_struck_from_the_ledger(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ours=False)
    desk.kernel.write(f"bus/mdev/devices/{desk.device}/remove", "1")
    await desk.eye.look()
    made = Made(instance=desk.device, reservation="allocate-1", boot_id=desk.kernel.boot_id(), backend="mdev")
    desk.ledger.add(made)
    desk.kernel.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-4GB/create", desk.device)
    await desk.collector.collect()
    assert set(desk.ledger.instances) == {desk.device}
