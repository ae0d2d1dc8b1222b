"""kopf in a thread and an event loop of its own, for as long as this process leads.

kopf takes its loop for its own: while it runs it handles SIGTERM, and when it ends it cancels every task that began
after it, whoever's that is (``run_tasks`` says so). And it does end: by an error that comes within a watch, a CRD that
is replaced, a token that has expired. So it shares no loop with what must outlive it. What it has to tell comes over
as calls; when it has ended it begins anew, and sees everything again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import kopf
import structlog

from mdev_api.kube.backoff import Backoff
from mdev_api.kube.credentials import Credentials
from mdev_operator import handlers

log = structlog.get_logger(__name__)

SETTLED = 60.0
"""Seconds after which the next failure counts as a first one."""

END_SECONDS = 0.5
"""For kopf to end, so that a process does not end around it. It takes some milliseconds."""


async def follow(add: Callable[[str], None], credentials: Credentials) -> None:
    """Have the key of each DeviceMigration added when it changes, until cancelled. ``add`` is called in this loop."""
    backoff = Backoff(initial=0.5, maximum=30.0)
    while True:
        began = time.monotonic()
        life = _Life(add, credentials)
        try:
            reason = await asyncio.shield(life.ended)
        finally:
            life.end()
            await asyncio.wait([life.ended], timeout=END_SECONDS)
        if time.monotonic() - began > SETTLED:
            backoff.reset()
        delay = backoff.next()
        log.warning("kopf has ended and begins anew", reason=reason, retry_in=round(delay, 2))
        await asyncio.sleep(delay)


class _Life:
    """kopf from its beginning to its end. ``ended``: the reason; it belongs to the loop that made this."""

    def __init__(self, add: Callable[[str], None], credentials: Credentials) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._here = asyncio.get_running_loop()
        self._add = add
        self._credentials = credentials
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        threading.Thread(target=self._live, name="kopf", daemon=True).start()

    def end(self) -> None:
        """It is to end, and takes as long as it does: it writes nothing, and nobody hears it any more."""
        with suppress(RuntimeError):  # It has ended.
            self._loop.call_soon_threadsafe(self._over.set)

    def _live(self) -> None:
        reason = "told to end"
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._watch())
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (it is told)
            reason = repr(error)
        self._tell(self.ended.set_result, reason)

    async def _watch(self) -> None:
        registry = handlers.registry(lambda key: self._tell(self._heard, key), self._credentials)
        over = asyncio.create_task(self._over.wait())
        watching = asyncio.create_task(
            kopf.operator(registry=registry, settings=handlers.settings(), standalone=True, clusterwide=True)
        )
        await asyncio.wait([over, watching], return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        else:
            # Nobody hears what it can not do any more.
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            watching.cancel()
            await asyncio.wait([watching])

    def _tell(self, what: Callable[[str], None], text: str) -> None:
        with suppress(RuntimeError):  # That loop is closed: the process ends.
            self._here.call_soon_threadsafe(what, text)

    def _heard(self, key: str) -> None:
        if not self._over.is_set():
            self._add(key)
