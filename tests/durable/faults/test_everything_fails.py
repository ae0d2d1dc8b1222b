"""Every request of both programs fails in one way for a while. Nothing ends, nothing is busy, and then all is done."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from tests.durable.faults.troubled import MOST, Troubled
from tests.faults.fault import Fault, Hang, LoseAnswer, Reset, Slow, Status, What
from tests.faults.proxy import FaultProxy
from tests.faults.request import WRITES, Match

SECONDS = 2.5
"""How long a fault lasts: several tries of everything that tries again."""

RETRY_AFTER = 1

FAILING = {
    "429": Status(429, "TooManyRequests", retry_after=RETRY_AFTER),
    "503": Status(503, "ServiceUnavailable"),
    "reset": Reset(),
}


@pytest.mark.parametrize("what", FAILING.values(), ids=FAILING)
async def test_a_migration_made_while_every_request_fails_is_ready_when_that_is_over(
    troubled: Troubled, what: What
) -> None:
    await troubled.add_node()
    began = time.monotonic()
    with troubled.both(Fault(what=what)):
        troubled.end_watches(Reset())
        await troubled.ask()
        await troubled.lasts(SECONDS)
        sent = troubled.requests(since=began)

    await troubled.is_ready()
    assert all(sent[program] < most for program, most in MOST.items()), sent
    if isinstance(what, Status) and what.retry_after is not None:
        assert early(troubled.to_operator, began) + early(troubled.to_agents, began) == []


def early(proxy: FaultProxy, since: float) -> list[str]:
    """Requests that came again before the time that the server had asked for."""
    found = []
    asked = proxy.seen(since=since)
    for kind in {(s.user_agent, s.verb, s.resource, s.name) for s in asked}:
        alike = [s for s in asked if (s.user_agent, s.verb, s.resource, s.name) == kind]
        found += [
            f"{after.at - before.at:.2f} s after {before}"
            for before, after in pairwise(alike)
            if before.did == "429" and after.at - before.at < RETRY_AFTER
        ]
    return found


async def test_a_migration_made_while_nothing_listens_is_ready_when_something_does(troubled: Troubled) -> None:
    await troubled.add_node()
    before = {p.program: p.count() for p in troubled.proxies}
    with troubled.to_operator.refusing(), troubled.to_agents.refusing():
        await troubled.ask()
        await troubled.lasts(SECONDS)
    assert {p.program: p.count() for p in troubled.proxies} == before

    await troubled.is_ready()


async def test_where_every_answer_is_lost_there_is_no_second_device_and_no_second_entry(troubled: Troubled) -> None:
    kernel = await troubled.add_node()
    began = time.monotonic()
    with troubled.both(Fault(what=LoseAnswer(), match=Match(verbs=WRITES))):
        await troubled.ask()
        await troubled.lasts(SECONDS)
        sent = troubled.requests(since=began)

    await troubled.is_ready()
    assert kernel.read("module/gfx/parameters/create_count").strip() == "1"
    assert all(sent[program] < most for program, most in MOST.items()), sent


async def test_a_slow_server_makes_a_migration_slow_and_no_more(troubled: Troubled) -> None:
    await troubled.add_node()
    with troubled.both(Fault(what=Slow(0.3))):
        await troubled.ask()
        await troubled.is_ready()


async def test_a_conflict_is_decided_again_from_what_is_there(troubled: Troubled) -> None:
    await troubled.add_node()
    with troubled.both(Fault(what=Status(409, "Conflict"), match=Match(verbs=WRITES), times=4)):
        await troubled.ask()
        await troubled.is_ready()


async def test_a_request_that_hangs_is_given_up_and_sent_again(troubled: Troubled) -> None:
    await asyncio.gather(troubled.add_node("a"), troubled.add_node("b"))
    answers = Match(resource="nodereservations/status", name=troubled.cluster.full("b"))
    with (
        troubled.to_operator.during(
            Fault(what=Hang(), match=Match(resource="devicemigrations*", verbs=WRITES), times=1)
        ),
        troubled.to_agents.during(Fault(what=Hang(), match=answers, times=1)),
    ):
        for node in ("a", "b"):
            await troubled.ask(f"to-{node}", nodeName=troubled.cluster.full(node))
        for node in ("a", "b"):
            await troubled.is_ready(f"to-{node}", node)
