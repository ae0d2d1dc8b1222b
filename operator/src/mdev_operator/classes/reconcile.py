"""The shell: CompatibilityClass objects and node labels follow what :class:`ClassState` knows.

Labels are written by merge patches that name only keys with our prefix, so nothing else of a Node is ever touched, and
at a bounded rate. What this process believes a node to have is its own last write; before it puts right what somebody
else seems to have changed, it asks for the Node live, because its cache may be older than its own write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from mdev_api.engine.compatibility_class import CompatibilityClass
from mdev_api.kinds.common import dump
from mdev_api.kinds.compatibility_class import (
    MOST_PROFILES,
    ClassedParameter,
    CompatibilityClassStatus,
    label_of,
)
from mdev_api.kinds.compatibility_class import CompatibilityClass as ClassObject
from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import apply_status, create, delete, get, merge_patch
from mdev_api.kube.resources import COMPATIBILITY_CLASSES, NODES
from mdev_operator.classes import choice
from mdev_operator.classes.choice import Told, Usage
from mdev_operator.classes.index import Totals
from mdev_operator.classes.state import ALL, definition_of, key_of_class, key_of_node
from mdev_operator.context import FIELD_MANAGER, Context
from mdev_operator.migration.status import with_condition
from mdev_operator.pace import Pace

log = structlog.get_logger(__name__)

LOOK_AGAIN = 10.0
"""Seconds between two looks at everything: agents fall silent, and classes fall out of use, by time alone."""

STATUS_INTERVAL = 10.0
"""Seconds between two status writes of one class."""

WRITES_PER_SECOND = 200.0
"""Label writes in the long run: about what an API server on two cores takes of bare PATCHes, so it is no use asking for
more, and others are to be served too."""

NODES_AT_ONCE = 500
"""Nodes whose labels are worked out in one go, some 15 ms, before others get their turn."""


def handler(ctx: Context) -> Callable[[str], Awaitable[None]]:
    """What handles the keys of ``ctx.classes.queue``."""
    pace = Pace(per_second=WRITES_PER_SECOND, burst=int(WRITES_PER_SECOND))

    async def handle(key: str) -> None:
        kind, _, name = key.partition("/")
        _take_in(ctx)
        if kind == "labels":
            await _label(ctx, name, pace)
        elif kind == "class":
            await _write_class(ctx, name)
        else:
            await _look_at_all(ctx)

    return handle


def status_of(
    found: CompatibilityClass,
    totals: Totals,
    profiles: list[str],
    usage: Usage,
    before: ClassObject | None,
    now: datetime,
) -> CompatibilityClassStatus:
    """What the object of a class is to say."""
    if usage.named:
        reason, message = "Migration", "an unfinished migration has a device of this class as its source"
    elif usage.running:
        reason, message = "Device", "a device of this class may be in use"
    else:
        hours = choice.KEPT_UNUSED.total_seconds() / 3600
        reason, message = "Unused", f"no device and no migration is of this class; after {hours:g} h it is deleted"
    return CompatibilityClassStatus(
        model=found.model,
        parameters=tuple(
            ClassedParameter(name=p.name, type=p.type, value=p.value, listed=p.listed) for p in found.parameters
        ),
        label=label_of(found.name),
        profiles=tuple(profiles[:MOST_PROFILES]),
        nodes=totals.nodes,
        available=totals.available,
        conditions=with_condition(
            before.status.conditions if before is not None and before.status is not None else (),
            "InUse",
            usage.in_use,
            reason,
            message,
            generation=before.metadata.generation if before is not None else 1,
            now=now,
        ),
    )


def _take_in(ctx: Context) -> None:
    ctx.classes.take_in(ctx.inventory.cluster(), ctx.inventory.classes, datetime.now(UTC))


async def _look_at_all(ctx: Context) -> None:
    state = ctx.classes
    state.queue.add_after(ALL, LOOK_AGAIN)
    state.note_time(ctx.inventory.cluster())
    _take_in(ctx)
    for name in [*state.places, *(ctx.inventory.classes.keys() - state.places.keys())]:
        state.queue.add(key_of_class(name), first=name not in ctx.inventory.classes)
    if not state.relabel:
        return
    state.relabel = False
    for number, node in enumerate(list(ctx.inventory.cluster().nodes)):
        told = state.told.get(node)
        if told is None or told.labels != state.labels(node):
            state.queue.add(key_of_node(node))
        if number % NODES_AT_ONCE == NODES_AT_ONCE - 1:
            await asyncio.sleep(0)


async def _write_class(ctx: Context, name: str) -> None:
    state, obj = ctx.classes, ctx.inventory.classes.get(name)
    found = state.index.classes.get(name)
    if found is None:
        state.written_at.pop(name, None)
        if obj is not None:
            await _delete(ctx, obj)
        return
    if obj is None and not await _create(ctx, found):
        return
    wait = state.written_at.get(name, float("-inf")) + STATUS_INTERVAL - time.monotonic()
    usage = state.usages.get(name, Usage())
    profiles = state.index.profiles_of(name)
    status = dump(status_of(found, state.index.totals(name), profiles, usage, obj, datetime.now(UTC)))
    if obj is not None and dump(obj.status or CompatibilityClassStatus()) == status:
        return
    if wait > 0:
        state.queue.add_after(key_of_class(name), wait)
        return
    try:
        await ctx.send(apply_status(COMPATIBILITY_CLASSES, name, status, FIELD_MANAGER))
    except ApiError as error:
        if not error.not_found:
            raise
        return  # Somebody deleted it just now; the watch brings us back.
    state.written_at[name] = time.monotonic()


async def _create(ctx: Context, found: CompatibilityClass) -> bool:
    """Whether the object is there now and nobody wrote its status yet, as far as is known."""
    try:
        await ctx.send(create(COMPATIBILITY_CLASSES, {"metadata": {"name": found.name}}))
    except ApiError as error:
        if not error.already_exists:
            raise
        return False
    log.info("a new class", compatibility_class=found.name, model=found.model)
    return True


async def _delete(ctx: Context, obj: ClassObject) -> None:
    name = obj.metadata.name
    try:
        await ctx.send(delete(COMPATIBILITY_CLASSES, name, uid=obj.metadata.uid))
    except ApiError as error:
        if not (error.not_found or error.conflict):
            raise
        return
    why = "it was not used any more" if definition_of(obj) is not None else "it describes no class of its name"
    log.info("deleted a class", compatibility_class=name, reason=why)


async def _label(ctx: Context, node: str, pace: Pace) -> None:
    state, key = ctx.classes, key_of_node(node)
    view = ctx.inventory.cluster().nodes.get(node)
    if view is None:
        state.told.pop(node, None)
        return
    shown, wanted, told, now = choice.ours(view.labels), state.labels(node), state.told.get(node), time.monotonic()
    if not choice.to_write(wanted, shown, told, now):
        if told is None:
            state.told[node] = Told(labels=wanted)
        elif shown != wanted and told.corrected is not None:
            log.info("labels that somebody else set again are left for now", node=node, labels=sorted(shown ^ wanted))
            state.queue.add_after(key, told.corrected + choice.CORRECT_AGAIN - now)
        return
    corrected = None
    if told is not None and told.labels == wanted:
        live = await _live_labels(ctx, node)
        if live is None or live == wanted:
            return
        shown, corrected = live, now
        log.warning("putting right labels that somebody else changed", node=node, labels=sorted(shown ^ wanted))
    await pace.turn()
    await _write_labels(ctx, node, shown, corrected)


async def _write_labels(ctx: Context, node: str, shown: frozenset[str], corrected: float | None) -> None:
    """Write what is wanted by now; it may have changed while we waited for our turn."""
    state = ctx.classes
    told, wanted = state.told.get(node), state.labels(node)
    before = told.labels if told is not None else frozenset[str]()
    body = {"metadata": {"labels": choice.patch_of(wanted, shown, before)}}
    try:
        await ctx.send(merge_patch(NODES, node, body))
    except ApiError as error:
        if not error.not_found:
            raise
        return
    state.told[node] = Told(labels=wanted, corrected=corrected)
    log.debug("labelled", node=node, labels=len(wanted))


async def _live_labels(ctx: Context, node: str) -> frozenset[str] | None:
    try:
        obj = await ctx.send(get(NODES, node))
    except ApiError as error:
        if not error.not_found:
            raise
        return None
    return choice.ours(obj["metadata"].get("labels") or {})
