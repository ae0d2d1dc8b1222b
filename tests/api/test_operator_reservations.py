"""Changes of NodeReservations on the real API server: what it refuses, and what the operator makes of it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mdev_api.kinds.node_reservations import Entry, Intent, NodeReservations
from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import apply_status, delete, get
from mdev_api.kube.resources import NODE_RESERVATIONS
from mdev_operator import reservations
from mdev_operator.reservations import Raced, Superseded
from tests.agent.reservations import entry
from tests.controlplane.control_plane import ControlPlane

PROFILE = "p-" + "a" * 26


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with Client(load(control_plane.kubeconfig)) as client:
        yield client


@pytest.fixture
async def node(client: Client) -> AsyncIterator[str]:
    """A node that has no reservations yet."""
    name = f"reserved-{uuid.uuid4().hex[:8]}"
    yield name
    try:
        await client.send(delete(NODE_RESERVATIONS, name))
    except ApiError as error:
        if not error.not_found:
            raise


def wanted(entry_id: str) -> Entry:
    create = {"create": {"parent": "gfx0", "type": "gfx-8GB", "profile": PROFILE}}
    return Entry.model_validate(entry(entry_id, boot_id="boot", device=create))


def parsed(obj: dict[str, Any]) -> NodeReservations:
    return NodeReservations.model_validate(obj)


async def stored(client: Client, node: str) -> dict[str, Any]:
    return await client.send(get(NODE_RESERVATIONS, node))


async def test_of_two_that_decided_from_the_same_state_the_second_is_refused(client: Client, node: str) -> None:
    seen = parsed(await reservations.add(client.send, node, None, 1, [wanted("one")]))
    await reservations.add(client.send, node, seen, 1, [wanted("two")])

    with pytest.raises(Raced) as raced:
        await reservations.add(client.send, node, seen, 1, [wanted("three")])

    assert [e["id"] for e in (raced.value.current or {})["spec"]["reservations"]] == ["one", "two"]


async def test_of_two_that_create_the_object_the_second_is_refused(client: Client, node: str) -> None:
    await reservations.add(client.send, node, None, 1, [wanted("one")])
    with pytest.raises(Raced):
        await reservations.add(client.send, node, None, 1, [wanted("two")])
    assert [e["id"] for e in (await stored(client, node))["spec"]["reservations"]] == ["one"]


async def test_a_leader_of_yesterday_cannot_write_even_what_it_sees_as_it_is(client: Client, node: str) -> None:
    first = parsed(await reservations.add(client.send, node, None, 1, [wanted("one")]))
    now = parsed(await reservations.raise_fence(client.send, first, 2))

    for attempt in (
        reservations.add(client.send, node, now, 1, [wanted("two")]),
        reservations.tell(client.send, now, 1, {"one": Intent.UNDO}),
        reservations.remove(client.send, now, 1, ["one"]),
        reservations.add(client.send, node, None, 1, [wanted("three")]),
    ):
        with pytest.raises(Superseded, match="fence 2, ours is 1"):
            await attempt

    assert parsed(await stored(client, node)).spec == now.spec


async def test_an_entry_goes_only_when_its_end_was_answered(client: Client, node: str) -> None:
    seen = parsed(await reservations.add(client.send, node, None, 1, [wanted("one")]))
    with pytest.raises(ApiError, match="a reservation may go only when its answer is"):
        await reservations.remove(client.send, seen, 1, ["one"])

    status = {"reservations": [{"id": "one", "state": "Undone"}]}
    answered = parsed(await client.send(apply_status(NODE_RESERVATIONS, node, status, "agent")))
    assert parsed(await reservations.remove(client.send, answered, 1, ["one"])).spec.reservations == ()


async def test_what_a_rule_refuses_is_no_race_and_says_what_is_wrong(client: Client, node: str) -> None:
    many = [wanted(f"entry-{number}") for number in range(16)]
    seen = parsed(await reservations.add(client.send, node, None, 1, many))
    with pytest.raises(ApiError, match="at most 16 items"):
        await reservations.add(client.send, node, seen, 1, [wanted("one-more")])


async def test_an_object_that_is_gone_is_told_as_gone(client: Client, node: str) -> None:
    seen = parsed(await reservations.add(client.send, node, None, 1, [wanted("one")]))
    await client.send(delete(NODE_RESERVATIONS, node))
    with pytest.raises(Raced) as raced:
        await reservations.tell(client.send, seen, 1, {"one": Intent.UNDO})
    assert raced.value.current is None
