"""The fault proxy itself: what a client of ours sees of each fault, and that everything else passes unchanged."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import create, get, list_page, watch
from mdev_api.kube.resources import DEVICE_MODELS, LEASES, NODES
from tests.controlplane.control_plane import ControlPlane
from tests.faults.fault import EndWatch, ErrorEvent, Fault, Hang, LoseAnswer, Mute, Reset, Slow, Status
from tests.faults.proxy import FaultProxy
from tests.faults.request import Match

SPACE = "default"


@pytest.fixture
async def through(plane: ControlPlane, to_agents: FaultProxy) -> AsyncIterator[Client]:
    """A client behind the proxy."""
    kubeconfig = plane.kubeconfig_for("somebody", server=to_agents.server)
    async with Client(load(kubeconfig), user_agent="somebody/1") as opened:
        yield opened


def a_lease() -> str:
    return f"lease-{uuid.uuid4().hex[:6]}"


def making(name: str):
    return create(LEASES, {"metadata": {"name": name}, "spec": {}}, SPACE)


def watching(version: str):
    return watch(LEASES, resource_version=version, timeout_seconds=60, namespace=SPACE)


async def version(client: Client) -> str:
    return str((await client.send(list_page(LEASES, namespace=SPACE)))["metadata"]["resourceVersion"])


async def test_requests_pass_and_the_log_says_what_they_were(through: Client, to_agents: FaultProxy) -> None:
    name = a_lease()
    await through.send(making(name))
    await through.send(get(LEASES, name, SPACE))

    made, read = to_agents.seen()
    assert (made.verb, made.resource, made.namespace, made.status) == ("create", "leases", SPACE, 201)
    assert (read.verb, read.name, read.status, read.did) == ("get", name, 200, "forwarded")
    assert (read.program, read.user_agent) == ("agent", "somebody/1")


async def test_a_token_is_passed_on_and_counts_for_its_owner(plane: ControlPlane, to_agents: FaultProxy) -> None:
    token = plane.kubectl("create", "token", "mdev-node-agent", "--namespace=mdev-node-agent").stdout.strip()
    kubeconfig = plane.kubeconfig_for("agent", token=token, server=to_agents.server)
    async with Client(load(kubeconfig)) as account:
        with pytest.raises(ApiError, match="system:serviceaccount:mdev-node-agent:mdev-node-agent") as caught:
            await account.send(get(NODES, "x"))
    assert caught.value.forbidden
    assert to_agents.count(Match(token=token)) == 1


async def test_an_event_of_a_watch_comes_at_once(through: Client, client: Client) -> None:
    events = through.stream(watching(await version(through)))
    name = a_lease()
    coming = asyncio.ensure_future(anext(events))
    await client.send(making(name))
    event = await asyncio.wait_for(coming, 20)
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", name)
    await events.aclose()


async def test_a_status_is_an_answer_with_its_retry_after(through: Client, to_agents: FaultProxy) -> None:
    busy = Fault(what=Status(429, "TooManyRequests", retry_after=7), times=1)
    with to_agents.during(busy), pytest.raises(ApiError) as caught:
        await through.send(get(NODES, "x"))
    assert (caught.value.too_many, caught.value.retry_after) == (True, 7.0)
    with pytest.raises(ApiError) as after:
        await through.send(get(NODES, "x"))
    assert after.value.not_found, "it was for one request only"


async def test_a_reset_or_lost_answer_may_have_arrived_and_only_the_latter_has(
    through: Client, to_agents: FaultProxy, client: Client
) -> None:
    never, done = a_lease(), a_lease()
    for what, name in ((Reset(), never), (LoseAnswer(), done)):
        with to_agents.during(Fault(what=what)), pytest.raises(Unreachable) as caught:
            await through.send(making(name))
        assert caught.value.may_have_arrived
    with pytest.raises(ApiError) as missing:
        await client.send(get(LEASES, never, SPACE))
    assert missing.value.not_found
    await client.send(get(LEASES, done, SPACE))
    assert [s.status for s in to_agents.seen(Match(verbs=("create",)))] == [None, 201]


async def test_a_request_that_hangs_ends_when_the_client_gives_up(through: Client, to_agents: FaultProxy) -> None:
    with to_agents.during(Fault(what=Hang())), pytest.raises(Unreachable, match=r"GET .*/nodes/x.*no answer in time"):
        await through.send(get(NODES, "x"), timeout=0.3)


async def test_a_slow_request_is_done_later(through: Client, to_agents: FaultProxy) -> None:
    began = time.monotonic()
    with to_agents.during(Fault(what=Slow(0.4))):
        await through.send(making(a_lease()))
    assert time.monotonic() - began >= 0.4


async def test_a_watch_ends_as_it_is_told(through: Client, to_agents: FaultProxy) -> None:
    since = await version(through)

    async def followed(how: EndWatch | Reset | ErrorEvent) -> None:
        async def end() -> None:
            while not to_agents.end_watches(how):
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            group.create_task(end())
            async for _ in through.stream(watching(since)):
                pass

    await asyncio.wait_for(followed(EndWatch()), 20)
    with pytest.raises(ExceptionGroup) as broken:
        await asyncio.wait_for(followed(Reset()), 20)
    assert broken.group_contains(Unreachable)
    with pytest.raises(ExceptionGroup) as gone:
        await asyncio.wait_for(followed(ErrorEvent(410)), 20)
    (error,) = gone.value.exceptions
    assert isinstance(error, ApiError) and error.gone


async def test_a_watch_that_is_mute_says_nothing_of_what_happens_and_does_not_end(
    through: Client, client: Client, to_agents: FaultProxy
) -> None:
    since = await version(through)
    await client.send(making(a_lease()))
    with to_agents.during(Fault(what=Mute())), pytest.raises(Unreachable, match="Timeout on reading"):
        async for event in through.stream(watching(since), inactivity=1.0):
            pytest.fail(f"it said {event}")


async def test_a_watch_that_begins_with_gone_says_so(through: Client, to_agents: FaultProxy) -> None:
    with to_agents.during(Fault(what=ErrorEvent(410))), pytest.raises(ApiError) as caught:
        async for _ in through.stream(watching("1")):
            pass
    assert caught.value.gone


async def test_while_refused_no_request_arrives_and_afterwards_all_do(through: Client, to_agents: FaultProxy) -> None:
    with to_agents.refusing(), pytest.raises(Unreachable) as caught:
        await through.send(get(NODES, "x"))
    assert not caught.value.may_have_arrived
    assert to_agents.count() == 0
    await through.send(list_page(NODES))


async def test_a_fault_that_no_request_met_fails(through: Client, to_agents: FaultProxy) -> None:
    of_models = Fault(what=Status(503), match=Match(resource=DEVICE_MODELS.plural))
    with pytest.raises(AssertionError, match="no request met"), to_agents.during(of_models):
        await through.send(list_page(NODES))
    assert to_agents.unfired() == (of_models,)
    assert to_agents.tally() == {"503": 0}
