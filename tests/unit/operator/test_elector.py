from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import Credentials
from mdev_operator.leading.elector import Elector, LeadershipLost, new_identity
from tests.waiting import eventually

CALM: dict[str, Any] = {"lease_duration": 20.0, "renew_deadline": 15.0, "retry_period": 0.1}
"""Times by which a busy machine loses nothing."""

HASTY: dict[str, Any] = {"lease_duration": 1.0, "renew_deadline": 0.6, "retry_period": 0.1}
"""Times by which a leader that cannot renew loses soon."""


class LeaseServer:
    """One Lease with compare-and-swap, and faults on request: what the API server does to a Lease, and nothing else."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.reads = 0
        self.writes: list[dict[str, Any]] = []
        self.fault: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        spec: dict[str, Any] = self.lease["spec"]
        return spec

    def put(self, **spec: Any) -> None:
        """Somebody else writes the Lease."""
        self.version += 1
        metadata = {"name": "l", "namespace": "ns", "resourceVersion": str(self.version)}
        self.lease = {"metadata": metadata, "spec": spec}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.fault is not None and (answer := await self.fault(request)) is not None:
            return answer
        if request.method == "GET":
            self.reads += 1
            return web.json_response(self.lease) if self.lease else _status(404, "NotFound")
        return self.write(request.method, await request.json())

    def write(self, method: str, body: dict[str, Any]) -> web.Response:
        if method == "POST" and self.lease is not None:
            return _status(409, "AlreadyExists")
        if method == "PUT":
            if self.lease is None:
                return _status(404, "NotFound")
            if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                return _status(409, "Conflict")
        self.put(**body["spec"])
        self.writes.append(copy.deepcopy(self.spec))
        return web.json_response(self.lease)


def _status(code: int, reason: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": reason}, status=code)


async def hang(_: web.Request) -> None:
    await asyncio.Event().wait()


async def broken(_: web.Request) -> web.StreamResponse:
    return _status(500, "InternalError")


class Clock:
    """The real clock, and a jump: what a stopped process sees when it goes on."""

    def __init__(self) -> None:
        self.jumped = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.jumped


@pytest.fixture
def server() -> LeaseServer:
    return LeaseServer()


@pytest.fixture
async def client(server: LeaseServer) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        listening = TestServer(app)
        await listening.start_server(shutdown_timeout=0.1)
        stack.push_async_callback(listening.close)
        credentials = Credentials(server=str(listening.make_url("")).rstrip("/"), origin="test")
        yield await stack.enter_async_context(Client(credentials))


async def until(look: Callable[[], object], what: str, timeout: float = 5) -> None:
    async def ask() -> bool:
        return bool(look())

    await eventually(ask, timeout=timeout, what=what, interval=0.01)


def elector(client: Client, identity: str = "me", **options: Any) -> Elector:
    return Elector(client, "ns", "l", identity, **{**CALM, **options})


async def test_the_first_leader_makes_the_lease_with_fence_one(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        assert (await me.acquire()).fence == 1
        assert (server.spec["holderIdentity"], server.spec["leaseDurationSeconds"]) == ("me", 20)


async def test_the_fence_grows_with_each_holder(server: LeaseServer, client: Client) -> None:
    async with elector(client, "first") as first:
        await first.acquire()
    async with elector(client, "second") as second:
        assert (await second.acquire()).fence == 2


async def test_a_leader_renews_without_being_asked(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
        await until(lambda: len({write["renewTime"] for write in server.writes}) >= 4, "four renewals")
        assert me.still_leading() and not me.lost.is_set()
        assert {write["leaseTransitions"] for write in server.writes} == {1}


async def test_a_lease_that_changes_is_never_taken_however_old_its_renew_time_says_it_is(
    server: LeaseServer, client: Client
) -> None:
    long_ago = "2001-01-01T00:00:{:02}.000000Z"
    server.put(holderIdentity="other", leaseDurationSeconds=3, leaseTransitions=4, renewTime=long_ago.format(0))
    clock = Clock()
    async with elector(client, clock=clock) as me:
        waiting = asyncio.create_task(me.acquire())
        for second in range(1, 10):
            seen = server.reads
            await until(lambda seen=seen: server.reads > seen, "another look at the Lease")
            server.put(**{**server.spec, "renewTime": long_ago.format(second)})
            clock.jumped += 1
        assert server.writes == []
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_lease_is_taken_only_after_the_time_that_its_holder_promised(
    server: LeaseServer, client: Client
) -> None:
    server.put(holderIdentity="other", leaseDurationSeconds=100, leaseTransitions=4)
    clock = Clock()
    async with elector(client, clock=clock) as me:
        waiting = asyncio.create_task(me.acquire())
        await asyncio.wait([waiting], timeout=0.5)
        clock.jumped = 50
        await asyncio.wait([waiting], timeout=0.5)
        assert not waiting.done()
        clock.jumped = 101
        assert (await asyncio.wait_for(waiting, 5)).fence == 5


async def test_a_released_lease_is_taken_at_once(server: LeaseServer, client: Client) -> None:
    server.put(holderIdentity="", leaseDurationSeconds=100, leaseTransitions=4)
    async with elector(client) as me:
        assert (await asyncio.wait_for(me.acquire(), 5)).fence == 5


@pytest.mark.parametrize("fault", [hang, broken])
async def test_a_leader_that_cannot_renew_gives_up_before_anybody_may_follow(
    server: LeaseServer, client: Client, fault: Any
) -> None:
    loop = asyncio.get_running_loop()
    async with elector(client, **HASTY) as me:
        await me.acquire()
        server.fault = fault
        last_possible_renewal = loop.time()
        await asyncio.wait_for(me.lost.wait(), 5)
        assert loop.time() - last_possible_renewal < HASTY["lease_duration"]
        assert not me.still_leading()


async def test_a_short_outage_does_not_end_the_lead(server: LeaseServer, client: Client) -> None:
    failed = []

    async def fail(request: web.Request) -> web.StreamResponse:
        failed.append(request.method)
        return await broken(request)

    async with elector(client) as me:
        await me.acquire()
        server.fault = fail
        await until(lambda: len(failed) >= 3, "three failed renewals")
        server.fault, before = None, len(server.writes)
        await until(lambda: len(server.writes) > before, "a renewal after the outage")
        assert me.still_leading()


async def test_a_process_that_was_stopped_knows_before_it_acts(client: Client) -> None:
    clock = Clock()
    async with elector(client, clock=clock) as me:
        await me.acquire()
        assert me.still_leading()
        clock.jumped = CALM["renew_deadline"] + 0.01
        assert not me.still_leading()


async def test_a_process_that_was_stopped_does_not_renew_what_it_has_lost(server: LeaseServer, client: Client) -> None:
    clock = Clock()
    async with elector(client, clock=clock) as me:
        await me.acquire()
        await until(lambda: len(server.writes) >= 2, "a renewal")
        clock.jumped, before = 100, len(server.writes)
        await asyncio.wait_for(me.lost.wait(), 5)
        assert len(server.writes) == before


async def test_a_leader_ends_as_soon_as_another_one_holds_the_lease(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
        server.put(**{**server.spec, "holderIdentity": "other"})
        await asyncio.wait_for(me.lost.wait(), 5)
        assert not me.still_leading()
    assert server.spec["holderIdentity"] == "other"


async def test_a_leader_whose_lease_was_deleted_ends(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
        server.lease = None
        await asyncio.wait_for(me.lost.wait(), 5)


async def test_somebody_who_labels_the_lease_does_not_end_the_lead(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
        server.put(**server.spec)
        before = len(server.writes)
        await until(lambda: len(server.writes) > before + 1, "further renewals")
        assert me.still_leading()


async def test_a_renewal_whose_answer_was_lost_does_not_end_the_lead(server: LeaseServer, client: Client) -> None:
    lost = []

    async def take_and_cut(request: web.Request) -> web.StreamResponse | None:
        if request.method != "PUT" or lost:
            return None
        lost.append(server.write("PUT", await request.json()))
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with elector(client) as me:
        await me.acquire()
        server.fault = take_and_cut
        await until(lambda: lost, "a renewal without answer")
        before = len(server.writes)
        await until(lambda: len(server.writes) > before, "a renewal afterwards")
        assert me.still_leading()


async def test_renewals_of_which_no_answer_is_ever_heard_keep_the_lead(server: LeaseServer, client: Client) -> None:
    unheard = []

    async def take_and_fail(request: web.Request) -> web.StreamResponse | None:
        if request.method != "PUT":
            return None
        answer = server.write("PUT", await request.json())
        unheard.append(answer.status)
        return answer if answer.status == 409 else _status(504, "Timeout")

    async with elector(client, **HASTY) as me:
        await me.acquire()
        server.fault = take_and_fail
        since = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > since + 2 * HASTY["renew_deadline"], "two deadlines")
        assert unheard.count(200) >= 3
        assert me.still_leading()


async def test_a_slow_server_does_not_end_the_lead(server: LeaseServer, client: Client) -> None:
    async def slow(_: web.Request) -> None:
        await asyncio.sleep(0.25)

    async with elector(client, lease_duration=2.0, renew_deadline=1.5, retry_period=0.1) as me:
        await me.acquire()
        server.fault, since = slow, asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > since + 2, "more than a deadline to pass")
        assert me.still_leading()


class Busy:
    """Answers every write with 429, and remembers when."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        self.asked: list[float] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        if request.method == "GET":
            return None
        self.asked.append(asyncio.get_running_loop().time())
        answer = _status(429, "TooManyRequests")
        answer.headers["Retry-After"] = str(self.retry_after)
        return answer


async def test_a_busy_server_is_given_the_time_that_it_asks_for(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
        server.fault = busy = Busy(retry_after=1)
        await until(lambda: len(busy.asked) >= 2, "two refused renewals")
        assert busy.asked[1] - busy.asked[0] >= 1
        assert me.still_leading()


async def test_a_candidate_gives_a_busy_server_time_too(server: LeaseServer, client: Client) -> None:
    server.fault = busy = Busy(retry_after=1)
    async with elector(client) as me:
        campaign = asyncio.create_task(me.acquire())
        await until(lambda: len(busy.asked) >= 2, "two refused attempts")
        campaign.cancel()
        await asyncio.wait([campaign])
    assert busy.asked[1] - busy.asked[0] >= 1


async def test_a_server_that_asks_for_more_time_than_is_left_is_asked_before_the_lead_ends(
    server: LeaseServer, client: Client
) -> None:
    async with elector(client, lease_duration=2.0, renew_deadline=1.5, retry_period=0.1) as me:
        await me.acquire()
        server.fault = busy = Busy(retry_after=30)
        await until(lambda: len(busy.asked) == 2, "another try")
        assert busy.asked[1] - busy.asked[0] > 0.5
        server.fault, before = None, len(server.writes)
        await until(lambda: len(server.writes) > before, "a renewal")
        assert me.still_leading()


async def test_a_lease_won_without_hearing_so_is_kept_with_its_fence(server: LeaseServer, client: Client) -> None:
    server.put(holderIdentity="me", leaseDurationSeconds=100, leaseTransitions=4, acquireTime="then")
    async with elector(client) as me:
        assert (await asyncio.wait_for(me.acquire(), 5)).fence == 4
        assert server.spec["acquireTime"] == "then"


async def test_a_campaign_goes_on_through_any_fault(server: LeaseServer, client: Client) -> None:
    server.fault = broken
    async with elector(client, **HASTY) as me:
        waiting = asyncio.create_task(me.acquire())
        await asyncio.wait([waiting], timeout=0.3)
        server.fault = hang  # type: ignore[assignment]
        await asyncio.wait([waiting], timeout=0.3)
        server.fault = None
        assert (await asyncio.wait_for(waiting, 5)).fence == 1


async def test_the_fence_can_be_raised_above_what_was_found(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
        assert (await me.raise_fence(41)).fence == 42
        await until(lambda: server.writes[-1]["leaseTransitions"] == 42, "a Lease with that fence")
        assert (await me.raise_fence(7)).fence == 42


async def test_a_fence_is_not_raised_by_who_lost(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
        server.put(**{**server.spec, "holderIdentity": "other"})
        with pytest.raises(LeadershipLost, match="other holds it now"):
            await me.raise_fence(41)
        assert me.lost.is_set()


async def test_a_clean_end_gives_the_lease_back_and_keeps_its_fence(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
    assert (server.spec["holderIdentity"], server.spec["leaseDurationSeconds"]) == ("", 1)
    assert server.spec["leaseTransitions"] == 1
    assert not me.still_leading() and not me.lost.is_set()


async def test_an_end_without_a_server_only_takes_longer_for_the_successor(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
        server.fault = broken
    assert server.spec["holderIdentity"] == "me"


async def test_who_lost_leads_no_more(server: LeaseServer, client: Client) -> None:
    async with elector(client) as me:
        await me.acquire()
        server.lease = None
        await asyncio.wait_for(me.lost.wait(), 5)
        with pytest.raises(RuntimeError, match="only once"):
            await me.acquire()


@pytest.mark.parametrize("wrong", [{"retry_period": 15.0}, {"renew_deadline": 20.0}, {"retry_period": 0}])
async def test_times_that_do_not_fit_are_refused(client: Client, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="retry_period < renew_deadline < lease_duration"):
        elector(client, **wrong)


def test_an_identity_is_new_each_time() -> None:
    assert new_identity() != new_identity()
