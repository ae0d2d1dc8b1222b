"""The shell around :func:`decide`: read everything of one migration live, decide, carry it out step by step.

Its key is ``vmim/<namespace>/<name>``. A name may come back with another UID while something of ours is still there for
the first, so each UID is a matter of its own: a DeviceMigration ``vmim-<uid>`` and the pod that was made for that UID.
The DeviceMigration has no ownerReference to the migration: KubeVirt keeps only a VM's last five final ones, and the
garbage collector must not take away what still holds a device.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from mdev_api.kinds.device_migration import Binding, DeviceMigration
from mdev_api.kube import times
from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import get, list_page
from mdev_api.kube.resources import DEVICE_MIGRATIONS, PODS, Resource
from mdev_operator.context import Context
from mdev_operator.kubevirt.binding import Bound, binding_for, whose_turn
from mdev_operator.kubevirt.carry_out import Matter, carry_out
from mdev_operator.kubevirt.decide import LOOK_AGAIN, Patience, Sight, Start, decide
from mdev_operator.kubevirt.lookup import VMIM_LABEL, VMIM_NAME_PREFIX
from mdev_operator.kubevirt.objects import (
    LAUNCHERS_OF_MIGRATIONS,
    MIGRATION_UID,
    VMIMS,
    VMIS,
    TargetPod,
    Vmim,
    target_pod,
    vmi_of,
    vmim_of,
)
from mdev_operator.kubevirt.ungate import why_not
from mdev_operator.kubevirt.watching import Watching, key_for
from mdev_operator.reservations import Raced

log = structlog.get_logger(__name__)

Object = dict[str, Any]

NOT_SYNCED = 0.2
"""Seconds until a key that came before everything was listed is looked at again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """What the adapter keeps between rounds; ``turns`` makes one migration at a time decide whose turn it is."""

    watching: Watching
    patience: Patience = Patience()  # noqa: RUF009  (a frozen value)
    turns: asyncio.Lock = field(default_factory=asyncio.Lock)


async def reconcile(ctx: Context, adapter: Adapter, namespace: str, name: str) -> None:
    """One round for all that is ours of the migrations of this name."""
    key = key_for(namespace, name)
    if not adapter.watching.synced():
        ctx.queue.add_after(key, NOT_SYNCED)
        return
    found = await _find(ctx, VMIMS, name, namespace)
    vmim = vmim_of(found) if found is not None else None
    uids = adapter.watching.known_uids(namespace, name)
    for uid in sorted(uids | ({vmim.uid} if vmim is not None else set())):
        try:
            await _one(ctx, adapter, key, uid, vmim if vmim is not None and vmim.uid == uid else None)
        except Raced as raced:
            log.info("another writer was first, deciding again", migration=f"{namespace}/{name}", reason=str(raced))
            ctx.queue.add(key)


async def _one(ctx: Context, adapter: Adapter, key: str, uid: str, vmim: Vmim | None) -> None:
    _, namespace, name = key.split("/")
    matter, sight = await _look(ctx, adapter, namespace, name, uid, vmim)
    if sight.migration is None and sight.pod is None:
        return
    decision = decide(sight)
    bound_early = sight.migration is not None and sight.migration.spec.binding is Binding.EARLY
    if bound_early and any(isinstance(step, Start) for step in decision.steps):
        assert sight.migration is not None
        async with adapter.turns:
            sight = replace(sight, turn=await _turn(ctx, sight.migration))
            decision = decide(sight)
            await carry_out(ctx.send, matter, sight, decision)
    else:
        await carry_out(ctx.send, matter, sight, decision)
    if decision.look_again is not None:
        ctx.queue.add_after(key, decision.look_again)
    elif decision.steps:
        ctx.queue.add_after(key, LOOK_AGAIN)


async def _look(
    ctx: Context, adapter: Adapter, namespace: str, name: str, uid: str, vmim: Vmim | None
) -> tuple[Matter, Sight]:
    obj = await _find(ctx, DEVICE_MIGRATIONS, f"{VMIM_NAME_PREFIX}{uid}", namespace)
    migration = DeviceMigration.model_validate(obj) if obj is not None else None
    pod, seen = await _pod(ctx, namespace, uid)
    source = migration.spec.source.vm if migration is not None else None
    vm = vmim.vmi if vmim is not None else source.name if source is not None else ""
    vmi_obj = await _find(ctx, VMIS, vm, namespace) if vm else None
    vmi = vmi_of(vmi_obj) if vmi_obj is not None else None
    cluster = ctx.inventory.cluster()
    now = datetime.now(UTC)
    sight = Sight(
        vmim=vmim,
        newer=adapter.watching.newer(namespace, vm, uid, _since(vmim, migration) or now),
        vmi=vmi,
        pod=seen,
        migration=migration,
        binding=binding_for(vmi.resource if vmi is not None else None, cluster.kubevirt, cluster.devices.values()),
        refused=why_not(pod) if pod is not None else None,
        turn=None,
        now=now,
        patience=adapter.patience,
    )
    return Matter(namespace=namespace, name=name, uid=uid, migration=obj, pod=pod), sight


def _since(vmim: Vmim | None, migration: DeviceMigration | None) -> datetime | None:
    """When the migration was made, or, for one that is gone, what we made for it soon after."""
    if vmim is not None:
        return vmim.created
    made = migration.metadata.creation_timestamp if migration is not None else None
    return times.parse(made) if made is not None else None


async def _pod(ctx: Context, namespace: str, uid: str) -> tuple[Object | None, TargetPod | None]:
    """The target pod: of several the youngest that has not ended. A list asks for the newest state, unlike a cache."""
    selector = LAUNCHERS_OF_MIGRATIONS.replace(MIGRATION_UID, f"{MIGRATION_UID}={uid}")
    listed = await ctx.send(list_page(PODS, namespace=namespace, limit=None, label_selector=selector))
    pods = [(target_pod(pod), pod) for pod in listed["items"]]
    if not pods:
        return None, None
    seen, pod = max(pods, key=lambda item: (not item[0].ended, item[0].created))
    return pod, seen


async def _turn(ctx: Context, mine: DeviceMigration) -> str | None:
    """Whose turn it is on the node that ``mine`` was prepared on, from the objects as they are now."""
    listed = await ctx.send(list_page(DEVICE_MIGRATIONS, limit=None, label_selector=VMIM_LABEL))
    others = [DeviceMigration.model_validate(obj) for obj in listed["items"]]
    bound = []
    for other in others:
        meta = other.metadata
        if other.spec.started and other.spec.outcome is None and other.status.node == mine.status.node:
            assert meta.namespace is not None
            _, pod = await _pod(ctx, meta.namespace, meta.name.removeprefix(VMIM_NAME_PREFIX))
            bound.append(Bound(migration=other, pod=pod))
    return whose_turn(mine, bound)


async def _find(ctx: Context, resource: Resource, name: str, namespace: str) -> Object | None:
    try:
        return await ctx.send(get(resource, name, namespace))
    except ApiError as error:
        if not error.not_found:
            raise
        return None
