"""Handing out on a kernel in memory: whatever fails half way, no device is lost and none is had by two pods."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import uuid
from pathlib import Path
from typing import Any, cast

import pytest

from mdev_api.hashing import instance_uuid
from mdev_api.kube.client import Client
from mdev_node_agent.acting.answers import Answers
from mdev_node_agent.acting.hands import Hands
from mdev_node_agent.acting.preparer import Preparer
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.kubelet import desk
from mdev_node_agent.kubelet.allocation import KEY_PREFIX, RefusedError
from mdev_node_agent.kubelet.desk import MAX_SLOTS, Desk
from mdev_node_agent.kubelet.serving import Allocation, Asked, Pod, View
from mdev_node_agent.kubelet.slots import FILE, UNSEEN_SECONDS, Slots
from mdev_node_agent.memory.journal import Journal
from mdev_node_agent.memory.ledger import Ledger, Made
from mdev_node_agent.memory.sole import SoleUse
from mdev_node_agent.seeing.in_use import NoSource
from mdev_node_agent.seeing.sight import Eye
from mdev_node_agent.settings import Deadlines
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel

GPU, NIC = "vendor.com/gpu", "vendor.com/nic"


class Creates(MdevBackend):
    """The real back-end, but for what ``create`` does first."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "before", lambda parent: None)

    def create(self, port: Any, *, parent: str, type_id: str, instance: str) -> None:
        self.before(parent)  # type: ignore[attr-defined]
        super().create(port, parent=parent, type_id=type_id, instance=instance)


class Bench:
    """A node with its desk, a kubelet that says what the test says, and a clock that the test sets."""

    def __init__(
        self, state_dir: Path, *, kernel: MemoryKernel | None = None, sees_processes: bool = True, deadline: float = 20
    ) -> None:
        self.kernel = kernel or MemoryKernel(drivers=[Gfx()])
        boot_id = self.kernel.boot_id()
        self.backend = Creates()
        self.journal, self.ledger = Journal(state_dir, boot_id), Ledger(state_dir, boot_id)
        self.journal.open()
        self.view = View()
        self.now = 0.0
        source = self.kernel if sees_processes else NoSource()
        self.eye = Eye(self.kernel, [self.backend], source, lambda: Asked(view=self.view, current=True))
        hands = Hands(
            port=self.kernel,
            backends=[self.backend],
            journal=self.journal,
            ledger=self.ledger,
            boot_id=boot_id,
            sole=SoleUse(state_dir),
        )
        preparer = Preparer(
            eye=self.eye,
            hands=hands,
            answers=Answers(cast(Client, None), "node", boot_id),
            deadlines=Deadlines(call=deadline),
        )
        self.slots = Slots(state_dir, boot_id)
        resources = {GPU: ("gfx-4GB",), NIC: ("gfx-nic",)}
        self.desk = Desk(
            eye=self.eye,
            preparer=preparer,
            hands=hands,
            slots=self.slots,
            resources=resources,
            clock=lambda: self.now,
        )
        self.eye.on_look = self.desk.looked
        self.eye.own_resources = self.desk.own

    async def allocate(self, slot: str) -> str:
        (instance,) = await self.desk.allocate(GPU, [slot])
        return instance.id

    async def offered(self, resource: str = GPU) -> list[str]:
        await self.eye.look()
        listings = self.desk.listings(resource)
        listed = await anext(listings)
        await listings.aclose()  # type: ignore[attr-defined]
        return [slot.id for slot in listed if slot.healthy]

    async def passes(self, *seconds: float) -> None:
        for now in seconds:
            self.now = now
            await self.eye.look()

    def close(self) -> None:
        self.journal.close()


def has(*slots: str) -> View:
    pod = Pod(namespace="default", name="vm")
    return View(allocations=(Allocation(pod=pod, resource=GPU, devices=slots),), allocatable={GPU: slots})


async def test_pods_that_come_at_once_get_a_device_each(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.allocate("left behind")
    await bench.passes(0, UNSEEN_SECONDS)
    given = await asyncio.gather(*(bench.allocate(f"s{number}") for number in range(4)))
    assert sorted(given) == sorted(bench.kernel.devices()) and len(set(given)) == 4
    bench.close()


async def test_what_is_made_is_in_the_ledger_and_leaves_the_journal(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    device = await bench.allocate("s1")
    made = bench.ledger.instances[device]
    assert made.reservation.startswith(KEY_PREFIX) and instance_uuid(made.reservation) == device
    assert bench.journal.records == {}
    bench.close()


async def test_nothing_is_made_when_the_disk_does_not_remember_the_slot(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / f"{FILE}.new").mkdir()
    with pytest.raises(RefusedError, match=r"slots cannot be written .*: correct --state-dir") as told:
        await bench.allocate("s1")
    assert told.value.code == "INTERNAL" and bench.kernel.devices() == []
    bench.close()


async def test_a_parent_whose_room_was_taken_meanwhile_is_passed_over(tmp_path: Path) -> None:
    bench = Bench(tmp_path, kernel=MemoryKernel(drivers=[Gfx(parents=2)]))

    def full(parent: str) -> None:
        if parent == "gfx0":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    object.__setattr__(bench.backend, "before", full)
    device = await bench.allocate("s1")
    sight = await bench.eye.look()
    seen = sight.observation.instance(device)
    assert seen is not None and seen.parent == "gfx1"
    bench.close()


async def test_a_driver_that_takes_long_leaves_nothing_that_two_pods_could_get(tmp_path: Path) -> None:
    bench = Bench(tmp_path, deadline=1.0)
    waiting = threading.Event()
    object.__setattr__(bench.backend, "before", lambda parent: waiting.wait(20))
    with pytest.raises(RefusedError, match="gfx-4GB on gfx0: the driver has not made it within") as told:
        await bench.allocate("s1")
    assert told.value.code == "DEADLINE_EXCEEDED"
    late = bench.slots.bound["s1"].instance
    waiting.set()
    object.__setattr__(bench.backend, "before", lambda parent: None)
    other = await bench.allocate("s2")
    assert other != late
    bench.view = has("s2")
    await bench.passes(0, UNSEEN_SECONDS)
    assert await bench.allocate("s3") == late
    bench.close()


async def test_after_a_crash_in_the_making_the_device_is_there_for_the_next_pod(tmp_path: Path) -> None:
    before = Bench(tmp_path)
    key = f"{KEY_PREFIX}{uuid.uuid4().hex}"
    device, boot_id = instance_uuid(key), before.kernel.boot_id()
    before.slots.bind("s1", GPU, device)
    before.journal.append(key, {"event": "begin", "instance": device, "backend": "mdev"})
    before.journal.append(key, {"event": "making", "state": "begun"})
    before.ledger.add(Made(instance=device, reservation=key, boot_id=boot_id, backend="mdev"))
    before.kernel.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-4GB/create", device)
    before.close()

    after = Bench(tmp_path, kernel=before.kernel)
    assert after.journal.records == {}
    await after.passes(0, UNSEEN_SECONDS)
    assert await after.allocate("s2") == device
    after.close()


async def test_a_slot_that_the_kubelet_gives_anew_has_lost_its_pod(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = await bench.allocate("s1")
    assert await bench.allocate("s1") == first
    bench.kernel.open_device(first)
    assert await bench.allocate("s1") != first
    bench.close()


async def test_what_pods_have_is_kept_when_the_memory_of_slots_is_lost(tmp_path: Path) -> None:
    before = Bench(tmp_path, sees_processes=False)
    device = await before.allocate("s1")
    before.close()
    (tmp_path / FILE).unlink()
    after = Bench(tmp_path, kernel=before.kernel, sees_processes=False)
    after.view = has("s1")
    await after.passes(0, UNSEEN_SECONDS)
    assert await after.allocate("s2") != device
    after.close()


async def test_a_slot_is_as_it_was_when_its_pod_is_listed_after_all(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sees_processes=False)
    device = await bench.allocate("s1")
    await bench.passes(0, UNSEEN_SECONDS)
    bench.view = has("s1")
    await bench.passes(UNSEEN_SECONDS + 1)
    assert "s1" in await bench.offered()
    assert await bench.allocate("s2") != device
    bench.close()


async def test_a_slot_whose_device_has_gone_with_its_pod_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "GONE_SECONDS", 0.05)
    bench = Bench(tmp_path)
    device = await bench.allocate("s1")
    work = asyncio.create_task(bench.desk.run())
    await bench.passes(0, UNSEEN_SECONDS)
    bench.kernel.write(f"bus/mdev/devices/{device}/remove", "1")
    await bench.passes(UNSEEN_SECONDS + 1)

    async def forget() -> None:
        while bench.slots.bound:
            await asyncio.sleep(0.01)

    await asyncio.wait_for(forget(), 20)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    bench.close()


async def test_no_more_slots_are_offered_than_the_limit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, kernel=MemoryKernel(drivers=[Gfx(nics=100)]))
    first = await bench.offered(NIC)
    assert len(first) == MAX_SLOTS
    assert await bench.offered(NIC) == first
    bench.close()
