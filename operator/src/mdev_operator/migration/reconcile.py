"""The shell around :func:`decide`: read the migration live, decide, carry it out, and come back until nothing is left.

Level-based: what triggered it does not matter. The order of the writes is that of :class:`Decision`, so that an attempt
is recorded before it is undone, and no reservation exists without a finalizer on its owner.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError

from mdev_api.kinds.common import dump
from mdev_api.kinds.device_migration import DeviceMigration, Mode
from mdev_api.kinds.node_reservations import NodeReservations
from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import Request, apply_status, get, merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from mdev_operator import reservations
from mdev_operator.context import FIELD_MANAGER, Context
from mdev_operator.kubevirt.lookup import look_up_pod, look_up_vm
from mdev_operator.migration.decide import decide, looks_for_destination
from mdev_operator.migration.decision import Decision, Situation
from mdev_operator.migration.source import NoSource, read_sources
from mdev_operator.migration.status import condition_of, is_true
from mdev_operator.migration.telling import notes, refused
from mdev_operator.reservations import Raced
from mdev_operator.telling.events import post
from mdev_operator.telling.notes import Regarding

log = structlog.get_logger(__name__)

FINALIZER = "mdev-operator.io/migration"
PLAN_INTERVAL = 10.0
"""Seconds between two status writes of a migration in mode Plan."""
MOST_DEVICES = 16
"""Devices of one migration (its schema's bound)."""


def key_for(namespace: str | None, name: str) -> str:
    """Queue key of a DeviceMigration."""
    return f"migration/{namespace}/{name}"


async def reconcile(ctx: Context, namespace: str, name: str) -> None:
    """One round for one migration."""
    key = key_for(namespace, name)
    try:
        obj = await ctx.send(get(DEVICE_MIGRATIONS, name, namespace))
    except ApiError as error:
        if not error.not_found:
            raise
        ctx.following.discard(key)
        ctx.written_at.pop(key, None)
        ctx.told.pop(key, None)
        _forget_sources(ctx, key)
        return
    try:
        migration = DeviceMigration.model_validate(obj)
    except ValidationError as error:
        log.error("a migration cannot be read and is left alone", migration=f"{namespace}/{name}", reason=str(error))
        return
    situation = await _look(ctx, migration)
    decision = decide(situation)
    _name_sources(ctx, key, situation)
    # Before anything else is awaited: what is reserved must be a swap on what was decided from, or two migrations that
    # decided at once would both reserve the last device.
    seen = {reserve.node: ctx.inventory.reservations(reserve.node) for reserve in decision.reserve}
    (ctx.following.add if decision.follow else ctx.following.discard)(key)
    if decision.look_again is not None:
        ctx.queue.add_after(key, decision.look_again)
    about = Regarding(resource=DEVICE_MIGRATIONS, namespace=namespace, name=name, uid=migration.metadata.uid)
    try:
        await _carry_out(ctx, key, obj, migration, decision, seen)
    except Raced as raced:
        log.info("another writer was first, deciding again", migration=f"{namespace}/{name}", reason=str(raced))
        ctx.queue.add(key)
        return
    except ApiError as error:
        if error.forbidden or error.invalid:
            await post(ctx, key, about, (refused(error),))
        raise
    await post(ctx, key, about, notes(situation, decision.status))


async def _look(ctx: Context, migration: DeviceMigration) -> Situation:
    """Everything that the decision depends on. The cluster is looked at last: its view is of this moment."""
    vm, pod = None, None
    if looks_for_destination(migration):
        vm, pod = await look_up_vm(ctx.send, migration), await look_up_pod(ctx.send, migration)
    return Situation(
        migration=migration,
        cluster=ctx.inventory.cluster(),
        held=ctx.inventory.held_by(migration.metadata.uid),
        now=datetime.now(UTC),
        vm=vm,
        pod=pod,
        gone=ctx.absences.gone(),
    )


def _name_sources(ctx: Context, key: str, situation: Situation) -> None:
    """Let the classes of what is to move be in use. A source that cannot be read just now stays what it was."""
    if is_true(situation.migration.status.conditions, "Finished"):
        _forget_sources(ctx, key)
        return
    sources = read_sources(situation.migration, situation.cluster, situation.vm)
    if not isinstance(sources, NoSource):
        for index, source in enumerate(sources):
            ctx.classes.name(f"{key}#{index}", source.source)


def _forget_sources(ctx: Context, key: str) -> None:
    for index in range(MOST_DEVICES):
        ctx.classes.name(f"{key}#{index}", None)


async def _carry_out(
    ctx: Context,
    key: str,
    obj: dict[str, Any],
    migration: DeviceMigration,
    decision: Decision,
    seen: Mapping[str, NodeReservations | None],
) -> None:
    has_finalizer = FINALIZER in migration.metadata.finalizers
    if decision.finalizer and not has_finalizer and migration.metadata.deletion_timestamp is None:
        obj = await _set_finalizers(ctx, obj, [*migration.metadata.finalizers, FINALIZER])
    obj = await _write_status(ctx, key, obj, migration, decision)
    for tell in decision.tell:
        # An intent is about an entry by its id, whatever else the node holds by now.
        newest = ctx.inventory.reservations(tell.node)
        if newest is not None:
            await _swap(ctx, tell.node, reservations.tell(ctx.send, newest, ctx.fence(), tell.intents))
    for reserve in decision.reserve:
        node = reserve.node
        await _swap(ctx, node, reservations.add(ctx.send, node, seen[node], ctx.fence(), reserve.entries))
        for entry in reserve.entries:
            log.info("reserved", migration=key, node=reserve.node, role=entry.role, reservation=entry.id)
    if not decision.finalizer and has_finalizer:
        left = [f for f in migration.metadata.finalizers if f != FINALIZER]
        await _set_finalizers(ctx, obj, left)
    if decision.tell or decision.reserve:
        ctx.queue.add(key)


async def _swap(ctx: Context, node: str, change: Any) -> None:
    """Carry out one compare-and-swap and take in what the server says, also when it was refused."""
    try:
        ctx.inventory.wrote(await change, node)
    except Raced as raced:
        ctx.inventory.wrote(raced.current, node)
        raise


async def _write_status(
    ctx: Context, key: str, obj: dict[str, Any], migration: DeviceMigration, decision: Decision
) -> dict[str, Any]:
    """The object as it is then. Raced if it is not what was decided from: a status that is late must not count."""
    status = dump(decision.status)
    if status == (obj.get("status") or {}):
        return obj
    if migration.spec.mode is Mode.PLAN:
        wait = ctx.written_at.get(key, float("-inf")) + PLAN_INTERVAL - time.monotonic()
        if wait > 0:
            ctx.queue.add_after(key, wait)
            return obj
    meta, version = migration.metadata, obj["metadata"]["resourceVersion"]
    request = apply_status(DEVICE_MIGRATIONS, meta.name, status, FIELD_MANAGER, meta.namespace, version)
    obj = await _unless_changed(ctx, obj, request)
    ctx.written_at[key] = time.monotonic()
    _log_turns(migration, decision)
    ctx.queue.add(key)
    return obj


def _log_turns(migration: DeviceMigration, decision: Decision) -> None:
    for condition in decision.status.conditions:
        before = condition_of(migration.status.conditions, condition.type)
        if before is None or (before.status, before.reason) != (condition.status, condition.reason):
            log.info(
                f"{condition.type}={condition.status}",
                migration=f"{migration.metadata.namespace}/{migration.metadata.name}",
                reason=condition.reason,
                message=condition.message,
            )


async def _set_finalizers(ctx: Context, obj: dict[str, Any], finalizers: list[str]) -> dict[str, Any]:
    meta = obj["metadata"]
    body = {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": finalizers}}
    return await _unless_changed(ctx, obj, merge_patch(DEVICE_MIGRATIONS, meta["name"], body, meta["namespace"]))


async def _unless_changed(ctx: Context, obj: dict[str, Any], request: Request) -> dict[str, Any]:
    meta = obj["metadata"]
    try:
        return await ctx.send(request)
    except ApiError as error:
        if not error.conflict:
            raise
        raise Raced(f"DeviceMigration {meta['namespace']}/{meta['name']} changed meanwhile", None) from error
