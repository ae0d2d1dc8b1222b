"""An HTTPS proxy in front of the real API server that misbehaves as it is told, and counts.

One proxy for each program (all agents may share one), each with a port and a name of its own::

    with FaultProxy(plane, "operator") as proxy:
        OperatorProcess(plane.kubeconfig_for("operator", ["system:masters"], server=proxy.server), log)
        with proxy.during(Fault(what=Status(503), match=Match(verbs=WRITES))):     # until the block ends
            ...
        proxy.inject(Fault(what=LoseAnswer(), match=Match(resource="nodereservations"), times=1))
        proxy.end_watches(ErrorEvent(410))                                         # those that are open now
        with proxy.refusing():                                                     # nothing listens
            ...
        assert proxy.count(Match(verbs=("list",))) < 20                            # nobody was busy
        assert not proxy.unfired()                                                 # every fault was met

* TLS ends here, so who asks is known by the bearer token alone; a caller without one (whose kubeconfig has a client
  certificate) is forwarded as the user of ``certificate_of``, by default the control plane's administrator.
* Watches are passed on piece by piece. Nothing is retried: what the API server does not answer is a reset connection.
* ``during`` fails at its end if no request met the fault: what never happened shows nothing.
* ``seen`` is the log, in the order of arrival: what each request asked for, what was done to it, what was answered.

It works in a thread with a loop of its own. All methods may be called from any thread and have taken effect when they
return.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from mdev_api.kube.credentials import load
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.faults.exchange import Watch, forward, reset, suffer
from tests.faults.fault import EndWatch, ErrorEvent, Fault, Reset
from tests.faults.injected import Injected, Register
from tests.faults.request import EVERYTHING, Match, Seen, seen

T = TypeVar("T")

_CALL_SECONDS = 20.0
_LIMITS = aiohttp.ClientTimeout(total=None, sock_connect=10)


class FaultProxy:
    """Listens from the beginning until ``close()`` or the end of ``with``. ``program`` is its name in the log."""

    def __init__(self, plane: ControlPlane, program: str, *, certificate_of: Path | None = None) -> None:
        self.program = program
        self.port = free_ports(1)[0]
        self._plane = plane
        self._certificate_of = certificate_of or plane.kubeconfig
        self._faults = Register()
        self._seen: list[Seen] = []
        self._watches: set[Watch] = set()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"fault proxy {program}", daemon=True)
        self._thread.start()
        self._do(self._begin())

    @property
    def server(self) -> str:
        """The URL, for ``kubeconfig_for(user, server=...)``. Its certificate is the control plane's own."""
        return f"https://127.0.0.1:{self.port}"

    def inject(self, fault: Fault) -> Injected:
        """Put a fault in force until its ``end()``, or until it met as many requests as it says."""
        injected = Injected(fault, self._loop)
        self._faults.add(injected)
        return injected

    @contextmanager
    def during(self, fault: Fault) -> Iterator[Injected]:
        """Put a fault in force for the block; AssertionError at its end if no request met it."""
        injected = self.inject(fault)
        try:
            yield injected
        finally:
            injected.end()
        assert injected.fired, f"{self.program}: no request met {fault}; what came was:\n{self.told()}"

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Nothing listens for the block, and every connection is reset at its beginning."""
        self._do(self._refuse())
        try:
            yield
        finally:
            self._do(self._listen())

    def end_watches(self, how: EndWatch | Reset | ErrorEvent, match: Match = EVERYTHING) -> int:
        """End the watches that are open now; how many there were."""
        return self._do(self._end_watches(how, match))

    def seen(self, match: Match = EVERYTHING, *, did: str | None = None, since: float = 0.0) -> tuple[Seen, ...]:
        """Requests in the order of their arrival. ``did``: those only; ``since``: time.monotonic()."""
        return tuple(s for s in tuple(self._seen) if s.at >= since and did in (None, s.did) and match.holds(s))

    def count(self, match: Match = EVERYTHING, *, did: str | None = None, since: float = 0.0) -> int:
        """How many there were."""
        return len(self.seen(match, did=did, since=since))

    def told(self, last: int = 40) -> str:
        """The end of the log, for the message of a test that fails."""
        return "\n".join(str(s) for s in tuple(self._seen)[-last:])

    def tally(self) -> Counter[str]:
        """How many requests met each fault so far, by the fault's name."""
        return self._faults.tally()

    def unfired(self) -> tuple[Fault, ...]:
        """Faults that were injected and that no request met."""
        return self._faults.unfired()

    def close(self) -> None:
        """Reset every connection and end; does nothing the second time."""
        if self._loop.is_closed():
            return
        for injected in self._faults:
            injected.end()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=_CALL_SECONDS)
        self._loop.close()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, action: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(timeout=_CALL_SECONDS)

    async def _begin(self) -> None:
        credentials = load(self._certificate_of)
        without = replace(credentials, client_certificate=None, client_key=None, token=None)
        for certified, which in ((True, credentials), (False, without)):
            connector = aiohttp.TCPConnector(ssl=which.ssl_context() or False, limit=0)
            self._sessions[certified] = aiohttp.ClientSession(
                connector=connector, timeout=_LIMITS, auto_decompress=False, headers=which.headers()
            )
        self._server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        pki = self._plane.ca_file.parent
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(pki / "server.crt", pki / "server.key")
        await self._listen()

    async def _listen(self) -> None:
        self._listener = await self._loop.create_server(self._server, "127.0.0.1", self.port, ssl=self._tls)

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self._server.connections):
            reset(connection.transport)

    async def _end(self) -> None:
        await self._refuse()
        await self._server.shutdown(timeout=1.0)
        for session in self._sessions.values():
            await session.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # Connections say good-bye in TLS after their session has closed.
        await asyncio.sleep(0.05)

    async def _end_watches(self, how: EndWatch | Reset | ErrorEvent, match: Match) -> int:
        meant = [watch for watch in self._watches if match.holds(watch.seen)]
        for watch in meant:
            watch.end(how)
        return len(meant)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        came = seen(
            request.method,
            request.rel_url.raw_path,
            request.query,
            request.headers,
            at=time.monotonic(),
            program=self.program,
        )
        injected = self._faults.taking(came)
        if injected is not None:
            came.did = injected.name
        self._seen.append(came)
        ended = await suffer(request, injected)
        if ended is not None:
            return ended
        session = self._sessions[came.token is None]
        server = self._plane.server
        return await forward(request, came, injected, session=session, server=server, watches=self._watches)
