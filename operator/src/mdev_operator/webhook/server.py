"""The HTTPS server that the API server asks: one path for each kind of question, ``/readyz`` for the kubelet.

It is stateless and answers in every replica; who leads does not matter. Connections are kept open longer than the API
server keeps them (90 s), so that it is never this side that closes one into which a request is just being written; when
the server is about to stop it says so in its last answers (``Connection: close``), and goes on answering meanwhile.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web

from mdev_operator.webhook.review import BadReviewError, Review, Verdict, answer, read_review

log = structlog.get_logger(__name__)

Judge = Callable[[Review], Awaitable[Verdict]]

KEEP_OPEN = 600.0
"""Seconds that an idle connection is kept."""

MOST_BODY = 8 * 1024 * 1024
"""Bytes of a question: an object has 1.5 MiB at most, and its JSON may be a few times that."""


class Server:
    """``judges``: by path. Use as ``async with Server(...) as server``; ``server.port`` is then the one it got."""

    def __init__(self, judges: Mapping[str, Judge], context: ssl.SSLContext, *, host: str, port: int) -> None:
        self.port = port
        self.draining = False
        self._host = host
        self._context = context
        application = web.Application(client_max_size=MOST_BODY, middlewares=[self._say_goodbye])
        application.router.add_get("/readyz", self._ready)
        for path, judge in judges.items():
            application.router.add_post(path, _handler(judge))
        self._runner = web.AppRunner(application, access_log=None, keepalive_timeout=KEEP_OPEN, shutdown_timeout=10.0)

    async def __aenter__(self) -> Server:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port, ssl_context=self._context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _ready(self, _request: web.Request) -> web.Response:
        return web.Response(status=503 if self.draining else 200, text="stopping" if self.draining else "ok")

    @web.middleware
    async def _say_goodbye(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        response = await handler(request)
        if self.draining:
            response.force_close()
        return response


def _handler(judge: Judge) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            review = read_review(await request.read())
        except BadReviewError as error:
            return web.Response(status=400, text=str(error))
        verdict = await judge(review)
        if verdict.refusal is not None:
            log.info("refused", path=request.path, namespace=review.namespace, reason=verdict.refusal)
        return web.json_response(answer(review.uid, verdict))

    return handle
