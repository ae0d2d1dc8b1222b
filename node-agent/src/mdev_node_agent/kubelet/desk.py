"""Hands devices to pods, for all resources that our own device plugin serves: what is listed, and what Allocate does.

Listed for each resource: the slots that pods have, and as many free ones as the node could still serve, together at
most :data:`MAX_SLOTS`. So the list shrinks and grows with the room on the parents, whoever takes it.

One pod is served at a time, from a look at the node that began after the kubelet asked. The binding of slot and
instance is on disk before a device is made and before the kubelet hears of it: whenever the agent dies, the kubelet
either knows nothing, and the slot is released in a while, or finds everything as it was told. Nothing is removed here:
a device that its pod has left is handed to the next pod, or falls to the ledger's rule.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from mdev_api.hashing import instance_uuid
from mdev_node_agent.acting.hands import Hands
from mdev_node_agent.acting.preparer import Preparer
from mdev_node_agent.blocking import in_thread
from mdev_node_agent.deciding.steps import Create
from mdev_node_agent.kubelet.allocation import KEY_PREFIX, Existing, RefusedError, Room, Stock, choose, stock_of
from mdev_node_agent.kubelet.resources import types_of
from mdev_node_agent.kubelet.serving import OwnResource
from mdev_node_agent.kubelet.slots import GONE_SECONDS, Presence, Slot, Slots, presences
from mdev_node_agent.memory.journal import JournalError
from mdev_node_agent.seeing.observation import Instance, Observation
from mdev_node_agent.seeing.sight import Eye, Sight
from mdev_node_agent.sysfs.attribute import reason

log = structlog.get_logger(__name__)

MAX_SLOTS = 64
"""Of one resource."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """One slot as the kubelet is to see it."""

    id: str
    healthy: bool = True


class Desk:
    """``resources``: the types by resource, as they are named in the settings. ``clock``: monotonic."""

    def __init__(
        self,
        *,
        eye: Eye,
        preparer: Preparer,
        hands: Hands,
        slots: Slots,
        resources: Mapping[str, Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._eye = eye
        self._preparer = preparer
        self._hands = hands
        self._slots = slots
        self._resources = resources
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._presences: dict[str, Presence] = {}
        self._released: frozenset[str] = frozenset()
        self._making: dict[str, str] = {}
        self._free_ids: dict[str, list[str]] = {resource: [] for resource in resources}
        self._listed: dict[str, tuple[Listed, ...]] = {}
        self._listeners: set[asyncio.Event] = set()
        self._wake = asyncio.Event()
        self._outdated = asyncio.Event()
        for key in [key for key in hands.journal.records if key.startswith(KEY_PREFIX)]:
            hands.end(key)

    @property
    def is_ready(self) -> bool:
        """Was the node looked at?"""
        return self._eye.latest is not None

    @property
    def waits(self) -> bool:
        """Was something handed out that the kubelet does not list yet, or no more? No event tells when that changes."""
        return any(slot not in self._released for slot, presence in self._presences.items() if presence.looks)

    def own(self, observation: Observation) -> dict[str, OwnResource]:
        """What serving has to know; called from a thread."""
        bound, released, made = self._slots.bound, self._released, self._hands.ledger.instances
        given = self._given(bound, released)
        found = {}
        for resource, wanted in self._resources.items():
            types = types_of(wanted, observation)
            mine = {key: slot.instance for key, slot in bound.items() if slot.resource == resource}
            ours = (i.id for i in observation.instances if i.type in types and i.id in made)
            found[resource] = OwnResource(
                types=types,
                instances=mine,
                given=frozenset(instance for key, instance in mine.items() if key not in released),
                idle=frozenset(instance for instance in ours if instance not in given),
            )
        return found

    def looked(self, sight: Sight) -> None:
        """The node was looked at: release what no pod has any more, and list anew."""
        if sight.service.current:
            listed = {served.instance for served in sight.service.serving}
            now, bound = self._clock(), self._slots.bound
            self._presences = presences(self._presences, bound, listed, now)
            released = frozenset(key for key, presence in self._presences.items() if presence.is_released(now))
            for key in released - self._released:
                slot = bound[key]
                log.info("the pod has left its device", resource=slot.resource, slot=key, instance=slot.instance)
            if released != self._released:
                # Who uses what was seen by what was handed out before this look.
                self._released = released
                self._outdated.set()
        self._list(sight)
        self._wake.set()

    def answered(self) -> None:
        """A reservation has got another answer: what was made or written has changed the room, and no event tells."""
        self._outdated.set()

    async def listings(self, resource: str) -> AsyncIterator[tuple[Listed, ...]]:
        """The slots of the resource, now and whenever they change."""
        changed, sent = asyncio.Event(), None
        self._listeners.add(changed)
        try:
            while True:
                changed.clear()
                listed = self._listed.get(resource, ())
                if listed != sent:
                    yield listed
                    sent = listed
                await changed.wait()
        finally:
            self._listeners.discard(changed)

    def bound_slots(self) -> frozenset[str]:
        """Slots that have, or had, a device behind them."""
        return frozenset(self._slots.bound)

    async def allocate(self, resource: str, slots: Sequence[str]) -> list[Instance]:
        """A device for each slot that the kubelet gives to a container. RefusedError."""
        async with self._one_at_a_time:
            given = [await self._allocate(resource, slot) for slot in slots]
            sight = await self._look()
            self._list(sight)
        seen = [sight.observation.instance(instance) for instance in given]
        if any(instance is None for instance in seen):
            raise RefusedError("INTERNAL", f"a device of {resource} has vanished just after it was handed out")
        return [instance for instance in seen if instance is not None]

    async def check(self, resource: str, slots: Sequence[str]) -> None:
        """Before a container starts: is what the slots stand for still there? RefusedError."""
        sight = await self._look()
        for slot in slots:
            bound = self._slots.bound.get(slot)
            if bound is None:
                what = f"slot {slot} of {resource} has no device since this boot of the node"
                raise RefusedError("FAILED_PRECONDITION", f"{what}: delete the pod, so that another one is admitted")
            if sight.observation.instance(bound.instance) is None:
                what = f"device {bound.instance} of {resource}, which the pod was given, is not there any more"
                raise RefusedError("FAILED_PRECONDITION", f"{what}: delete the pod, so that another one is admitted")

    async def run(self) -> None:
        """Look again while a slot is missing from the kubelet's list, and forget slots whose device is gone."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._forget()
            if self.waits:
                await asyncio.sleep(GONE_SECONDS)
                await self._try_to_look()

    async def keep_current(self) -> None:
        """Look again whenever something has changed that no event of the kernel tells."""
        while True:
            await self._outdated.wait()
            self._outdated.clear()
            await self._try_to_look()

    async def _allocate(self, resource: str, slot: str) -> str:
        if slot in self._slots.bound:
            # The kubelet gives nothing away that a pod has: whoever had this slot has ended.
            await self._unbind({slot})
        sight = await self._look()
        choice = choose(resource, self._stock(resource, sight))
        if isinstance(choice, Existing):
            await self._bind(slot, resource, choice.instance)
            log.info("handed out", resource=resource, slot=slot, instance=choice.instance)
            return choice.instance
        return await self._make(resource, slot, choice.rooms)

    async def _make(self, resource: str, slot: str, rooms: Sequence[Room]) -> str:
        key = f"{KEY_PREFIX}{uuid.uuid4().hex}"
        instance = instance_uuid(key)
        await self._bind(slot, resource, instance)
        self._making[instance] = resource
        refusals = []
        try:
            for room in rooms:
                step = Create(instance=instance, backend=room.backend, parent=room.parent, type=room.type)
                try:
                    await self._preparer.make(key, step)
                except TimeoutError as error:
                    raise RefusedError("DEADLINE_EXCEEDED", f"{room.type} on {room.parent}: {error}") from None
                except JournalError as error:
                    raise RefusedError("INTERNAL", f"no device of {resource} is made: {error}") from None
                except OSError as error:
                    refusals.append(f"{room.type} on {room.parent}: {reason(error)}")
                else:
                    log.info("made and handed out", resource=resource, slot=slot, instance=instance, key=key)
                    return instance
        finally:
            del self._making[instance]
        await self._unbind({slot})
        told = "; ".join(refusals)
        raise RefusedError("RESOURCE_EXHAUSTED", f"the driver makes no device of {resource}: {told}")

    def _stock(self, resource: str, sight: Sight) -> Stock:
        return stock_of(
            types_of(self._resources[resource], sight.observation),
            sight,
            entries=self._preparer.entries,
            answers=self._preparer.answers,
            made=self._hands.ledger.instances,
            held=self._preparer.held,
            given=self._given(self._slots.bound, self._released),
        )

    def _given(self, bound: Mapping[str, Slot], released: frozenset[str]) -> frozenset[str]:
        return frozenset(slot.instance for key, slot in bound.items() if key not in released)

    def _list(self, sight: Sight) -> None:
        for resource, free in self._free_ids.items():
            bound = [
                Listed(id=key, healthy=slot.instance in self._making or not sight.is_gone(slot.instance))
                for key, slot in self._slots.bound.items()
                if slot.resource == resource and key not in self._released
            ]
            # The room of a device in the making is still counted as free by the kernel.
            making = sum(made == resource for made in self._making.values())
            size = max(0, min(self._stock(resource, sight).size - making, MAX_SLOTS - len(bound)))
            del free[size:]
            free += [uuid.uuid4().hex for _ in range(size - len(free))]
            self._listed[resource] = tuple(sorted((*bound, *(Listed(id=key) for key in free)), key=lambda s: s.id))
        for listener in self._listeners:
            listener.set()

    async def _look(self) -> Sight:
        try:
            return await self._eye.look()
        except OSError as error:
            raise RefusedError("UNAVAILABLE", f"the node's devices cannot be seen: {error}") from None

    async def _try_to_look(self) -> None:
        try:
            await self._eye.look()
        except OSError as error:
            log.error("cannot look at the node", reason=str(error))

    async def _bind(self, slot: str, resource: str, instance: str) -> None:
        await self._write(partial(self._slots.bind, slot, resource, instance))
        self._presences.pop(slot, None)
        if slot in self._free_ids[resource]:
            self._free_ids[resource].remove(slot)

    async def _unbind(self, slots: set[str]) -> None:
        await self._write(partial(self._slots.unbind, slots))
        self._released -= slots

    async def _write(self, order: Callable[[], None]) -> None:
        try:
            await in_thread(order, name="slots")
        except OSError as error:
            raise RefusedError("INTERNAL", f"slots cannot be written ({error}): correct --state-dir") from None

    async def _forget(self) -> None:
        sight = self._eye.latest
        if sight is None:
            return
        bound = self._slots.bound
        gone = {key for key in self._released if key in bound and sight.is_gone(bound[key].instance)}
        try:
            await self._unbind(gone)
        except RefusedError as refused:
            log.error("slots are not forgotten yet", reason=str(refused))
