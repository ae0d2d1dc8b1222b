"""The gate by webhook: two replicas of the real command, with the rights they are given, asked by the API server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import get
from mdev_operator.webhook.rotation import MUTATING_WEBHOOKS
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.controlplane.processes import Process, spawn, stop
from tests.kubevirt.gate_cases import EVERY_CASE, GATE, Case, gates_of, pod
from tests.kubevirt.webhooks import HOST, NAMESPACES, identity, manifest, many, shake_hands, shipped
from tests.waiting import eventually, wait_until

CONFIGURATION = "mdev-operator-gate"


@dataclass(frozen=True, kw_only=True, slots=True)
class Replica:
    """One running server."""

    process: Process
    port: int

    @property
    def said(self) -> str:
        """Its log."""
        return self.process.log.read_text()


@pytest.fixture(scope="module")
def kubeconfig(control_plane: ControlPlane) -> Iterator[Path]:
    """The server's own identity."""
    with identity(control_plane) as path:
        yield path


@pytest.fixture(scope="module")
def replicas(
    control_plane: ControlPlane, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Replica, ...]]:
    """Two that start at the same moment, without a Secret; the configuration names the first one."""
    logs = tmp_path_factory.mktemp("webhook")
    ports = free_ports(2)
    wanted = shipped("gate-webhook.yaml", ports[0])
    control_plane.kubectl("apply", "--server-side", "--filename=-", input=json.dumps(wanted))
    running = tuple(_start(kubeconfig, port, logs / f"{port}.log") for port in ports)
    try:
        for replica in running:
            _wait_for(replica, "listening")
        yield running
    finally:
        control_plane.kubectl("delete", "mutatingwebhookconfiguration", CONFIGURATION)
        for replica in running:
            stop(replica.process)


@pytest.fixture
async def client(control_plane: ControlPlane, replicas: tuple[Replica, ...]) -> AsyncIterator[Client]:
    """A client whose pods the webhook sees."""
    async with Client(load(control_plane.kubeconfig)) as client:

        async def asked() -> bool:
            try:
                return await gates_of(client, pod()) == (GATE,)
            except ApiError:
                return False  # the API server has not seen yet whom to trust

        await eventually(asked, timeout=30, what="the API server to ask the webhook")
        yield client


def _start(kubeconfig: Path, port: int, log: Path) -> Replica:
    argv = [sys.executable, "-m", "mdev_operator", "webhook", f"--kubeconfig={kubeconfig}"]
    argv += [f"--host={HOST}", f"--port={port}", f"--also-called={HOST}"]
    return Replica(process=spawn("webhook", argv, log=log), port=port)


def _wait_for(replica: Replica, word: str) -> None:
    wait_until(lambda: word in replica.said, timeout=30, what=f"{replica.process.log} to say {word}")


async def _bundle(client: Client) -> bytes:
    configuration = await client.send(get(MUTATING_WEBHOOKS, CONFIGURATION))
    return base64.b64decode(configuration["webhooks"][0]["clientConfig"]["caBundle"])


@EVERY_CASE
async def test_a_pod_is_gated_if_it_is_a_target_that_asks_for_our_device(client: Client, case: Case) -> None:
    assert await gates_of(client, case.pod) == case.gates


async def test_every_replica_is_trusted_by_what_one_of_them_published(
    client: Client, replicas: tuple[Replica, ...]
) -> None:
    bundle = await _bundle(client)

    shown = {await shake_hands(replica.port, bundle) for replica in replicas}

    assert len(shown) == 1


async def test_a_replica_that_is_told_to_stop_still_answers_and_sends_the_api_server_away(
    client: Client, kubeconfig: Path, tmp_path: Path
) -> None:
    replica = _start(kubeconfig, free_ports(1)[0], tmp_path / "log")
    try:
        await asyncio.to_thread(_wait_for, replica, "listening")
        context = ssl.create_default_context(cadata=(await _bundle(client)).decode())
        review = {"request": {"uid": "1", "namespace": "default", "object": pod()}}
        async with aiohttp.ClientSession(base_url=f"https://{HOST}:{replica.port}") as session:
            async with session.post("/gate", json=review, ssl=context) as before:
                assert (before.status, before.headers.get("Connection")) == (200, None)
            os.kill(replica.process.pid, signal.SIGTERM)
            await asyncio.to_thread(_wait_for, replica, "stopping")
            async with session.post("/gate", json=review, ssl=context) as after:
                assert (after.status, after.headers.get("Connection")) == (200, "close")
            async with session.get("/readyz", ssl=context) as ready:
                assert ready.status == 503
        await asyncio.to_thread(wait_until, lambda: not replica.process.alive, timeout=15, what="the replica to end")
        assert "Traceback" not in replica.said
    finally:
        stop(replica.process)


async def test_what_is_no_review_is_answered_with_a_sentence(client: Client, replicas: tuple[Replica, ...]) -> None:
    context = ssl.create_default_context(cadata=(await _bundle(client)).decode())
    url = f"https://{HOST}:{replicas[0].port}/gate"
    async with aiohttp.ClientSession() as session, session.post(url, data=b"hello", ssl=context) as answer:
        assert answer.status == 400
        assert (await answer.text()).startswith("not an AdmissionReview")


def test_the_shipped_server_is_a_valid_object(control_plane: ControlPlane, kubeconfig: Path) -> None:
    there = control_plane.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--filename=-",
        input=many([*NAMESPACES, *manifest("webhook.yaml")]),
    )

    assert "deployment.apps/mdev-operator-webhook" in there.stdout


@pytest.mark.parametrize(
    "attempt",
    [
        ("get", "secrets/other", "--namespace=mdev-operator"),
        ("list", "secrets", "--namespace=mdev-operator"),
        ("get", "secrets/mdev-operator-webhook", "--namespace=default"),
        ("patch", "mutatingwebhookconfigurations/others"),
        ("create", "mutatingwebhookconfigurations"),
        ("patch", "pods", "--all-namespaces"),
    ],
    ids=" ".join,
)
def test_the_server_may_not(control_plane: ControlPlane, kubeconfig: Path, attempt: tuple[str, ...]) -> None:
    said = control_plane.kubectl("auth", "can-i", *attempt, kubeconfig=kubeconfig, check=False).stdout.strip()

    assert said == "no"
