"""A fault of the agent in one reservation: told with its traceback, tried again, and nobody else notices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import State
from mdev_node_agent.acting import faults
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.sysfs.port import Port
from tests.agent.preparing import preparing
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

MINE = instance_uuid("move-1")


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultyBackend(MdevBackend):
    """It makes no device ``bad`` as long as ``faulty`` has anything: a KeyError, which no driver ever answers."""

    faulty: list[str] = field(default_factory=lambda: ["still"])
    asked: list[str] = field(default_factory=list)

    def create(self, port: Port, *, parent: str, type_id: str, instance: str) -> None:
        if instance == MINE and self.faulty:
            self.asked.append(instance)
            raise KeyError("nobody expected this")
        MdevBackend.create(self, port, parent=parent, type_id=type_id, instance=instance)


async def test_a_fault_in_one_reservation_holds_no_other_up_and_names_it_with_its_traceback(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with preparing(MemoryKernel(drivers=[Gfx()]), tmp_path, backends=[FaultyBackend()]) as one:
            one.told(one.new("gfx0", "gfx-varGB"), one.new("gfx0", "gfx-varGB", "move-2"))
            await one.settles(State.PREPARED, "move-2")
    (told, *_) = [line for line in logs if "fault" in line["event"]]
    assert told["reservation"] == "move-1" and isinstance(told["exc_info"], KeyError) and told["retry_in"] > 0


async def test_after_a_fault_a_reservation_is_tried_again_when_its_pause_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(faults, "LONGEST_PAUSE", 0.02)
    backend = FaultyBackend()
    async with preparing(MemoryKernel(drivers=[Gfx()]), tmp_path, backends=[backend]) as one:
        one.told(one.new("gfx0", "gfx-varGB"))

        async def thrice() -> bool:
            return len(backend.asked) >= 3

        await eventually(thrice, timeout=30, what="three tries")
        backend.faulty.clear()
        await one.settles(State.PREPARED)


async def test_a_reservation_that_rests_is_not_woken_by_anything_but_its_own_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(faults, "LONGEST_PAUSE", 3600.0)
    backend = FaultyBackend()
    async with preparing(MemoryKernel(drivers=[Gfx()]), tmp_path, backends=[backend]) as one:
        content, other = one.new("gfx0", "gfx-varGB"), one.new("gfx0", "gfx-varGB", "move-2")
        one.told(content)

        async def met() -> bool:
            return bool(backend.asked)

        await eventually(met, timeout=30, what="the fault")
        one.told(content, other)
        await one.settles(State.PREPARED, "move-2")
        await one.eye.look()
        one.told(content, {**other, "intent": "Undo"})
        await one.settles(State.UNDONE, "move-2")
        assert len(backend.asked) == 1
        one.told({**content, "intent": "Undo"})
        await one.settles(State.UNDONE)
