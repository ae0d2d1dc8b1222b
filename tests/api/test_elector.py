from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mdev_api.kube import requests
from mdev_api.kube.client import Client
from mdev_api.kube.resources import LEASES
from mdev_operator.leading.elector import Elector
from tests.controlplane.control_plane import ControlPlane

SPACE = "test-elector"
TIMES: dict[str, float] = {"lease_duration": 4.0, "renew_deadline": 3.0, "retry_period": 0.5}

LEADER = f"""
import asyncio, sys
from pathlib import Path
from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_operator.leading.elector import Elector

async def main():
    async with Client(load(Path(sys.argv[1]))) as client:
        async with Elector(client, "{SPACE}", sys.argv[2], "first", **{TIMES}) as elector:
            term = await elector.acquire()
            print("leading", term.fence, flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            print("still leading" if elector.still_leading() else "not leading", flush=True)
            await elector.lost.wait()
            print("lost", flush=True)

asyncio.run(main())
"""


@pytest.fixture(scope="module", autouse=True)
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    control_plane.kubectl("create", "namespace", SPACE)
    yield control_plane
    control_plane.kubectl("delete", "namespace", SPACE, "--wait=false")


def elector(client: Client, name: str, identity: str) -> Elector:
    return Elector(client, SPACE, name, identity, **TIMES)


async def lease(client: Client, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = (await client.send(requests.get(LEASES, name, SPACE)))["spec"]
    return spec


async def test_of_two_exactly_one_leads(client: Client) -> None:
    async with elector(client, "two", "a") as a, elector(client, "two", "b") as b:
        tasks = {asyncio.create_task(a.acquire()), asyncio.create_task(b.acquire())}
        done, waiting = await asyncio.wait(tasks, timeout=TIMES["lease_duration"] * 1.5, return_when="ALL_COMPLETED")
        assert [task.result().fence for task in done] == [1]
        assert [a.still_leading(), b.still_leading()].count(True) == 1
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_a_release_lets_the_next_one_lead_at_once_with_a_higher_fence(client: Client) -> None:
    loop = asyncio.get_running_loop()
    async with elector(client, "release", "b") as b:
        async with elector(client, "release", "a") as a:
            before = await a.acquire()
            waiting = asyncio.create_task(b.acquire())
            await asyncio.wait([waiting], timeout=TIMES["retry_period"])
        released = loop.time()
        after = await asyncio.wait_for(waiting, 10)
        assert loop.time() - released < TIMES["lease_duration"] - TIMES["retry_period"]
        assert after.fence == before.fence + 1


async def test_the_api_server_keeps_what_the_fence_needs(client: Client) -> None:
    async with elector(client, "fence", "a") as a:
        await a.acquire()
        term = await a.raise_fence(1000)
        spec = await lease(client, "fence")
        assert (term.fence, spec["leaseTransitions"], spec["holderIdentity"]) == (1001, 1001, "a")
        assert spec["renewTime"].endswith("Z")


@asynccontextmanager
async def leading_process(plane: ControlPlane, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", LEADER, str(plane.kubeconfig), name),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert await said(process) == "leading 1"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    while True:
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().rstrip()
        if line in ("leading 1", "still leading", "not leading", "lost", ""):
            return line


async def test_a_stopped_leader_is_followed_and_knows_it_when_it_goes_on(plane: ControlPlane, client: Client) -> None:
    async with leading_process(plane, "stopped") as first, elector(client, "stopped", "second") as second:
        first.send_signal(signal.SIGSTOP)
        assert (await asyncio.wait_for(second.acquire(), 30)).fence == 2
        assert first.stdin is not None
        first.stdin.write(b"act now\n")
        first.send_signal(signal.SIGCONT)
        assert [await said(first), await said(first)] == ["not leading", "lost"]
        assert await asyncio.wait_for(first.wait(), 20) == 0
        assert (await lease(client, "stopped"))["holderIdentity"] == "second"


async def test_a_killed_leader_is_followed_only_after_its_lease_ran_out(plane: ControlPlane, client: Client) -> None:
    loop = asyncio.get_running_loop()
    async with leading_process(plane, "killed") as first, elector(client, "killed", "second") as second:
        first.kill()
        killed = loop.time()
        assert (await asyncio.wait_for(second.acquire(), 30)).fence == 2
        assert loop.time() - killed > TIMES["lease_duration"] / 2
