"""Between two looks: which answers of the kubelet lead to a look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.kubelet import poll as module
from mdev_node_agent.kubelet.pod_resources import Kubelet, KubeletSilentError
from mdev_node_agent.kubelet.serving import View
from mdev_node_agent.seeing.sight import Eye
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually

VIEW = View(allocatable={"vendor.com/gpu": ("a",)})


class Polled:
    """A poll of a kubelet that answers as told, and what came of it."""

    def __init__(self) -> None:
        self.answer: View | None = VIEW
        self.questions = 0
        self.looks = 0
        kernel = MemoryKernel(drivers=[Gfx()])
        self.kubelet = Kubelet(Path("/kubelet"), asking=self._say)
        self.eye = Eye(kernel, [MdevBackend()], kernel, self.kubelet.ask)
        self.eye.on_look = lambda sight: self._looked()

    def _say(self, socket: Path) -> View:
        self.questions += 1
        if self.answer is None:
            raise KubeletSilentError("nobody there", slow=False)
        return self.answer

    def _looked(self) -> None:
        self.looks += 1

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until it is so."""

        async def look() -> bool:
            return done()

        await eventually(look, timeout=5, what="the poll")

    async def asked_again(self) -> None:
        """Wait until the kubelet was asked three times more."""
        goal = self.questions + 3
        await self.until(lambda: self.questions >= goal)


@pytest.fixture
async def polled(monkeypatch: pytest.MonkeyPatch) -> Polled:
    monkeypatch.setattr(module, "HURRY_SECONDS", 0.01)
    polled = Polled()
    await polled.eye.look()
    return polled


async def with_poll(polled: Polled, what: Callable[[], object], *, hurry: bool = True) -> None:
    work = asyncio.create_task(module.poll(polled.kubelet, polled.eye, lambda: hurry))
    try:
        await polled.asked_again()
        looks = polled.looks
        what()
        if looks == polled.looks:
            await polled.asked_again()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_an_answer_that_is_the_same_leads_to_no_look(polled: Polled) -> None:
    await with_poll(polled, lambda: None)
    assert polled.looks == 1


async def test_an_answer_that_differs_leads_to_one_look(polled: Polled) -> None:
    def change() -> None:
        polled.answer = View()

    await with_poll(polled, change)
    assert polled.looks == 2


async def test_the_first_answer_after_a_silence_leads_to_a_look_though_it_is_the_same(polled: Polled) -> None:
    polled.answer = None
    await polled.eye.look()

    def back() -> None:
        polled.answer = VIEW

    await with_poll(polled, back)
    assert polled.looks == 3
    assert polled.eye.latest is not None and polled.eye.latest.service.current


async def test_a_silence_leads_to_no_looks(polled: Polled) -> None:
    polled.answer = None
    await polled.eye.look()
    await with_poll(polled, lambda: None)
    assert polled.looks == 2
