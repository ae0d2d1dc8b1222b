"""When to look at the node: at once, after kernel uevents, and each minute in any case.

Which uevents are a reason (design section 5: events trigger everything):

* of devices as such, whatever they are: subsystems mdev, pci, vfio; a parent that says what it is now (MDEV_STATE);
* of what was seen already, or of anything below it in the device path, whatever its subsystem and action: a driver may
  have something to tell, e.g. metadata that comes after the registration. Above what was seen are only PCI bridges.

All others (disks, network, block queues: a node that starts pods has many) are not. An event that comes during a look
may be of something that this look finds and has read too early: then it is a reason for the next one.

Uevents come in bursts (four for one new mdev), so a look waits until they pause for a moment. Events that the kernel
dropped, and attribute writes, which send none, are what the rescan is for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from mdev_node_agent.seeing.observation import Observation
from mdev_node_agent.seeing.sight import Eye
from mdev_node_agent.sysfs.port import EventsLost, Port, Uevent

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.05
LONGEST_BURST_SECONDS = 0.5
HURRY_SECONDS = 2.0
MOST_UNCLEAR = 1000
SUBSYSTEMS = frozenset({"mdev", "pci", "vfio", "vfio-dev"})


def concerns_devices(event: Uevent) -> bool:
    """Is it of a device that may be new, known or gone?"""
    return event.subsystem in SUBSYSTEMS or "MDEV_STATE" in event.properties


def is_of(devpath: str, observation: Observation) -> bool:
    """Is it the path of a parent or device that was seen, or of something below one? By kernel names alone."""
    names = set(devpath.split("/"))
    return any(known.name in names for known in observation.parents) or any(
        known.id in names for known in observation.instances
    )


class Scanner:
    """Looks whenever there is a reason.

    ``hurry``: does somebody wait for what no event tells (a device that is closed)? ``on_rescan`` is called after each
    look of the timer.
    """

    def __init__(
        self, *, eye: Eye, rescan_seconds: float, hurry: Callable[[], bool], on_rescan: Callable[[], None]
    ) -> None:
        self._eye = eye
        self._rescan_seconds = rescan_seconds
        self._hurry = hurry
        self._on_rescan = on_rescan
        self._event = asyncio.Event()
        eye.on_recovery = self._event.set
        self._looks_under_way = 0
        self._unclear: set[str] = set()

    async def run(self, port: Port) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(port), name="uevents")
            group.create_task(self._follow_events(), name="looks")
            group.create_task(self._rescan(), name="rescan")
            group.create_task(self._look_in_a_hurry(), name="hurry")

    async def _listen(self, port: Port) -> None:
        while True:
            try:
                async for event in port.events():
                    self._heard(event)
            except OSError as error:
                log.error("no kernel events, only the rescan tells what changes", reason=str(error))
            await asyncio.sleep(self._rescan_seconds)

    def _heard(self, event: Uevent | EventsLost) -> None:
        seen = self._eye.latest
        if isinstance(event, EventsLost):
            log.warning("the kernel dropped events, looking at everything")
            self._event.set()
        elif concerns_devices(event) or (seen is not None and is_of(event.devpath, seen.observation)):
            self._event.set()
        elif self._looks_under_way:
            self._unclear.add(event.devpath)
            if len(self._unclear) > MOST_UNCLEAR:
                self._unclear.clear()
                self._event.set()

    async def _follow_events(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._event.wait()
            latest = loop.time() + LONGEST_BURST_SECONDS
            while self._event.is_set() and loop.time() < latest:
                self._event.clear()
                await asyncio.sleep(PAUSE_SECONDS)
            await self._look()

    async def _rescan(self) -> None:
        while True:
            await self._look()
            self._on_rescan()
            await asyncio.sleep(self._rescan_seconds * random.uniform(0.9, 1.1))

    async def _look_in_a_hurry(self) -> None:
        while True:
            await asyncio.sleep(HURRY_SECONDS)
            if self._hurry():
                await self._look()

    async def _look(self) -> None:
        self._looks_under_way += 1
        try:
            sight = await self._eye.look()
        except OSError as error:
            log.error("cannot look at the node", reason=str(error))
        else:
            if any(is_of(path, sight.observation) for path in self._unclear):
                self._event.set()
        finally:
            self._looks_under_way -= 1
            if not self._looks_under_way:
                self._unclear.clear()
