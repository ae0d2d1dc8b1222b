"""What a driver refuses while a reservation is carried out or taken back: asked once, and told as it was."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mdev_api.kinds.node_reservations import FailureReason, State
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.backends.backend import Findings
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.sysfs.port import Port
from tests.agent.preparing import preparing
from tests.agent.reservations import entry, value
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel

EIGHT = [value("memory", "8192")]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepingBackend(MdevBackend):
    """Its driver does not let go of a device, and says why by this errno."""

    number: int
    asked: list[str] = field(default_factory=list)

    def release(self, port: Port, *, instance: str) -> None:
        self.asked.append(instance)
        raise OSError(self.number, "kept")


@dataclass(frozen=True, kw_only=True, slots=True)
class BlindBackend(MdevBackend):
    """It sees the devices and, while ``blind`` has anything, no type of theirs."""

    blind: list[str] = field(default_factory=lambda: ["still"])

    def discover(self, port: Port) -> Findings:
        found = MdevBackend.discover(self, port)
        if not self.blind:
            return found
        return replace(found, parents=tuple(replace(parent, offers=()) for parent in found.parents))


async def test_a_write_that_is_answered_eexist_is_a_refusal_like_any_other(tmp_path: Path) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    kernel.write("module/gfx/parameters/fail_write", "memory\n")
    kernel.write("module/gfx/parameters/fail_write_errno", f"{errno.EEXIST}\n")
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new("gfx0", "gfx-varGB", values=EIGHT))
        failure = await one.fails()
    assert (failure.reason, failure.step, failure.errno) == (FailureReason.REFUSED, StepName.WRITE, "EEXIST")
    assert kernel.read("module/gfx/parameters/write_count") == "1"


async def test_a_removal_that_is_answered_eexist_is_tainted_and_not_tried_on_and_on(tmp_path: Path) -> None:
    keeping = KeepingBackend(number=errno.EEXIST)
    async with preparing(MemoryKernel(drivers=[Gfx()]), tmp_path, backends=[keeping]) as one:
        content = one.new("gfx0", "gfx-varGB")
        one.told(content)
        await one.settles(State.PREPARED)
        one.told({**content, "intent": "Undo"})
        failure = (await one.settles(State.TAINTED)).failure
    assert failure is not None and (failure.step, failure.errno) == (StepName.REMOVE, "EEXIST")
    assert len(keeping.asked) == 1


@pytest.mark.parametrize("intent", ["Undo", "UndoIfUnused"])
async def test_with_the_journal_lost_an_undo_waits_until_the_type_of_the_device_is_seen(
    tmp_path: Path, intent: str
) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    async with preparing(kernel, tmp_path / "lost") as one:
        content = one.new("gfx0", "gfx-varGB", values=EIGHT)
        one.told(content)
        prepared = await one.settles(State.PREPARED)
    blind = BlindBackend()
    async with preparing(kernel, tmp_path / "new", backends=[blind]) as two:
        two.answers.adopt({"move-1": prepared})
        two.told({**content, "intent": intent})
        failure = (await two.settles(State.TAINTED)).failure
        assert failure is not None and "cannot be seen" in failure.message
        assert kernel.devices() == [prepared.instance]
        blind.blind.clear()
        await two.eye.look()
        two.preparer.poke(retry=True)
        await two.comes(lambda answer: answer.state is State.UNDONE)
    assert kernel.devices() == []


async def test_a_removal_waits_until_the_type_of_the_device_is_seen(tmp_path: Path) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    blind = BlindBackend(blind=[])
    async with preparing(kernel, tmp_path, backends=[blind]) as one:
        content = one.new("gfx0", "gfx-varGB")
        one.told(content)
        instance = (await one.settles(State.PREPARED)).instance
        one.told({**content, "intent": "HandOver"})
        await one.settles(State.HANDED_OVER)
        device = {"instance": instance, "profile": content["device"]["create"]["profile"]}
        leaving = entry("move-2", boot_id=kernel.boot_id(), device=device, intent="RemoveIfUnused", role="Source")
        blind.blind.append("now")
        one.told(leaving)
        await one.settles(State.TAINTED, "move-2")
        blind.blind.clear()
        await one.eye.look()
        one.preparer.poke(retry=True)
        await one.comes(lambda answer: answer.state is State.REMOVED, "move-2")
