"""Watches that end, break, or are told that their version is gone: what happened meanwhile is seen all the same."""

from __future__ import annotations

import time

import pytest

from mdev_api.kube.requests import delete
from mdev_api.kube.resources import NODES
from tests.durable.faults.troubled import Troubled
from tests.faults.fault import EndWatch, ErrorEvent, Fault, Reset, Status
from tests.faults.identities import agent_token
from tests.faults.request import Match

ENDS = {"in good order": EndWatch(), "broken": Reset(), "gone": ErrorEvent(410)}
AWAY = ("watch", "list")


@pytest.mark.parametrize("how", ENDS.values(), ids=ENDS)
async def test_a_watch_that_ended_is_begun_anew(troubled: Troubled, how: EndWatch | Reset | ErrorEvent) -> None:
    await troubled.add_node()
    troubled.end_watches(how)

    await troubled.ask()
    await troubled.is_ready()


async def test_an_operator_whose_watches_were_lost_learns_what_is_no_more(troubled: Troubled) -> None:
    """A Node is deleted while nothing is watched, and then the version to go on from is gone."""
    await troubled.add_node("a")
    node = troubled.cluster.full("a")
    proxy, of_nodes, began = troubled.to_operator, Match(resource="nodes", verbs=AWAY), time.monotonic()
    with proxy.during(Fault(what=Status(503), match=of_nodes)):
        assert proxy.end_watches(Reset(), of_nodes) == 1
        await troubled.met(proxy, 1, of_nodes, did="503", since=began)
        await troubled.cluster.client.send(delete(NODES, node))
    with proxy.during(Fault(what=ErrorEvent(410), match=Match(resource="nodes", verbs=("watch",)), times=1)):
        await troubled.met(proxy, 1, did="error event 410", since=began)
    await troubled.met(proxy, 1, Match(resource="nodes", verbs=("watch",)), did="forwarded", since=began)
    assert proxy.count(Match(resource="nodes", verbs=("list",)), did="forwarded", since=began) == 1

    await troubled.ask(nodeName=node)
    await troubled.cluster.shows("m", "Ready", "False", "NoDestination")
    await troubled.cluster.mark("a")
    # The agent's token was for the Node that is no more; the server believes it for some seconds longer.
    troubled.identities["a"].give(agent_token(troubled.plane, node))
    await troubled.is_ready()


async def test_an_agent_whose_watch_was_lost_undoes_what_was_let_go_meanwhile(troubled: Troubled) -> None:
    kernel = await troubled.add_node()
    await troubled.ask()
    await troubled.is_ready()
    proxy, away, began = troubled.to_agents, Match(resource="nodereservations", verbs=AWAY), time.monotonic()
    with proxy.during(Fault(what=Status(503), match=away)):
        assert proxy.end_watches(Reset()) == 1
        await troubled.met(proxy, 1, did="503", since=began)
        await troubled.cluster.forget("m")
        await troubled.let_go("a")
        assert len(kernel.devices()) == 1
    with proxy.during(Fault(what=ErrorEvent(410), match=Match(verbs=("watch",)), times=1)):
        await troubled.cluster.holds("the device to go", lambda: not kernel.devices())
