"""A value that is written back, and a driver that does not come back from it in time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import EntryAnswer, FailureReason, State
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.settings import Deadlines
from tests.agent.preparing import Bench, preparing
from tests.agent.reservations import entry, value
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel

POOLED = instance_uuid("move-1")


def fault(one: Bench, name: str, setting: str) -> None:
    one.kernel.write(f"module/gfx/parameters/{name}", f"{setting}\n")


def memory(one: Bench) -> str:
    return one.kernel.read(f"bus/mdev/devices/{POOLED}/migration/memory")


def writes(one: Bench) -> int:
    return int(one.kernel.read("module/gfx/parameters/write_count"))


@asynccontextmanager
async def hanging(
    state_dir: Path, type_id: str = "gfx-varGB", *, refused: str = "", **values: str
) -> AsyncIterator[Bench]:
    """A pooled device whose values were changed for move-2; its undo hangs where the first of them is written back."""
    kernel, changed = MemoryKernel(drivers=[Gfx()]), values or {"memory": "4096"}
    async with preparing(kernel, state_dir, deadlines=Deadlines(call=2.0, remove=2.0)) as one:
        pool = one.new("gfx0", type_id)
        one.told(pool)
        await one.settles(State.PREPARED)
        device = {"instance": POOLED, "profile": pool["device"]["create"]["profile"]}
        wanted = [value(name.replace("_", "-"), text) for name, text in changed.items()]
        member = entry("move-2", boot_id=kernel.boot_id(), device=device, values=wanted)
        one.told(pool, member)
        await one.settles(State.PREPARED, "move-2")
        fault(one, "hang_write", wanted[0]["name"])
        fault(one, "fail_write", refused)
        one.told(pool, {**member, "intent": "Undo"})
        try:
            yield one
        finally:
            fault(one, "hang_write", "")


def still_wrong(answer: EntryAnswer) -> bool:
    return answer.failure is not None and answer.failure.reason is FailureReason.READBACK_MISMATCH


async def test_a_restore_that_hangs_is_told_as_what_it_is(tmp_path: Path) -> None:
    async with hanging(tmp_path) as one:
        answer = await one.settles(State.TAINTED, "move-2")
    assert answer.failure is not None and answer.waiting is None
    assert (answer.failure.reason, answer.failure.step) == (FailureReason.DEADLINE, StepName.UNDO)
    assert f"restore memory of {POOLED}" in answer.failure.message and "the call goes on" in answer.failure.message


async def test_a_restore_that_worked_late_is_undone(tmp_path: Path) -> None:
    async with hanging(tmp_path) as one:
        await one.settles(State.TAINTED, "move-2")
        one.preparer.poke(retry=True)
        fault(one, "hang_write", "")
        answer = await one.comes(lambda answer: answer.state is State.UNDONE, "move-2")
        assert memory(one) == "1024" and answer.failure is None


async def test_a_restore_that_fails_late_is_not_written_again_and_its_errno_is_told(tmp_path: Path) -> None:
    async with hanging(tmp_path) as one:
        await one.settles(State.TAINTED, "move-2")
        before = writes(one)
        one.preparer.poke(retry=True)
        fault(one, "fail_write", "memory")
        fault(one, "hang_write", "")
        answer = await one.comes(still_wrong, "move-2")
        assert answer.state is State.TAINTED and answer.failure is not None
        assert answer.failure.errno == "EIO" and "refused to restore memory" in answer.failure.message
        assert (writes(one) - before, memory(one)) == (0, "4096")


async def test_what_was_refused_before_another_restore_hung_is_not_written_again_when_that_returns(
    tmp_path: Path,
) -> None:
    async with hanging(tmp_path, "gfx-nic", refused="rx-limit", num_queues="8", rx_limit="100") as one:
        await one.settles(State.TAINTED, "move-2")
        one.preparer.poke(retry=True)
        await one.eye.look()
        fault(one, "hang_write", "")
        await one.comes(still_wrong, "move-2")
        log = one.kernel.read("module/gfx/parameters/log")
        assert log.count("write rx-limit -") == 1
        assert one.kernel.read(f"bus/mdev/devices/{POOLED}/migration/num-queues") == "4"
