"""One request on its way through the proxy: kept back, refused, forwarded, its answer passed on or lost."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import suppress

import aiohttp
import yarl
from aiohttp import web

from tests.faults.fault import EndWatch, ErrorEvent, Hang, LoseAnswer, Mute, Reset, Slow, Status
from tests.faults.injected import Injected
from tests.faults.request import Seen

_OF_ONE_CONNECTION = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"})
_OURS_TO_SAY = frozenset({"content-length"})


class Watch:
    """A watch that is open. ``end(how)`` belongs to the proxy's loop."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self._how: asyncio.Future[EndWatch | Reset | ErrorEvent] = asyncio.get_running_loop().create_future()

    def end(self, how: EndWatch | Reset | ErrorEvent) -> None:
        """Have it end so; what was asked for first counts."""
        if not self._how.done():
            self._how.set_result(how)

    async def ended(self) -> EndWatch | Reset | ErrorEvent:
        """Wait until somebody wants it to end."""
        return await self._how


async def suffer(request: web.BaseRequest, injected: Injected | None) -> web.StreamResponse | None:
    """What the fault does before the request is forwarded; an answer, if the request ends with that."""
    what = None if injected is None else injected.fault.what
    match what:
        case Status():
            return _refusal(what)
        case Reset():
            reset(request.transport)
            return web.Response()
        case Hang():
            assert injected is not None
            await injected.over.wait()
            reset(request.transport)
            return web.Response()
        case Slow(seconds=seconds):
            await asyncio.sleep(seconds)
        case ErrorEvent():
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            await response.write(_error_event(what))
            return response
    return None


async def forward(
    request: web.BaseRequest,
    seen: Seen,
    injected: Injected | None,
    *,
    session: aiohttp.ClientSession,
    server: str,
    watches: set[Watch],
) -> web.StreamResponse:
    """Ask the API server and pass its answer on; where it cannot be asked, the caller's connection is reset."""
    headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _OF_ONE_CONNECTION | _OURS_TO_SAY]
    body = await request.content.read()
    what = None if injected is None else injected.fault.what
    try:
        asking = session.request(
            request.method,
            yarl.URL(server + request.raw_path, encoded=True),
            headers=headers,
            data=body or None,
            allow_redirects=False,
        )
        async with asking as answer:
            seen.status = answer.status
            if seen.verb == "watch" and answer.status == 200:
                return await _pass_on_watch(request, seen, answer, what, watches)
            content = await answer.read()
    except aiohttp.ClientError:
        reset(request.transport)
        return web.Response()
    if isinstance(what, LoseAnswer):
        reset(request.transport)
    return web.Response(status=answer.status, headers=_passed_on(answer), body=content)


async def _pass_on_watch(
    request: web.BaseRequest, seen: Seen, answer: aiohttp.ClientResponse, what: object, watches: set[Watch]
) -> web.StreamResponse:
    watch = Watch(seen)
    watches.add(watch)
    response = web.StreamResponse(status=answer.status, headers=_passed_on(answer))
    response.enable_chunked_encoding()
    if isinstance(what, EndWatch):
        asyncio.get_running_loop().call_later(what.after, watch.end, what)
    passing = asyncio.create_task(_pump(request, response, answer, mute=isinstance(what, Mute)))
    ending = asyncio.create_task(watch.ended())
    try:
        await asyncio.wait([passing, ending], return_when=asyncio.FIRST_COMPLETED)
        how: EndWatch | Reset | ErrorEvent = passing.result() if passing.done() else ending.result()
    finally:
        watches.discard(watch)
        for task in (passing, ending):
            task.cancel()
        await asyncio.gather(passing, ending, return_exceptions=True)
    if isinstance(how, Reset):
        reset(request.transport)
    elif isinstance(how, ErrorEvent):
        with suppress(ConnectionError):
            await response.write(_error_event(how))
    return response


async def _pump(
    request: web.BaseRequest, response: web.StreamResponse, answer: aiohttp.ClientResponse, *, mute: bool
) -> EndWatch | Reset:
    """Pass on each piece as it comes, or none. How it ended: the API server closed it, or either connection broke."""
    try:
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            if not mute:
                await response.write(chunk)
        if mute:
            await asyncio.Event().wait()
    except (aiohttp.ClientError, ConnectionError):
        return Reset()
    return EndWatch()


def _passed_on(answer: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    return [(k, v) for k, v in answer.headers.items() if k.lower() not in _OF_ONE_CONNECTION | _OURS_TO_SAY]


def _refusal(what: Status) -> web.Response:
    headers = {} if what.retry_after is None else {"Retry-After": str(what.retry_after)}
    return web.json_response(_status(what.code, what.reason), status=what.code, headers=headers)


def _error_event(what: ErrorEvent) -> bytes:
    return json.dumps({"type": "ERROR", "object": _status(what.code, what.reason)}).encode() + b"\n"


def _status(code: int, reason: str) -> dict[str, object]:
    """A Status object as the API server writes them."""
    message = f"the fault proxy says {code} {reason}".strip()
    said = {"status": "Failure", "message": message, "reason": reason, "code": code}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **said}


def reset(transport: asyncio.Transport | None) -> None:
    """Close so that the other end gets ECONNRESET: an orderly end would look like a server that is done."""
    if transport is None or transport.is_closing():
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
