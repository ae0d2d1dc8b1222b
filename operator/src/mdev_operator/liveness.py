"""An answer to the kubelet's liveness probe, for as long as the process runs, whether it leads or stands by.

It says that the event loop turns. Whoever leads and cannot renew its Lease needs no probe: it stops by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web


@asynccontextmanager
async def answering(url: str | None) -> AsyncIterator[None]:
    """Answer GET at this URL (``http://0.0.0.0:8080/healthz``) with 200; None: nowhere.

    ValueError if nobody can listen there.
    """
    if url is None:
        yield
        return
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None or parts.port is None:
        raise ValueError(f"--liveness {url!r} is not like http://0.0.0.0:8080/healthz")
    app = web.Application()
    app.router.add_get(parts.path or "/", _alive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, parts.hostname, parts.port).start()
        except OSError as error:
            raise ValueError(f"--liveness {url!r}: {error}") from error
        yield
    finally:
        await runner.cleanup()


async def _alive(request: web.Request) -> web.Response:
    return web.Response(text="ok\n")
