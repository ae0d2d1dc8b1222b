"""Tokens that have expired: a program goes on with the new one as soon as it stands in the file."""

from __future__ import annotations

import time

from tests.durable.faults.troubled import MOST, Troubled
from tests.faults.expiring import expiring
from tests.faults.fault import Fault, Reset, Status
from tests.faults.identities import agent_token, operator_token
from tests.faults.request import Match


async def test_a_token_that_is_replaced_after_it_expired_is_taken_from_its_file(troubled: Troubled) -> None:
    await troubled.add_node()
    of_agent = troubled.identities["a"]
    expired = Status(401, "Unauthorized")
    began = time.monotonic()
    with (
        troubled.to_operator.during(Fault(what=expired, match=Match(token=troubled.operator_identity.token))),
        troubled.to_agents.during(Fault(what=expired, match=Match(token=of_agent.token))),
    ):
        troubled.end_watches(Reset())
        await troubled.ask()
        await troubled.lasts(2.0)
        sent = troubled.requests(since=began)
        troubled.operator_identity.give(operator_token(troubled.plane))
        of_agent.give(agent_token(troubled.plane, troubled.cluster.full("a")))
        await troubled.is_ready()
    assert all(sent[program] < most for program, most in MOST.items()), sent


async def test_a_token_that_the_server_itself_finds_expired_stops_nobody_for_good(troubled: Troubled) -> None:
    await troubled.add_node()
    both = {troubled.to_operator: troubled.operator_identity, troubled.to_agents: troubled.identities["a"]}
    good = [(identity, identity.token) for identity in both.values()]
    for identity, token in good:
        identity.give(expiring(troubled.plane, token, seconds=2))
    began = time.monotonic()
    for proxy in both:
        await troubled.answered(proxy, 200, since=began)
    for proxy in both:
        await troubled.answered(proxy, 401, since=began)
    await troubled.ask()
    await troubled.lasts(2.0)
    for identity, token in good:
        identity.give(token)
    await troubled.is_ready()
