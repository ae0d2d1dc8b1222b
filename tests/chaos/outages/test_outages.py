"""Outages of minutes: nothing ends, hardly anything is asked, and when it is over all that was wanted is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.durable.faults.troubled import Troubled
from tests.faults.fault import Fault, Hang, Mute, Reset, Status
from tests.faults.request import Match
from tests.simulated.cluster import instance

SECONDS = 150.0
"""Longer than a Lease, than the pauses between two tries and than a watch may say nothing."""

PER_MINUTE = {"operator": 100, "agent": 40}
"""Requests in an outage, of the operator (its campaign is one in two seconds) and of both agents together."""

Outage = Callable[[Troubled], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def refused(troubled: Troubled) -> AsyncIterator[None]:
    """Every request is answered 503."""
    with troubled.both(Fault(what=Status(503, "ServiceUnavailable"))):
        troubled.end_watches(Reset())
        yield


@asynccontextmanager
async def unanswered(troubled: Troubled) -> AsyncIterator[None]:
    """No request is answered."""
    with troubled.both(Fault(what=Hang())):
        troubled.end_watches(Reset())
        yield


@asynccontextmanager
async def gone(troubled: Troubled) -> AsyncIterator[None]:
    """Nothing listens, and all connections are reset."""
    with troubled.to_operator.refusing(), troubled.to_agents.refusing():
        yield


@pytest.mark.parametrize("outage", [refused, unanswered, gone])
async def test_after_an_outage_of_minutes_all_that_was_wanted_meanwhile_is_done(
    troubled: Troubled, outage: Outage
) -> None:
    kernels = [await troubled.add_node(name) for name in ("a", "b")]
    cluster = troubled.cluster
    for number, node in enumerate(("a", "b")):
        await troubled.ask(f"before-{node}", nodeName=cluster.full(node))
        before = await troubled.is_ready(f"before-{node}", node)
        assert kernels[number].devices() == [instance(before)]
    began = time.monotonic()
    async with outage(troubled):
        await cluster.tell("before-a", outcome="Failed")
        await cluster.tell("before-b", started=True)
        await cluster.tell("before-b", outcome="Succeeded")
        await troubled.ask("meanwhile", nodeName=cluster.full("a"), deadlineSeconds=900)
        await troubled.lasts(SECONDS)
        sent = troubled.requests(since=began)
        assert troubled.ended() == []
    most = {program: each * SECONDS / 60 for program, each in PER_MINUTE.items()}
    assert all(sent[program] < most[program] for program in most), sent

    for name in ("before-a", "before-b"):
        await cluster.shows(name, "Finished", "True", timeout=90)
    ready = await troubled.is_ready("meanwhile")
    assert len(kernels[1].devices()) == 1, "the device of a migration that succeeded"
    assert kernels[0].devices() == [instance(ready)]


async def test_watches_that_say_nothing_for_minutes_are_given_up(troubled: Troubled) -> None:
    kernel = await troubled.add_node("a")
    await troubled.ask("before")
    await troubled.is_ready("before")
    mute = Fault(what=Mute(), match=Match(verbs=("watch",)))
    with troubled.both(mute):
        troubled.end_watches(Reset())
        await troubled.lasts(10.0)
    # Nothing is wrong any more but that those which have begun will never speak.
    await troubled.cluster.tell("before", outcome="Failed")
    await troubled.ask("after")
    await asyncio.gather(
        troubled.cluster.shows("before", "Finished", "True", timeout=240),
        troubled.cluster.shows("after", "Ready", "True", timeout=240),
    )
    assert len(kernel.devices()) == 1
