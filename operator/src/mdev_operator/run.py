"""One operator process: stand by, lead, stand by again.

Leading means: list everything, raise the fence, and only then decide. When the Lease is lost, or the API server shows
a higher fence, nothing more is written: all that led is ended, before anybody else may lead, or else the process with
it. Then it stands by with a new identity and no memory, and begins from the objects like any other. It does not end
for an API server that is away: it would come back into the kubelet's pauses, of up to five minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.credentials import Credentials, load
from mdev_api.kube.resources import (
    COMPATIBILITY_CLASSES,
    DEVICE_MODELS,
    DEVICE_PROFILES,
    NODE_DEVICES,
    NODE_RESERVATIONS,
    NODES,
    Resource,
)
from mdev_operator.classes.reconcile import handler as reconcile_classes
from mdev_operator.classes.state import ClassState
from mdev_operator.context import LOOK_INTERVAL, NODE_GONE_AFTER, UNREFERENCED_AFTER, Context, guarded
from mdev_operator.inventory.absences import Absences
from mdev_operator.inventory.inventory import Inventory
from mdev_operator.kopf_loop import follow
from mdev_operator.kubevirt import adapter as kubevirt
from mdev_operator.kubevirt.adapter import Adapter
from mdev_operator.kubevirt.decide import Patience
from mdev_operator.kubevirt.watching import Watching
from mdev_operator.leading import fence
from mdev_operator.leading.elector import Elector, LeadershipLost, new_identity
from mdev_operator.liveness import answering
from mdev_operator.migration.reconcile import key_for, reconcile
from mdev_operator.profiles import profile_collection, profiles
from mdev_operator.reservations import Superseded
from mdev_operator.tidying import nodes_gone
from mdev_operator.tidying.collect import check_owners, collect
from mdev_operator.tidying.orphans import tell_of_orphans
from mdev_operator.workqueue import WorkQueue

log = structlog.get_logger(__name__)

LEASE_NAME = "mdev-operator"
END_SECONDS = 1.0
"""For a cancelled task to end."""

SETTLED = 60.0
"""Seconds of standing by and leading after which the next loss counts as a first one."""

MOST_PAUSE = 10.0
"""Seconds before the next campaign, where one term after the other is lost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorSettings:
    """``namespace`` holds the operator's Lease, ``agent_namespace`` those of the node agents. Times in seconds."""

    kubeconfig: Path | None = None
    namespace: str = "mdev-operator"
    agent_namespace: str = "mdev-node-agent"
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    workers: int = 8
    liveness: str | None = None
    kubevirt: Patience = Patience()  # noqa: RUF009  (a frozen value)
    node_gone_after: float = NODE_GONE_AFTER
    keep_profiles: float = UNREFERENCED_AFTER


async def run(settings: OperatorSettings) -> int:
    """Run until SIGTERM or SIGINT, and return 0. What must not go on and does ends the process with 1."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    credentials = load(settings.kubeconfig)
    log.info("starting", server=credentials.server, credentials=credentials.origin)
    backoff = Backoff(initial=settings.retry_period, maximum=MOST_PAUSE)
    async with Client(credentials, user_agent="mdev-operator") as client, answering(settings.liveness):
        while not stop.is_set():
            began = time.monotonic()
            await _serve(settings, credentials, client, stop)
            if time.monotonic() - began > SETTLED:
                backoff.reset()
            if not stop.is_set():
                delay = backoff.next()
                log.warning("standing by again", campaign_in=round(delay, 2))
                await _unless(stop, asyncio.sleep(delay))
        # The Lease is given back. What still hangs, in kopf's thread or on a connection, is not waited for.
        _stop_hard(1.0, 0)
        return 0


async def _serve(settings: OperatorSettings, credentials: Credentials, client: Client, stop: asyncio.Event) -> None:
    """Stand by, and lead once."""
    elector = Elector(
        client,
        settings.namespace,
        LEASE_NAME,
        new_identity(),
        lease_duration=settings.lease_duration,
        renew_deadline=settings.renew_deadline,
        retry_period=settings.retry_period,
    )
    async with elector:
        if await _unless(stop, elector.acquire()):
            await _lead(settings, credentials, client, elector, stop)


async def _lead(
    settings: OperatorSettings, credentials: Credentials, client: Client, elector: Elector, stop: asyncio.Event
) -> None:
    """Lead until told to stop, or until this process must not any more; then nothing of it runs any more."""
    queue = WorkQueue(concurrency=settings.workers)
    term = {"fence": 0}
    lost = asyncio.Event()
    ctx = _context(client, elector, queue, settings, lambda: term["fence"])
    queue.add(profile_collection.KEY)
    adapter = Adapter(watching=Watching(client, queue.add), patience=settings.kubevirt)
    hard_stop: threading.Timer | None = None
    async with contextlib.AsyncExitStack() as stack:
        tasks = [await stack.enter_async_context(_task(ctx.inventory.run(), "inventory"))]
        tasks.append(await stack.enter_async_context(_task(elector.lost.wait(), "lease lost")))
        tasks.append(await stack.enter_async_context(_task(stop.wait(), "stop")))
        tasks.append(await stack.enter_async_context(_task(lost.wait(), "superseded")))
        ready = await stack.enter_async_context(_task(_get_ready(ctx, elector, term, lost), "get ready"))
        await asyncio.wait([*tasks, ready], return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not lost.is_set():
            ready.result()
            tasks.append(await stack.enter_async_context(_task(queue.run(_handler(ctx, adapter, lost)), "queue")))
            tasks.append(await stack.enter_async_context(_task(adapter.watching.run(), "kubevirt")))
            work = ctx.classes.queue.run(_ending(reconcile_classes(ctx), lost))
            tasks.append(await stack.enter_async_context(_task(work, "classes")))
            tasks.append(await stack.enter_async_context(_task(follow(queue.add, credentials), "kopf")))
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in tasks if task.done()]
        if not stop.is_set():
            hard_stop = _stop_hard(settings.lease_duration - settings.renew_deadline, 1)
            log.error("stopping: this process must not act any more", because=[t.get_name() for t in ended])
    for task in ended:
        if not task.cancelled():
            task.result()
    if hard_stop is not None:
        await asyncio.wait([*tasks, ready])
        hard_stop.cancel()


async def _get_ready(ctx: Context, elector: Elector, term: dict[str, int], lost: asyncio.Event) -> None:
    """List everything and raise the fence, however long the API server cannot; ``lost`` when another one leads."""
    await ctx.inventory.synced()
    backoff = Backoff(initial=0.2, maximum=10.0)
    while not term["fence"]:
        try:
            term["fence"] = await fence.establish(ctx, elector)
        except (LeadershipLost, Superseded) as reason:
            log.error("another operator leads", reason=str(reason))
            lost.set()
            return
        except (ApiError, Unreachable) as error:
            delay = backoff.next(at_least=error.retry_after if isinstance(error, ApiError) else None)
            log.warning("the fence is not raised yet, trying again", reason=str(error), retry_in=round(delay, 2))
            await asyncio.sleep(delay)


def _context(
    client: Client, elector: Elector, queue: WorkQueue, settings: OperatorSettings, current_fence: Callable[[], int]
) -> Context:
    following: set[str] = set()
    classes = ClassState()

    def changed(resource: Resource, name: str) -> None:
        classes.changed(resource, name)
        for key in _keys(resource, name, inventory, following):
            queue.add(key)

    inventory = Inventory(client, settings.agent_namespace, changed, classes.labels_changed)
    return Context(
        send=guarded(client, elector),
        inventory=inventory,
        queue=queue,
        fence=current_fence,
        following=following,
        classes=classes,
        absences=Absences(after=settings.node_gone_after),
        unreferenced=Absences(after=settings.keep_profiles, most=LOOK_INTERVAL),
    )


def _keys(resource: Resource, name: str, inventory: Inventory, following: set[str]) -> set[str]:
    """What to handle after a change of this object."""
    absent = set() if name in inventory.cluster().nodes else {nodes_gone.key_for(name)}
    if resource == NODE_RESERVATIONS:
        return {f"collect/{name}"} | absent | _owners(inventory, name)
    if resource == DEVICE_MODELS:
        readings = {f"model/{n}" for n in (name, *inventory.models)} | {f"profile/{n}" for n in inventory.profiles}
        return readings | following  # A source may name a version of it.
    if resource == DEVICE_PROFILES:
        return {f"profile/{name}", *following}
    if resource == NODE_DEVICES:
        return {f"collect/{name}", *following} | absent
    if resource == NODES:
        return following | absent | _owners(inventory, name)
    if resource == COMPATIBILITY_CLASSES:
        return set()
    return set(following)


def _owners(inventory: Inventory, node: str) -> set[str]:
    """Keys of the migrations that hold something on this node."""
    seen = inventory.reservations(node)
    owners = {e.owner for e in seen.spec.reservations} if seen is not None else set()
    return {key_for(o.namespace, o.name) for o in owners if o.kind == "DeviceMigration"}


def _handler(ctx: Context, adapter: Adapter, lost: asyncio.Event) -> Callable[[str], Awaitable[None]]:
    async def handle(key: str) -> None:
        kind, _, name = key.partition("/")
        match kind:
            case "migration":
                namespace, _, migration = name.partition("/")
                await reconcile(ctx, namespace, migration)
            case "vmim":
                namespace, _, vmim = name.partition("/")
                await kubevirt.reconcile(ctx, adapter, namespace, vmim)
            case "collect":
                await collect(ctx, name)
                await tell_of_orphans(ctx, name)
            case "owners":
                await check_owners(ctx, name)
                await tell_of_orphans(ctx, name)
            case "gone":
                await nodes_gone.check_node(ctx, name)
            case "unreferenced":
                await profile_collection.collect_profiles(ctx)
            case "profile":
                await profiles.reconcile_profile(ctx, name)
            case "model":
                await profiles.reconcile_model(ctx, name)
            case _:
                raise ValueError(f"a key of no known kind: {key}")

    return _ending(handle, lost)


def _ending(handle: Callable[[str], Awaitable[None]], lost: asyncio.Event) -> Callable[[str], Awaitable[None]]:
    """A handler that has the process end, not try again, once another operator leads."""

    async def ending(key: str) -> None:
        try:
            await handle(key)
        except (LeadershipLost, Superseded) as reason:
            log.error("another operator leads", reason=str(reason))
            lost.set()

    return ending


@contextlib.asynccontextmanager
async def _task(work: Coroutine[Any, Any, Any], name: str) -> Any:
    """A task that is cancelled, and waited for as long as is decent, when the block ends."""
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=END_SECONDS)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Any]) -> bool:
    """Do the work unless told to stop first; whether it was done."""
    async with _task(work, "campaign") as doing, _task(stop.wait(), "stop") as stopping:
        await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            return False
        doing.result()
        return True


def _stop_hard(seconds: float, code: int) -> threading.Timer:
    """Whatever still hangs after this time is ended with the process, unless the timer is cancelled."""
    timer = threading.Timer(max(seconds, 0.5), os._exit, args=[code])
    timer.daemon = True
    timer.start()
    return timer
