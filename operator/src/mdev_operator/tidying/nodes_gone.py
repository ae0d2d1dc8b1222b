"""A Node that is gone: whatever needs it ends, and its two objects are deleted whole.

Absence from a cache proves nothing, and a Node may come back within minutes with its devices as they were. So each
Node that the cache lacks is asked for live, again and again, and only when the answer has been "no such Node" for
thirty minutes is it gone for good. Then the migrations that need it are decided again (they end as NodeGone), and when
none of them needs it any more NodeReservations and NodeDevices of that name are deleted. Until then every entry keeps
its intent: a Node that returns earlier finds everything on Hold.

The thirty minutes are counted by this process, on its monotonic clock. A new leader counts from the beginning: that is
late, never early.
"""

from __future__ import annotations

import structlog

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.node_reservations import Owner
from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import Request, delete, get
from mdev_api.kube.resources import DEVICE_MIGRATIONS, NODE_DEVICES, NODE_RESERVATIONS, NODES
from mdev_operator.context import Context
from mdev_operator.migration.nodes import needs
from mdev_operator.migration.reconcile import key_for as key_of_migration
from mdev_operator.migration.status import is_true
from mdev_operator.reservations import Superseded

log = structlog.get_logger(__name__)

RETRY = 5.0
"""Seconds until it is looked again whether the migrations that need the Node have ended."""


def key_for(node: str) -> str:
    """Queue key of a node that may be gone."""
    return f"gone/{node}"


async def check_node(ctx: Context, node: str) -> None:
    """One look at a Node that the cache lacks, and what follows when it has been gone for long enough."""
    absences = ctx.absences
    if node in ctx.inventory.cluster().nodes or not _has_objects(ctx, node) or await _is_there(ctx, node):
        absences.forget(node)
        return
    if node not in absences.since:
        log.warning("a Node is missing: what it has is held for now", node=node, for_seconds=absences.after)
    left = absences.missed(node)
    if left > 0:
        ctx.queue.add_after(key_for(node), min(left, absences.interval))
        return
    needing = await _migrations_that_need(ctx, node)
    for key in needing:
        ctx.queue.add(key)
    if needing:
        ctx.queue.add_after(key_for(node), min(RETRY, absences.interval))
        return
    if await _delete_objects(ctx, node):
        absences.forget(node)
        log.warning("a Node is gone: its NodeReservations and NodeDevices are deleted", node=node)
    else:
        ctx.queue.add_after(key_for(node), min(RETRY, absences.interval))


def _has_objects(ctx: Context, node: str) -> bool:
    return ctx.inventory.reservations(node) is not None or node in ctx.inventory.cluster().devices


async def _is_there(ctx: Context, node: str) -> bool:
    try:
        await ctx.send(get(NODES, node))
    except ApiError as error:
        if not error.not_found:
            raise
        return False
    return True


async def _migrations_that_need(ctx: Context, node: str) -> list[str]:
    """Queue keys of the owners of this node's entries that have not ended and cannot do without the node."""
    seen = ctx.inventory.reservations(node)
    owners = {e.owner for e in seen.spec.reservations if e.owner.kind == "DeviceMigration"} if seen is not None else ()
    keys = []
    for owner in owners:
        migration = await _migration(ctx, owner)
        if migration is None or is_true(migration.status.conditions, "Finished"):
            continue
        if needs(migration, ctx.inventory.held_by(owner.uid), frozenset({node})) is not None:
            keys.append(key_of_migration(owner.namespace, owner.name))
    return sorted(keys)


async def _migration(ctx: Context, owner: Owner) -> DeviceMigration | None:
    try:
        obj = await ctx.send(get(DEVICE_MIGRATIONS, owner.name, owner.namespace))
    except ApiError as error:
        if not error.not_found:
            raise
        return None
    return DeviceMigration.model_validate(obj) if obj["metadata"]["uid"] == owner.uid else None


async def _delete_objects(ctx: Context, node: str) -> bool:
    """Whether both are gone. Each goes only as it was seen: what an agent or another leader wrote since keeps it."""
    return await _delete_reservations(ctx, node) and await _delete_devices(ctx, node)


async def _delete_reservations(ctx: Context, node: str) -> bool:
    seen = ctx.inventory.reservations(node)
    if seen is None:
        return True
    if seen.spec.fence > ctx.fence():
        raise Superseded(f"NodeReservations {node} has fence {seen.spec.fence}: another operator leads")
    meta = seen.metadata
    if not await _deleted(ctx, delete(NODE_RESERVATIONS, node, uid=meta.uid, resource_version=meta.resource_version)):
        return False
    ctx.inventory.wrote(None, node)
    return True


async def _delete_devices(ctx: Context, node: str) -> bool:
    devices = ctx.inventory.cluster().devices.get(node)
    if devices is None:
        return True
    meta = devices.metadata
    return await _deleted(ctx, delete(NODE_DEVICES, node, uid=meta.uid, resource_version=meta.resource_version))


async def _deleted(ctx: Context, request: Request) -> bool:
    try:
        await ctx.send(request)
    except ApiError as error:
        if error.conflict:
            return False
        if not error.not_found:
            raise
    return True
