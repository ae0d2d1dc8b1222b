"""Readings on the real API server: the statuses are accepted, and written once."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from mdev_api.hashing import profile_name
from mdev_api.kinds.device_model import DeviceModel
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import Request, create, delete, get
from mdev_api.kube.resources import DEVICE_MODELS, DEVICE_PROFILES
from mdev_operator.context import Context
from mdev_operator.profiles.profiles import reconcile_model, reconcile_profile
from mdev_operator.profiles.suspects import Evidence
from tests.controlplane.control_plane import ControlPlane

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "models" / "mtty.yaml"


class World:
    """The API server with the two objects of a test, and the writes that reading them leads to."""

    def __init__(self, client: Client, profile: str, model: str) -> None:
        self._client = client
        self.profile, self.model = profile, model
        self.writes: list[Request] = []

    async def send(self, request: Request) -> dict[str, Any]:
        if request.method != "GET":
            self.writes.append(request)
        return await self._client.send(request)

    async def reconcile(self) -> None:
        """What happens once both objects, as they are now, were seen."""
        model = DeviceModel.model_validate(await self._client.send(get(DEVICE_MODELS, self.model)))
        profile = DeviceProfile.model_validate(await self._client.send(get(DEVICE_PROFILES, self.profile)))
        inventory = SimpleNamespace(
            models={self.model: model}, profiles={self.profile: SimpleNamespace(profile=profile)}
        )
        queue = SimpleNamespace(add=lambda _key: None)
        parts = SimpleNamespace(send=self.send, inventory=inventory, queue=queue, evidence=Evidence())
        ctx = cast(Context, parts)
        await reconcile_profile(ctx, self.profile)
        await reconcile_model(ctx, self.model)

    async def status(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Status of the profile and of the model."""
        profile = await self._client.send(get(DEVICE_PROFILES, self.profile))
        model = await self._client.send(get(DEVICE_MODELS, self.model))
        return profile["status"], model["status"]


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with Client(load(control_plane.kubeconfig)) as client:
        yield client


@pytest.fixture
async def world(client: Client) -> AsyncIterator[World]:
    """The shipped model, and a profile of a card that it knows (and that no other test has seen)."""
    unique = uuid.uuid4().hex
    spec = {"backend": "mdev", "driver": {"name": "mtty", "version": unique}, "type": {"id": "mtty-2"}}
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    name, model = profile_name(spec), f"mtty-{unique}"
    await client.send(create(DEVICE_PROFILES, {"metadata": {"name": name}, "spec": spec}))
    await client.send(create(DEVICE_MODELS, {"metadata": {"name": model}, "spec": shipped["spec"]}))
    yield World(client, name, model)
    await client.send(delete(DEVICE_PROFILES, name))
    await client.send(delete(DEVICE_MODELS, model))


async def test_the_shipped_model_resolves_a_profile_on_the_api_server(world: World) -> None:
    await world.reconcile()

    profile, model = await world.status()
    assert profile["parameters"] == [
        {
            "name": "ports",
            "type": "int",
            "initValue": "2",
            "allowedValues": ["2"],
            "description": "Serial ports of the card",
        }
    ]
    assert (profile["model"], profile["from"]) == ("kernel.org/mtty", f"DeviceModel/{world.model}")
    assert [(c["type"], c["status"]) for c in model["conditions"]] == [("Valid", "True")]
    assert model["matchedProfiles"] == 1


async def test_a_second_look_writes_nothing(world: World) -> None:
    await world.reconcile()
    assert len(world.writes) == 2

    await world.reconcile()

    assert len(world.writes) == 2


async def test_a_profile_with_a_name_that_is_not_its_hash_is_gone_afterwards(client: Client, world: World) -> None:
    wrong = profile_name({"not": uuid.uuid4().hex})
    spec = {"backend": "mdev", "driver": {"name": "mtty"}}
    await client.send(create(DEVICE_PROFILES, {"metadata": {"name": wrong}, "spec": spec}))

    await World(client, wrong, world.model).reconcile()

    with pytest.raises(ApiError) as answer:
        await client.send(get(DEVICE_PROFILES, wrong))
    assert answer.value.not_found
