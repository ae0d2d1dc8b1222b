"""The real API server loses its etcd, or is killed, and comes back."""

from __future__ import annotations

import asyncio
import time

from tests.durable.faults.troubled import MOST, Troubled


async def test_what_was_asked_for_before_etcd_was_killed_is_ready_when_it_is_back(troubled: Troubled) -> None:
    await troubled.add_node()
    began = time.monotonic()
    await troubled.ask()
    with troubled.plane.etcd_down():
        await troubled.lasts(3.0)
        sent = troubled.requests(since=began)

    await troubled.is_ready()
    assert all(sent[program] < most for program, most in MOST.items()), sent


async def test_what_was_asked_for_before_the_server_was_killed_is_ready_when_it_is_back(troubled: Troubled) -> None:
    await troubled.add_node()
    began = time.monotonic()
    await troubled.ask()
    await asyncio.to_thread(troubled.plane.restart_apiserver)
    sent = troubled.requests(since=began)

    await troubled.is_ready()
    assert all(sent[program] < 3 * most for program, most in MOST.items()), sent
