"""The process ``mdev-operator webhook``: any number of replicas, each answers.

It is a process of its own because of the operators only one leads and acts, and a gate that refuses pods while nobody
answers must not wait for one. It writes nothing but its own Secret and the trust in its own certificates.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.credentials import load
from mdev_api.kube.resources import Resource
from mdev_operator.inventory.cluster import Cluster
from mdev_operator.inventory.inventory import Inventory
from mdev_operator.webhook import rotation, tls
from mdev_operator.webhook.gate import gate
from mdev_operator.webhook.review import Review, Verdict
from mdev_operator.webhook.rotation import RotationSettings
from mdev_operator.webhook.server import Judge, Server
from mdev_operator.webhook.vmim import judge_migrations

log = structlog.get_logger(__name__)

CONFIGURATIONS = ("mdev-operator-gate", "mdev-operator-migrations")
"""MutatingWebhookConfigurations (deploy/gate-webhook.yaml, deploy/migrations-webhook.yaml)."""

GATE_PATH = "/gate"
MIGRATIONS_PATH = "/migrations"
RETRY = 1.0
"""Seconds until a look at the certificates that failed is repeated."""

Refresh = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookSettings:
    """Exactly one of ``mounted`` (a directory with tls.crt and tls.key) and ``rotation`` (self-issued).

    ``migrations``: also judge VirtualMachineInstanceMigrations; that takes a copy of the cluster's inventory in memory.
    ``interval``: seconds between two looks at the certificates. ``drain``: seconds for which requests are still
    answered after SIGTERM, while the API server learns that this replica goes.
    """

    kubeconfig: Path | None = None
    host: str = "0.0.0.0"
    port: int = 9443
    mounted: Path | None = None
    rotation: RotationSettings | None = None
    migrations: bool = False
    agent_namespace: str = "mdev-node-agent"
    interval: float = 10.0
    drain: float = 5.0


async def run(settings: WebhookSettings) -> int:
    """Serve until SIGTERM or SIGINT (0)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    credentials = load(settings.kubeconfig)
    log.info("starting", server=credentials.server, credentials=credentials.origin)
    async with Client(credentials, user_agent="mdev-operator-webhook") as client:
        await serve(client, settings, stop)
    return 0


async def serve(
    client: Client, settings: WebhookSettings, stop: asyncio.Event, listening: Callable[[int], None] | None = None
) -> None:
    """Serve until ``stop`` is set; ``listening`` is told the port once the first certificate is there."""
    context = tls.server_context()
    refresh = _refresher(client, settings, context)
    async with contextlib.AsyncExitStack() as stack:
        judges: dict[str, Judge] = {GATE_PATH: _judge_pod}
        if settings.migrations:
            judges[MIGRATIONS_PATH] = judge_migrations(
                client.send, await stack.enter_async_context(_known_cluster(client, settings.agent_namespace))
            )
        while not await _refreshed(refresh):
            if await _stopped(stop, RETRY):
                return
        async with Server(judges, context, host=settings.host, port=settings.port) as server:
            log.info("listening", host=settings.host, port=server.port, paths=sorted(judges))
            if listening is not None:
                listening(server.port)
            wait = settings.interval
            while not await _stopped(stop, wait):
                wait = settings.interval if await _refreshed(refresh) else min(RETRY, settings.interval)
            server.draining = True
            log.info("stopping", answering_for_seconds=settings.drain)
            await asyncio.sleep(settings.drain)


async def _judge_pod(review: Review) -> Verdict:
    return gate(review.object)


def _refresher(client: Client, settings: WebhookSettings, context: ssl.SSLContext) -> Refresh:
    """What gives the server the certificate that is right now."""
    shown: tuple[bytes, bytes] | None = None

    async def refresh() -> None:
        nonlocal shown
        if settings.mounted is not None:
            wanted = tls.read_mounted(settings.mounted)
        else:
            assert settings.rotation is not None
            pair = await rotation.turn(client.send, settings.rotation, datetime.now(UTC))
            wanted = (pair.certificate_pem, pair.key_pem)
        if wanted != shown:
            tls.show(context, *wanted)
            shown = wanted
            log.info("serving a new certificate")

    return refresh


async def _refreshed(refresh: Refresh) -> bool:
    """Whether it worked; if not, what is shown stays, and it is told."""
    try:
        await refresh()
    except ApiError as error:
        first = error.conflict or error.already_exists or error.invalid
        if first:
            log.info("looking at the certificates again: another replica was first", reason=str(error))
        else:
            log.warning("the certificates could not be looked after", reason=str(error))
        return False
    except (Unreachable, OSError, tls.UnusableCertificateError) as error:
        log.warning("the certificates could not be looked after", reason=str(error))
        return False
    return True


async def _stopped(stop: asyncio.Event, within: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), within)
    return stop.is_set()


@contextlib.asynccontextmanager
async def _known_cluster(client: Client, agent_namespace: str) -> AsyncIterator[Callable[[], Cluster | None]]:
    """Follow the cluster while the block runs; gives a look at it, None until everything was listed once."""

    def changed(_resource: Resource, _name: str) -> None:
        """Nothing here waits for a change: each question is answered from what is known when it comes."""

    inventory = Inventory(client, agent_namespace, changed, lambda _node: None)

    def look() -> Cluster | None:
        listed = all(reflector.synced.is_set() for reflector in inventory.reflectors)
        return inventory.cluster() if listed else None

    async with asyncio.TaskGroup() as group:
        following = group.create_task(inventory.run(), name="inventory")
        yield look
        following.cancel()
