"""Plays whoever moves virtual machines: asks with a DeviceMigration, waits, starts the machine, tells the outcome.

It keeps to the API's word and believes nothing else: a device is opened only while its migration is Ready, what cannot
be opened is told as Failed. A machine that has come to its end or to another node may be slow to let its device go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from mdev_api.kube.client import ApiError
from tests.chaos.plan import Ending, Move
from tests.chaos.stories import Machine, Register, Story, Vm
from tests.simulated.cluster import SimulatedCluster, condition, gpu
from tests.waiting import eventually

Object = dict[str, Any]

PATIENCE = 180.0
"""Seconds until a migration must have got anywhere, its deadline and a few deaths of the operator included."""
MOST_VMS = 8
LOOK = 0.15
LINGER_SECONDS = 1.5


class Mover:
    """``nodes`` by the names that the API server knows."""

    def __init__(self, cluster: SimulatedCluster, nodes: Mapping[str, Machine], register: Register) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._register = register

    async def carry(self, move: Move) -> None:
        """One migration from the beginning to its end."""
        vm = self._pick(move)
        story = await self._ask(move, vm)
        self._register.stories.append(story)
        try:
            await self._follow(story, vm)
        except TimeoutError as error:
            self._register.wrongs.append(f"migration {story.name} ({move.ending}): {error}")
        finally:
            if vm is not None:
                vm.moves = False

    def _pick(self, move: Move) -> Vm | None:
        running = [vm for vm in self._register.running() if move.rival or not vm.moves]
        if move.pick is None or not running:
            return None
        vm = running[int(move.pick * len(running))]
        vm.moves = True
        return vm

    async def _ask(self, move: Move, vm: Vm | None) -> Story:
        name = f"m{move.number}"
        spec: Object = {
            "deadlineSeconds": move.deadline,
            "preparedTTLSeconds": 2 if move.ending in (Ending.EXPIRED, Ending.LATE) else 3600,
            "sourcePolicy": "Remove" if move.remove else "Keep",
        }
        if move.node is not None and (vm is None or self._cluster.full(move.node) != vm.node.name):
            spec["nodeName"] = self._cluster.full(move.node)
        if vm is None:
            source = gpu(move.memory) if move.memory else nic()
        else:
            source = {"node": {"name": vm.node.name, "devices": [vm.device]}}
        made = await self._cluster.migrate(name, source, **spec)
        moved = None if vm is None else (vm.node.name, vm.device)
        return Story(move=move, name=name, uid=made["metadata"]["uid"], source=moved)

    async def _follow(self, story: Story, vm: Vm | None) -> None:
        move = story.move
        if move.ending is Ending.EARLY:
            if move.opens:
                await self._until(story, lambda o: condition(o, "Planned") is not None)
            await self._delete(story)
            return
        seen = await self._until(story, lambda o: is_ready(o) or is_finished(o))
        if seen is not None and is_ready(seen):
            self._note(story, seen)
            if move.ending is Ending.STAYS:
                return
            if move.ending is Ending.LATE:
                await self._start_late(story, vm)
            elif move.ending in (Ending.DELETED, Ending.EXPIRED):
                await self._leave(story)
            else:
                await self._move(story, vm)
            return
        await self._until(story, is_finished)

    async def _leave(self, story: Story) -> None:
        """Nobody says what came of it; the destination may be open for a while all the same."""
        node, device = self._nodes[story.node or ""], story.device or ""
        opened = story.move.opens and await asyncio.to_thread(node.open, device, story.boot)
        if story.move.ending is Ending.DELETED:
            await self._delete(story)
        else:
            await self._until(story, is_finished)
        if opened:
            await self._end_later(Vm(node=node, device=device, boot=story.boot))

    async def _start_late(self, story: Story, vm: Vm | None) -> None:
        """At about the time at which it expires: the answer says whether it is Ready still, and then it stays so."""
        await asyncio.sleep(story.move.late)
        seen = await self._tell(story, started=True)
        if seen is None or not is_ready(seen):
            # Expired, or lost a moment ago and prepared anew elsewhere: this machine does not move.
            await self._tell(story, outcome="Failed")
            await self._until(story, is_finished)
            return
        await self._move(story, vm)
        same_boot = self._nodes[story.node or ""].boots == story.boot
        if story.told == "Failed" and same_boot and story.device not in self._register.taken:
            self._register.wrongs.append(f"migration {story.name} was Ready and started, and its device was gone")

    async def _move(self, story: Story, vm: Vm | None) -> None:
        """Start the machine on the destination, and tell what came of it."""
        move = story.move
        node, device = self._nodes[story.node or ""], story.device or ""
        wanted = move.ending is not Ending.FAILED
        opened = (wanted or move.opens) and await asyncio.to_thread(node.open, device, story.boot)
        await self._tell(story, started=True)
        if move.ending is Ending.DELETED_STARTED:
            await self._delete(story, wait=False)
        arrived = Vm(node=node, device=device, boot=story.boot)
        if opened and wanted and arrived.runs:
            story.told, left = "Succeeded", vm
            self._register.vms.append(arrived)
            if vm in self._register.vms:
                self._register.vms.remove(vm)
        else:
            story.told, left = "Failed", arrived if opened else None
        if left is not None and not move.lingers:
            await asyncio.to_thread(left.end)
        await self._tell(story, outcome=story.told)
        await self._until(story, is_finished)
        if left is not None and move.lingers:
            await self._end_later(left)
        if story.told == "Succeeded":
            await self._end(move, arrived)

    async def _end_later(self, vm: Vm) -> None:
        """A machine that is slow to let its device go: whoever is to remove that must wait."""
        await asyncio.sleep(LINGER_SECONDS)
        await asyncio.to_thread(vm.end)

    async def _end(self, move: Move, vm: Vm) -> None:
        """The machine ends some day, and somebody may remove its device."""
        many = len(self._register.running()) > MOST_VMS
        if (move.ends is None and not many) or vm not in self._register.vms:
            return
        self._register.vms.remove(vm)
        await asyncio.to_thread(vm.end)
        if move.ends != "left" and vm.runs and await asyncio.to_thread(vm.node.take_away, vm.device):
            self._register.taken.add(vm.device)

    def _note(self, story: Story, seen: Object) -> None:
        device = seen["status"]["devices"][0]
        story.node, story.device = seen["status"]["node"], device["instance"]
        story.boot = self._nodes[story.node or ""].boots

    async def _tell(self, story: Story, **spec: Any) -> Object | None:
        try:
            return await self._cluster.tell(story.name, **spec)
        except ApiError as error:
            if not error.not_found:
                self._register.wrongs.append(f"migration {story.name} does not take {spec}: {error}")
            return None

    async def _delete(self, story: Story, *, wait: bool = True) -> None:
        story.gone = True
        try:
            await self._cluster.forget(story.name)
        except ApiError as error:
            if not error.not_found:
                raise
        if wait:
            await self._until(story, lambda o: False)

    async def _until(self, story: Story, holds: Callable[[Object], bool]) -> Object | None:
        """Wait until the migration is as it should be, or gone (None)."""
        last: Object | None = None

        async def look() -> bool:
            nonlocal last
            last = await self._cluster.migration(story.name)
            return last is None or holds(last)

        try:
            await eventually(look, timeout=PATIENCE, what="it to get on", interval=LOOK)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its status is {(last or {}).get('status')}") from None
        if last is not None and is_finished(last):
            story.ended = str((condition(last, "Finished") or {}).get("reason"))
        return last


def nic() -> Object:
    """An explicit source: a NIC of the sample driver with three values that a new one does not have."""
    values = [
        {"name": "new-feature", "type": "bool", "value": "off", "offValue": "off"},
        {"name": "num-queues", "type": "int", "value": "8"},
        {"name": "rx-mode", "type": "str", "value": "promiscuous"},
        {"name": "rx-limit", "type": "int", "value": "200", "offValue": "0"},
    ]
    return {"explicit": [{"name": "nic", "model": "vendor-a.com/my-nic", "values": values}]}


def is_ready(obj: Object) -> bool:
    """Whether it is Ready."""
    return (condition(obj, "Ready") or {}).get("status") == "True"


def is_finished(obj: Object) -> bool:
    """Whether it has ended."""
    return (condition(obj, "Finished") or {}).get("status") == "True"
