"""What carrying steps out guarantees: on the kernel in memory, without an API server."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_reservations import Entry, EntryAnswer, Failure, FailureReason, State, Waiting
from mdev_api.kube.client import Client
from mdev_api.kube.credentials import Credentials
from mdev_node_agent.acting.answers import Answers
from mdev_node_agent.acting.hands import Hands
from mdev_node_agent.acting.preparer import Preparer
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.memory.journal import Journal
from mdev_node_agent.memory.ledger import Ledger
from mdev_node_agent.memory.sole import SoleUse
from mdev_node_agent.publishing.inventory import profile_of
from mdev_node_agent.seeing.sight import Eye
from mdev_node_agent.settings import Deadlines
from tests.agent.reservations import entry, value
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

MINE = instance_uuid("move-1")
HASTY = Deadlines(call=2.0, remove=0.5, look=2.0)
"""For calls that hang; a busy machine must not take an ordinary one for such."""


class Bench:
    """A kernel, and the part of an agent that carries reservations out."""

    def __init__(self, kernel: MemoryKernel, state_dir: Path, deadlines: Deadlines) -> None:
        self.kernel = kernel
        boot_id = kernel.boot_id()
        self.eye = Eye(kernel, [MdevBackend()], kernel, patience=deadlines.look)
        self.ledger = Ledger(state_dir, boot_id)
        self.journal = Journal(state_dir, boot_id)
        self.sole = SoleUse(state_dir)
        hands = Hands(
            port=kernel,
            backends=[MdevBackend()],
            journal=self.journal,
            ledger=self.ledger,
            boot_id=boot_id,
            sole=self.sole,
        )
        # No request is ever sent: nothing runs the answers' way to the API server.
        self.answers = Answers(Client(Credentials(server="http://127.0.0.1:1", origin="test")), "node", boot_id)
        self.preparer = Preparer(eye=self.eye, hands=hands, answers=self.answers, deadlines=deadlines)
        self.eye.on_look = lambda sight: self.preparer.poke()

    def told(self, *contents: dict[str, Any]) -> None:
        self.preparer.take([Entry.model_validate(content) for content in contents])

    async def comes(self, what: Callable[[EntryAnswer], bool], entry_id: str = "move-1") -> EntryAnswer:
        """Wait for an answer."""

        async def look() -> EntryAnswer | None:
            answer = self.answers.given.get(entry_id)
            return answer if answer is not None and what(answer) else None

        return await eventually(look, timeout=30, what=f"the answer to {entry_id}")

    async def settles(self, state: State, entry_id: str = "move-1") -> EntryAnswer:
        return await self.comes(lambda answer: answer.state is state, entry_id)

    async def fails(self, entry_id: str = "move-1") -> Failure:
        failure = (await self.settles(State.FAILED, entry_id)).failure
        assert failure is not None
        return failure

    def new(self, entry_id: str = "move-1", *, intent: str = "Hold", parent: str = "gfx0") -> dict[str, Any]:
        """An entry that asks for a new GPU with other memory than it is made with."""
        assert self.eye.latest is not None
        offer = self.eye.latest.observation.offer(parent, "gfx-varGB")
        assert offer is not None
        create = {"create": {"parent": parent, "type": "gfx-varGB", "profile": profile_of(offer).name}}
        values = [value("memory", "4096")]
        return entry(entry_id, boot_id=self.kernel.boot_id(), device=create, values=values, intent=intent)

    def fault(self, name: str, setting: str) -> None:
        self.kernel.write(f"module/gfx/parameters/{name}", f"{setting}\n")

    def count(self, name: str) -> int:
        return int(self.kernel.read(f"module/gfx/parameters/{name}"))


@asynccontextmanager
async def bench(
    state_dir: Path, kernel: MemoryKernel | None = None, deadlines: Deadlines | None = None
) -> AsyncIterator[Bench]:
    one = Bench(kernel or MemoryKernel(drivers=[Gfx(parents=2)]), state_dir, deadlines or Deadlines())
    await one.eye.look()
    task = asyncio.create_task(one.preparer.run())
    try:
        yield one
    finally:
        one.fault("hang_write", "")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        one.journal.close()


async def test_where_another_agent_was_first_in_a_directory_that_came_late_nothing_is_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    state = tmp_path / "file" / "state"
    async with bench(state) as node:
        with pytest.raises(OSError):
            node.sole.take()
        (tmp_path / "file").unlink()
        other = SoleUse(state)
        assert other.take()
        node.told(node.new())
        failure = await node.fails()
    assert "another agent of this node has" in failure.message
    assert node.count("create_count") == 0


async def test_without_a_journal_nothing_is_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with bench(tmp_path / "file") as one:
        one.told(one.new())
        failure = await one.fails()
        assert failure.reason is FailureReason.JOURNAL_FAILED and "--state-dir" in failure.message
        assert one.count("create_count") == 0
        one.told(one.new(intent="Undo"))
        await one.settles(State.UNDONE)


async def test_the_ledger_lists_what_was_made_with_reservation_and_boot(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        one.told(one.new())
        await one.settles(State.PREPARED)
        made = Ledger(tmp_path, one.kernel.boot_id()).instances[MINE]
        assert (made.reservation, made.boot_id) == ("move-1", one.kernel.boot_id())


async def test_a_write_that_hangs_holds_no_other_parent_up(tmp_path: Path) -> None:
    async with bench(tmp_path, deadlines=HASTY) as one:
        one.fault("hang_write", "memory")
        other = {**one.new("move-2", parent="gfx1"), "values": [value("memory", "1024")]}
        one.told(one.new(), other)
        assert (await one.settles(State.PREPARED, "move-2")).instance == instance_uuid("move-2")
        assert (await one.fails()).reason is FailureReason.DEADLINE


async def test_what_a_late_call_leaves_is_undone_when_it_returns(tmp_path: Path) -> None:
    async with bench(tmp_path, deadlines=HASTY) as one:
        one.fault("hang_write", "memory")
        one.told(one.new())
        await one.fails()
        one.told(one.new(intent="Undo"))
        await one.comes(lambda answer: answer.waiting is Waiting.REMOVE_BLOCKED)
        assert one.kernel.devices() == [MINE]
        one.fault("hang_write", "")
        await one.settles(State.UNDONE)
        assert one.kernel.devices() == []


async def test_of_two_that_race_for_the_last_device_one_fails_for_lack_of_room(tmp_path: Path) -> None:
    kernel = MemoryKernel(drivers=[Gfx(pool_mb=4096)])
    async with bench(tmp_path, kernel) as one:
        one.told(one.new("move-1"), one.new("move-2"))

        async def both() -> list[EntryAnswer] | None:
            answers = list(one.answers.given.values())
            return answers if len(answers) == 2 else None

        answers = await eventually(both, timeout=5, what="both answers")
        assert sorted(answer.state for answer in answers) == [State.FAILED, State.PREPARED]
        failure = next(answer.failure for answer in answers if answer.failure is not None)
        assert (failure.reason, failure.errno) == (FailureReason.NO_CAPACITY, "ENOSPC")


async def test_with_journal_and_ledger_lost_a_device_of_our_uuid_is_still_undone(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        one.told(one.new())
        await one.settles(State.PREPARED)
    shutil.rmtree(tmp_path)
    async with bench(tmp_path, one.kernel) as two:
        two.told(two.new(intent="Undo"))
        await two.settles(State.UNDONE)
        assert two.kernel.devices() == []


async def test_a_failure_stands_after_a_restart_though_its_cause_is_gone(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        one.fault("fail_write", "memory")
        one.told(one.new())
        first = await one.fails()
        one.fault("fail_write", "")
    async with bench(tmp_path, one.kernel) as two:
        two.told(two.new())
        assert await two.fails() == first


async def test_a_pooled_device_gets_its_value_back_and_stays(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        one.told({**one.new(), "values": []})
        await one.settles(State.PREPARED)
        device = {"instance": MINE, "profile": one.new()["device"]["create"]["profile"]}
        member = {**one.new("move-2"), "device": device}
        one.told({**one.new(), "values": []}, member)
        # Another reservation made it: the ledger says that it is ours, so it may be written.
        assert (await one.comes(lambda a: a.state is not State.PENDING, "move-2")).state is State.PREPARED
        assert one.kernel.read(f"bus/mdev/devices/{MINE}/migration/memory") == "4096"
        one.told({**one.new(), "values": []}, {**member, "intent": "Undo"})
        await one.settles(State.UNDONE, "move-2")
        assert one.kernel.read(f"bus/mdev/devices/{MINE}/migration/memory") == "1024"


async def test_an_undo_that_fails_is_tainted_and_tried_again_at_a_rescan(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        pool = {**one.new(), "values": []}
        one.told(pool)
        await one.settles(State.PREPARED)
        device = {"instance": MINE, "profile": one.new()["device"]["create"]["profile"]}
        member = {**one.new("move-2"), "device": device}
        one.told(pool, member)
        await one.settles(State.PREPARED, "move-2")
        one.fault("fail_write", "memory")
        one.told(pool, {**member, "intent": "Undo"})
        assert (await one.settles(State.TAINTED, "move-2")).failure is not None
        one.fault("fail_write", "")
        one.preparer.poke(retry=True)
        await one.settles(State.UNDONE, "move-2")
        assert one.kernel.read(f"bus/mdev/devices/{MINE}/migration/memory") == "1024"
