"""An agent whose predecessor is not quite gone: a call of it is still inside the kernel."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_asyncio

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_node_agent.acting import taking_over
from mdev_node_agent.sysfs.port import Directory
from tests.agent.node import Node, ensure_namespace
from tests.agent.reservations import entry, value
from tests.controlplane.control_plane import ControlPlane
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually, wait_until

PATIENCE = 30.0


@dataclass(kw_only=True)
class Driver:
    """A driver that has been asked for a device and takes its time: nothing of the device shows until ``on``."""

    asked: threading.Event
    on: threading.Event


class _Slow:
    """A directory in which a write to ``create`` waits."""

    def __init__(self, inner: Directory, driver: Driver) -> None:
        self._inner, self._driver = inner, driver
        self.name = inner.name
        self.list, self.read, self.link, self.close = inner.list, inner.read, inner.link, inner.close

    def open(self, name: str) -> _Slow:
        return _Slow(self._inner.open(name), self._driver)

    def write(self, name: str, data: bytes) -> None:
        if name == "create":
            self._driver.asked.set()
            self._driver.on.wait()
        self._inner.write(name, data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest_asyncio.fixture
async def node(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Node]:
    async with Client(load(control_plane.kubeconfig)) as client:
        await ensure_namespace(client)
        name = f"node-{uuid.uuid4().hex[:8]}"
        kernel = MemoryKernel(drivers=[Gfx()])
        yield Node(
            name=name, kernel=kernel, client=client, kubeconfig=control_plane.kubeconfig, state_dir=tmp_path / name
        )


@pytest.fixture
def driver(node: Node) -> Iterator[Driver]:
    driver = Driver(asked=threading.Event(), on=threading.Event())
    quick = node.kernel.open
    node.kernel.open = lambda path: _Slow(quick(path), driver)  # type: ignore[method-assign]
    yield driver
    driver.on.set()


async def end_inside_the_driver(node: Node, driver: Driver) -> None:
    """An agent ends while the driver still makes the device of move-1; what the entry says then is Undo."""
    async with node.agent():
        profile = await node.profile("gfx0", "gfx-varGB")
        device = {"create": {"parent": "gfx0", "type": "gfx-varGB", "profile": profile}}
        await node.reserve(
            entry("move-1", boot_id=node.kernel.boot_id(), device=device, values=[value("memory", "4096")])
        )
        assert await asyncio.to_thread(driver.asked.wait, PATIENCE), "the driver was not asked"
    await node.tell("Undo")


async def healthy(node: Node) -> dict[str, Any]:
    conditions = (await node.status()).get("conditions", ())
    return next((c for c in conditions if c["type"] == "Healthy"), {})


async def test_a_device_that_an_ended_agent_was_still_making_is_undone_by_the_next(node: Node, driver: Driver) -> None:
    await end_inside_the_driver(node, driver)
    async with node.agent():
        while_it_waits = await node.answer("move-1")
        driver.on.set()
        await node.answered("move-1", "Undone", timeout=PATIENCE)
    wait_until(lambda: node.kernel.devices() == [], timeout=PATIENCE, what="no device to be left")
    assert (while_it_waits or {}).get("state") != "Undone"


async def test_an_agent_that_waits_for_an_ended_one_says_so_on_nodedevices(
    node: Node, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking_over, "TELL_SECONDS", 0.5)
    await end_inside_the_driver(node, driver)
    before = (await node.status())["parents"]
    async with node.agent():

        async def told() -> dict[str, Any] | None:
            condition = await healthy(node)
            return condition if condition.get("status") == "False" else None

        condition = await eventually(told, timeout=PATIENCE, what="Healthy to be False")
        kept = (await node.status())["parents"]
        driver.on.set()

        async def well() -> bool:
            return (await healthy(node)).get("status") == "True"

        await eventually(well, timeout=PATIENCE, what="Healthy to be True again")
    assert (condition["reason"], kept) == ("Waiting", before)
    assert str(node.state_dir) in condition["message"] and "state D" in condition["message"]
