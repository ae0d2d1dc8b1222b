"""A real HTTP server on a loopback port that gives whatever answer a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import Credentials, TokenFile

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[..., Awaitable[Client]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(handler, token=None)``: an open client of a server that answers everything by ``handler``."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, token: str | TokenFile | None = None) -> Client:
            async def answer(request: web.Request) -> web.StreamResponse:
                return await handler(request)

            app = web.Application()
            app.router.add_route("*", "/{path:.*}", answer)
            server = TestServer(app)
            await server.start_server(shutdown_timeout=0.1)
            stack.push_async_callback(server.close)
            credentials = Credentials(server=str(server.make_url("")).rstrip("/"), origin="test", token=token)
            return await stack.enter_async_context(Client(credentials))

        yield start
