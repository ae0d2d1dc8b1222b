"""What a driver refuses while a reservation is carried out or taken back: asked once, and told as it was."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

from mdev_api.kinds.node_reservations import FailureReason, State
from mdev_api.kinds.node_reservations import Step as StepName
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.sysfs.port import Port
from tests.agent.preparing import preparing
from tests.agent.reservations import value
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
