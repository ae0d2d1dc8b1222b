"""When the agent looks: which uevents are a reason, and that none is lost while a look is under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from mdev_node_agent.backends.backend import Backend, Findings
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.scanner import Scanner, concerns_devices, is_of
from mdev_node_agent.seeing.sight import Eye
from mdev_node_agent.sysfs.port import Port, Uevent
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty
from tests.waiting import eventually

FIRST = "00000000-0000-4000-8000-000000000001"
METADATA = "module/gfx/parameters/metadata"


class PublishingAfterTheFirstRead(MdevBackend):
    """The driver publishes its metadata just after the first look has read that there is none."""

    def discover(self, port: Port) -> Findings:
        findings = MdevBackend().discover(port)
        with port.open("module/gfx/parameters") as parameters:
            parameters.write("metadata", b"Y\n")
        return findings


@asynccontextmanager
async def scanning(kernel: MemoryKernel, backends: Sequence[Backend] = (MdevBackend(),)) -> AsyncIterator[Eye]:
    """A scanner at work whose rescan never comes."""
    eye = Eye(kernel, backends, kernel)
    scanner = Scanner(eye=eye, rescan_seconds=3600, hurry=lambda: False, on_rescan=lambda: None)
    work = asyncio.create_task(scanner.run(kernel))
    try:
        yield eye
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def first_look(eye: Eye) -> None:
    async def look() -> bool:
        return eye.latest is not None

    await eventually(look, timeout=20, what="the first look")


async def published(eye: Eye) -> str:
    """The model that the latest look saw, as soon as there is one."""

    async def look() -> str | None:
        offer = None if eye.latest is None else eye.latest.observation.offer("gfx0", "gfx-4GB")
        return None if offer is None else offer.profile.get("published", {}).get("model")

    return await eventually(look, timeout=20, what="the type's metadata to be seen")


def event(devpath: str, subsystem: str, **properties: str) -> Uevent:
    return Uevent(action="change", devpath=devpath, subsystem=subsystem, properties=properties)


async def test_metadata_that_comes_after_the_registration_is_seen_at_the_drivers_change_event() -> None:
    kernel = MemoryKernel(drivers=[Gfx(metadata=False)])
    async with scanning(kernel) as eye:
        await first_look(eye)
        await asyncio.to_thread(kernel.write, METADATA, "Y")
        assert await published(eye) == "com.gfx/GPU"


async def test_an_event_during_the_look_that_finds_its_device_leads_to_another_look() -> None:
    kernel = MemoryKernel(drivers=[Gfx(metadata=False)])
    async with scanning(kernel, [PublishingAfterTheFirstRead()]) as eye:
        assert await published(eye) == "com.gfx/GPU"


@pytest.mark.parametrize(
    "devpath",
    [
        "/devices/virtual/gfx/gfx0",
        "/devices/virtual/gfx/gfx0/mdev_supported_types/gfx-4GB",
        f"/devices/elsewhere/{FIRST}/net/eth7",
    ],
)
def test_whatever_happens_at_or_below_a_known_parent_or_device_is_a_reason_to_look(devpath: str) -> None:
    kernel = MemoryKernel(drivers=[Gfx(), Mtty()])
    kernel.write("class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", FIRST)
    assert is_of(devpath, observe(kernel, [MdevBackend()]))


@pytest.mark.parametrize("devpath", ["/devices/virtual/block/loop0", "/devices/virtual/gfx/gfx01", "/", "/gfx"])
def test_what_happens_elsewhere_is_none(devpath: str) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    assert not is_of(devpath, observe(kernel, [MdevBackend()]))


@pytest.mark.parametrize("subsystem", ["mdev", "pci", "vfio", "vfio-dev"])
def test_a_device_that_nobody_knows_yet_is_a_reason_by_its_subsystem(subsystem: str) -> None:
    assert concerns_devices(event("/devices/new", subsystem))


def test_a_parent_that_registers_is_a_reason_whatever_its_subsystem() -> None:
    assert concerns_devices(event("/devices/new", "gfx", MDEV_STATE="registered"))


def test_other_subsystems_are_none_by_themselves() -> None:
    assert not concerns_devices(event("/devices/virtual/block/loop0", "block"))
