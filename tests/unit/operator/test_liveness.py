"""The answer to a liveness probe."""

from __future__ import annotations

import aiohttp
import pytest

from mdev_operator.liveness import answering
from tests.controlplane.ports import free_ports


async def test_it_is_there_for_as_long_as_the_process_runs() -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/healthz"
    async with aiohttp.ClientSession() as session:
        async with answering(url), session.get(url) as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)


async def test_without_an_address_nothing_listens() -> None:
    async with answering(None):
        pass


@pytest.mark.parametrize("url", ["0.0.0.0:8080", "https://0.0.0.0:8080/healthz", "http://0.0.0.0/healthz"])
async def test_an_address_at_which_nobody_can_listen_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not like http://"):
        async with answering(url):
            pass


async def test_an_address_that_is_taken_is_refused() -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/healthz"
    async with answering(url):
        with pytest.raises(ValueError, match="address already in use"):
            async with answering(url):
                pass
