"""Certificates are replaced again and again, seconds apart, while the API server asks: no request may fail."""

from __future__ import annotations

import asyncio
import base64
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import create, delete, get, merge_patch
from mdev_api.kube.resources import NAMESPACES
from mdev_operator.webhook import certificates, rotation
from mdev_operator.webhook.certificates import Lifetimes
from mdev_operator.webhook.rotation import MUTATING_WEBHOOKS, SECRETS, RotationSettings
from mdev_operator.webhook.run import WebhookSettings, serve
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.kubevirt.gate_cases import GATE, gates_of, pod
from tests.kubevirt.webhooks import HOST, drop, put, shake_hands, shipped
from tests.waiting import eventually

CONFIGURATION = "mdev-operator-gate"
SHORT = Lifetimes(authority=timedelta(seconds=18), serving=timedelta(seconds=9), settle=timedelta(seconds=3))


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with Client(load(control_plane.kubeconfig)) as client:
        yield client
        await drop(client, CONFIGURATION)


@pytest.fixture
async def own(client: Client) -> AsyncIterator[RotationSettings]:
    """Settings with a namespace of this test."""
    namespace = f"webhook-{uuid.uuid4().hex[:8]}"
    await client.send(create(NAMESPACES, {"metadata": {"name": namespace}}))
    yield RotationSettings(
        namespace=namespace, secret="webhook", configurations=[CONFIGURATION], hosts=[HOST], lifetimes=SHORT
    )
    await client.send(delete(NAMESPACES, namespace))


@asynccontextmanager
async def serving(client: Client, settings: WebhookSettings) -> AsyncIterator[int]:
    """The server in this event loop; gives its port."""
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(client, settings, stop, listening.set_result))
    try:
        yield await asyncio.wait_for(listening, 15)
    finally:
        stop.set()
        await running


async def asked(client: Client) -> bool:
    """Whether the API server asks the webhook, and trusts it."""
    try:
        return await gates_of(client, pod()) == (GATE,)
    except ApiError:
        return False


async def published(client: Client) -> bytes:
    """The bundle that an API server goes by."""
    configuration = await client.send(get(MUTATING_WEBHOOKS, CONFIGURATION))
    return base64.b64decode(configuration["webhooks"][0]["clientConfig"]["caBundle"])


async def is_trusted(port: int, bundle: bytes) -> bool:
    """Whether a client that trusts ``bundle`` would ask."""
    try:
        await shake_hands(port, bundle)
    except ssl.SSLCertVerificationError:
        return False
    return True


async def test_no_request_fails_until_nothing_is_left_of_the_first_authority(
    client: Client, own: RotationSettings
) -> None:
    """Two replicas renew; one answers. Besides the API server, a client that opens a new connection each time."""
    ports = free_ports(2)
    await put(client, shipped("gate-webhook.yaml", ports[0]))
    both = [WebhookSettings(host=HOST, port=p, rotation=own, interval=0.2, drain=0) for p in ports]
    shown, gated, renewed = set[bytes](), 0, asyncio.Event()
    async with serving(client, both[0]) as port, serving(client, both[1]):
        await eventually(lambda: asked(client), timeout=15, what="the API server to ask")
        first = await published(client)

        async def create_pods() -> None:
            nonlocal gated
            afterwards = 0
            while afterwards < 20:
                assert await gates_of(client, pod()) == (GATE,)
                gated += 1
                afterwards += renewed.is_set()

        async def connect_anew() -> None:
            while await is_trusted(port, first):
                shown.add(await shake_hands(port, await published(client)))
            renewed.set()

        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            for work in (create_pods, create_pods, connect_anew):
                group.create_task(work())
    assert len(shown) >= 2
    assert gated > 50


async def test_replicas_that_turn_at_once_agree(client: Client, own: RotationSettings) -> None:
    """Whoever comes second gets a conflict, and at its next turn the same certificate."""
    await put(client, shipped("gate-webhook.yaml", 1))
    now = datetime.now(UTC)
    first = await asyncio.gather(*(rotation.turn(client.send, own, now) for _ in range(8)), return_exceptions=True)
    assert all(isinstance(answer, certificates.Pair | ApiError) for answer in first)

    again = [await rotation.turn(client.send, own, now) for _ in range(2)]

    assert {pair.certificate_pem for pair in (*again, *first) if isinstance(pair, certificates.Pair)} == {
        again[0].certificate_pem
    }
    secret = await client.send(get(SECRETS, own.secret, own.namespace))
    assert base64.b64decode(secret["data"]["ca.crt"]) == await published(client)


async def test_a_configuration_that_is_made_anew_is_trusting_again_at_the_next_turn(
    client: Client, own: RotationSettings
) -> None:
    await put(client, shipped("gate-webhook.yaml", 1))
    pair = await rotation.turn(client.send, own, datetime.now(UTC))
    await put(client, shipped("gate-webhook.yaml", 1))

    assert await rotation.turn(client.send, own, datetime.now(UTC)) == pair

    assert certificates.split_bundle(await published(client))


async def test_without_a_configuration_there_is_a_certificate_all_the_same(
    client: Client, own: RotationSettings
) -> None:
    pair = await rotation.turn(client.send, own, datetime.now(UTC))

    secret = await client.send(get(SECRETS, own.secret, own.namespace))
    assert base64.b64decode(secret["data"]["tls.crt"]) == pair.certificate_pem


async def test_a_secret_that_somebody_damaged_is_written_anew(client: Client, own: RotationSettings) -> None:
    await put(client, shipped("gate-webhook.yaml", 1))
    await rotation.turn(client.send, own, datetime.now(UTC))
    damage = {"data": {"tls.key": base64.b64encode(b"nonsense").decode()}}
    await client.send(merge_patch(SECRETS, own.secret, damage, own.namespace))

    pair = await rotation.turn(client.send, own, datetime.now(UTC))

    secret = await client.send(get(SECRETS, own.secret, own.namespace))
    assert base64.b64decode(secret["data"]["tls.key"]) == pair.key_pem


async def test_mounted_certificates_are_followed(client: Client, own: RotationSettings, tmp_path: Path) -> None:
    """As cert-manager renews them: the files change, and a moment in which they do not fit changes nothing."""
    now = datetime.now(UTC)
    one, two = (
        certificates.next_state(certificates.State(), now=now, published=(), hosts=[HOST], lifetimes=Lifetimes())
        for _ in range(2)
    )
    assert one.serving is not None and two.serving is not None
    (tmp_path / "tls.crt").write_bytes(one.serving.certificate_pem)
    (tmp_path / "tls.key").write_bytes(one.serving.key_pem)
    settings = WebhookSettings(host=HOST, port=0, mounted=tmp_path, interval=0.05, drain=0)
    async with serving(client, settings) as port:
        before = await shake_hands(port, one.bundle)
        (tmp_path / "tls.key").write_bytes(two.serving.key_pem)
        assert await shake_hands(port, one.bundle) == before
        (tmp_path / "tls.crt").write_bytes(two.serving.certificate_pem)

        async def changed() -> bool:
            return await shake_hands(port, one.bundle + two.bundle) != before

        await eventually(changed, timeout=10, what="the new certificate to be shown")
        await shake_hands(port, two.bundle)
