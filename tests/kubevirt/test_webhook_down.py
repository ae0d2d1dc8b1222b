"""No replica of the webhook server answers: who is hurt, and who is not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.kubevirt.gate_cases import EVERY_UNTOUCHED, Case, gates_of, pod
from tests.kubevirt.webhooks import drop, put, shipped
from tests.waiting import eventually


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    """A client of an API server that asks a port where nobody listens."""
    async with Client(load(control_plane.kubeconfig)) as client:
        wanted = shipped("gate-webhook.yaml", free_ports(1)[0])
        await put(client, wanted)

        async def refused() -> bool:
            try:
                await gates_of(client, pod())
            except ApiError:
                return True
            return False

        await eventually(refused, timeout=30, what="the API server to ask")
        yield client
        await drop(client, wanted["metadata"]["name"])


async def test_a_target_with_our_device_is_refused_with_the_name_of_who_did_not_answer(client: Client) -> None:
    with pytest.raises(ApiError) as refusal:
        await gates_of(client, pod())

    assert 'failed calling webhook "gate.mdev-operator.io"' in refusal.value.message


@EVERY_UNTOUCHED
async def test_every_other_pod_is_created_as_ever(client: Client, case: Case) -> None:
    assert await gates_of(client, case.pod) == case.gates
