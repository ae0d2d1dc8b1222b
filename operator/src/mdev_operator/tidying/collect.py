"""Cleaning one node's reservations: entries that are answered go, entries whose owner is gone are let go."""

from __future__ import annotations

import random

import structlog

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kinds.node_reservations import (
    FINAL_STATES,
    Entry,
    EntryAnswer,
    Intent,
    NodeReservations,
    Owner,
    Role,
    State,
)
from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import get
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from mdev_operator import reservations
from mdev_operator.context import Context
from mdev_operator.profiles.suspects import refusals
from mdev_operator.reservations import Raced

log = structlog.get_logger(__name__)

OWNERS_INTERVAL = 60.0
"""Seconds between two looks whether the owners of a node's entries still exist."""


def answered(seen: NodeReservations, devices: NodeDevices | None) -> list[str]:
    """Ids of entries that were told to end and have ended, and whose removed device is gone from NodeDevices too.

    An agent answers at once and publishes a moment later; without the entry its device would look idle meanwhile, and
    would be reserved for somebody else.
    """
    shown = {i.id for i in devices.status.instances if i.managed} if devices is not None and devices.status else set()
    ended = []
    for entry in seen.spec.reservations:
        answer = seen.answer(entry.id)
        if entry.intent is Intent.HOLD or answer is None or answer.state not in FINAL_STATES:
            continue
        if _removed(entry, answer) not in shown:
            ended.append(entry.id)
    return ended


def _removed(entry: Entry, answer: EntryAnswer) -> str | None:
    """The instance that this end took away, if it was one that did. Of a VF the answer tells the address."""
    if answer.state is State.REMOVED:
        return entry.device.instance
    if answer.state is not State.UNDONE or entry.device.create is None:
        return None
    return answer.instance or instance_uuid(entry.id)


async def collect(ctx: Context, node: str) -> None:
    """Remove the entries of this node that have ended."""
    seen = ctx.inventory.reservations(node)
    if seen is None or not seen.spec.reservations:
        return
    ctx.queue.add_after(f"owners/{node}", OWNERS_INTERVAL * random.uniform(0.8, 1.2))
    refused = ctx.evidence.take(refusals(seen))
    for refusal in refused:
        ctx.queue.add(f"profile/{refusal.profile}")
    # What speaks against a profile stays until the profile says it.
    untold = {refusal.entry for refusal in refused}
    ended = [i for i in answered(seen, ctx.inventory.cluster().devices.get(node)) if i not in untold]
    if not ended:
        return
    try:
        ctx.inventory.wrote(await reservations.remove(ctx.send, seen, ctx.fence(), ended), node)
    except Raced as raced:
        ctx.inventory.wrote(raced.current, node)
        ctx.queue.add(f"collect/{node}")
        return
    ctx.evidence.forget(ended)
    log.info("reservations removed", node=node, reservations=ended)


async def check_owners(ctx: Context, node: str) -> None:
    """Let go of what nobody owns any more. Absence from a cache is no proof, so each owner is asked for live."""
    seen = ctx.inventory.reservations(node)
    if seen is None or not seen.spec.reservations:
        return
    ctx.queue.add_after(f"owners/{node}", OWNERS_INTERVAL * random.uniform(0.8, 1.2))
    owners = {e.owner for e in seen.spec.reservations if e.intent is Intent.HOLD and e.owner.kind == "DeviceMigration"}
    gone = {owner.uid for owner in owners if await is_gone(ctx, owner)}
    intents = {
        e.id: Intent.UNDO if e.role is Role.SOURCE else Intent.UNDO_IF_UNUSED
        for e in seen.spec.reservations
        if e.owner.uid in gone and e.intent is Intent.HOLD
    }
    if not intents:
        return
    log.warning("the owner of reservations is gone, letting go of them", node=node, reservations=sorted(intents))
    try:
        ctx.inventory.wrote(await reservations.tell(ctx.send, seen, ctx.fence(), intents), node)
    except Raced as raced:
        ctx.inventory.wrote(raced.current, node)
        ctx.queue.add(f"owners/{node}")


async def is_gone(ctx: Context, owner: Owner) -> bool:
    """Whether the DeviceMigration that owns an entry exists no more, as a live GET says."""
    try:
        obj = await ctx.send(get(DEVICE_MIGRATIONS, owner.name, owner.namespace))
    except ApiError as error:
        if not error.not_found:
            raise
        return True
    return bool(obj["metadata"]["uid"] != owner.uid)
