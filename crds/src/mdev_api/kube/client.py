"""Sends requests to the API server, once each, and says exactly what came of it.

``send`` returns the answer's JSON object or raises one of two exceptions: :class:`ApiError`, the API server's own
refusal, and :class:`Unreachable`, when no answer of the API server was had. Nothing is retried here: only the caller
knows whether a second try is harmless, so ``ApiError.retry_after`` and ``Unreachable.may_have_arrived`` tell it what it
needs for that. Every request has a deadline. Redirects are not followed: the token would go with them.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, NoReturn

import aiohttp
import structlog
import yarl

from mdev_api.kube.credentials import Credentials, CredentialsError
from mdev_api.kube.requests import Request

log = structlog.get_logger(__name__)

DEFAULT_TIMEOUT = 10.0
"""Seconds for one request, from waiting for a connection to the last byte of the answer."""

DEFAULT_INACTIVITY = 90.0
"""Seconds without a byte after which a watch counts as dead; the API server sends a bookmark each minute."""

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one watch event. etcd's objects end at 1.5 MiB; JSON of one may be a few times that."""

_MOST_WARNINGS = 100


class ApiError(Exception):
    """The API server refused: ``status`` (HTTP), ``reason`` (machine-readable, may be empty), ``message``.

    ``retry_after`` is the seconds that the server asks to wait, if it does. ``request`` says what was refused.
    """

    def __init__(
        self, status: int, reason: str, message: str, retry_after: float | None = None, request: str = ""
    ) -> None:
        said = f"{status} {reason}".strip()
        super().__init__(": ".join(part for part in (request, said, message) if part))
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.request = request

    @property
    def not_found(self) -> bool:
        """No such object, or no such resource (its CRD is missing)."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Somebody else wrote first: read again and decide anew."""
        return self.status == 409 and self.reason != "AlreadyExists"

    @property
    def already_exists(self) -> bool:
        """The object to create is there."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def invalid(self) -> bool:
        """Refused by schema or rules, or a ``test`` of a JSON patch did not hold."""
        return self.status == 422

    @property
    def gone(self) -> bool:
        """The version or page asked for is no longer kept: list anew."""
        return self.status == 410

    @property
    def unauthorized(self) -> bool:
        """The API server does not know who asks."""
        return self.status == 401

    @property
    def forbidden(self) -> bool:
        """RBAC or an admission policy says no."""
        return self.status == 403

    @property
    def too_many(self) -> bool:
        """The server is busy; ``retry_after`` says for how long."""
        return self.status == 429


class Unreachable(Exception):  # noqa: N818  (a state of the world, not of a program)
    """No answer of the API server. ``cause`` is why; ``may_have_arrived`` is False when it surely saw no request."""

    def __init__(self, request: str, cause: BaseException | str, *, may_have_arrived: bool) -> None:
        why = cause if isinstance(cause, str) else _describe(cause)
        super().__init__(f"{request}: {why}")
        self.request = request
        self.cause = cause
        self.may_have_arrived = may_have_arrived


class Client:
    """One pool of connections to one API server; use as ``async with Client(credentials) as client``.

    ``user_agent`` names the program in the server's logs, and up to its first slash it is the field manager of writes
    that name none.
    """

    def __init__(self, credentials: Credentials, *, user_agent: str = "mdev-operator") -> None:
        self._credentials = credentials
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._warned: set[str] = set()

    async def __aenter__(self) -> Client:
        context = self._credentials.ssl_context()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=True if context is None else context),
            headers={"User-Agent": self._user_agent, "Accept": "application/json"},
            raise_for_status=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, request: Request, *, timeout: float = DEFAULT_TIMEOUT) -> dict[str, Any]:  # noqa: ASYNC109
        """Send once and return the JSON object of the answer; raises ApiError or Unreachable."""
        async with self._answer(request, aiohttp.ClientTimeout(total=timeout)) as response:
            body = await response.read()
            self._pass_on(request, response.headers.getall("Warning", []))
            if not 200 <= response.status < 300:
                raise _api_error(request, response.status, response.headers, body)
            answer = _json(body)
            if answer is None:
                _raise_no_json(request, body)
            return answer

    async def stream(
        self, request: Request, *, inactivity: float = DEFAULT_INACTIVITY, total: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a watch, one dict ``{"type": ..., "object": ...}`` each, until the server ends it.

        Raises ApiError for a refusal and for an ERROR event (with its code), Unreachable when the connection breaks,
        the watch has not begun within ``DEFAULT_TIMEOUT``, nothing at all comes for ``inactivity`` seconds, ``total``
        seconds are over, or an event is cut off.
        """
        limits = aiohttp.ClientTimeout(total=total, sock_connect=DEFAULT_TIMEOUT, sock_read=inactivity)
        # The API server begins its answer at once, also when there is no event to send yet.
        async with self._answer(request, limits, begins=min(inactivity, DEFAULT_TIMEOUT)) as response:
            if response.status != 200:
                raise _api_error(request, response.status, response.headers, await response.read())
            async for line in _lines(request, response.content):
                event = _json(line)
                if event is None:
                    _raise_no_json(request, line)
                if event.get("type") == "ERROR":
                    raise _api_error(request, 0, {}, json.dumps(event.get("object")).encode())
                if not _has_metadata(event.get("object")):
                    why = f"something else than a watch event came: {line[:80].decode('utf-8', 'replace')!r}"
                    raise Unreachable(str(request), why, may_have_arrived=True)
                yield event

    def _pass_on(self, request: Request, warnings: Iterable[str]) -> None:
        """Log what the API server warns of, such as a field that it does not know and drops; each text once."""
        for warning in warnings:
            if warning not in self._warned and len(self._warned) < _MOST_WARNINGS:
                self._warned.add(warning)
                log.warning("the API server warns", request=str(request), warning=warning)

    @asynccontextmanager
    async def _answer(
        self, request: Request, limits: aiohttp.ClientTimeout, *, begins: float | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        if self._session is None:
            raise RuntimeError("the client is not open: use it as `async with Client(...) as client`")
        credentials = self._credentials
        try:
            headers = dict(credentials.headers())
            if request.content_type is not None:
                headers["Content-Type"] = request.content_type
            asking = self._session.request(
                request.method,
                yarl.URL(credentials.server + request.target, encoded=True),
                data=request.body,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
                server_hostname=credentials.tls_server_name,
            )
            async with asyncio.timeout(begins):
                answer = await asking
            async with answer as response:
                try:
                    yield response
                except BaseException:
                    _abandon(response)
                    raise
        except (CredentialsError, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(str(request), error, may_have_arrived=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(str(request), error, may_have_arrived=True) from error


def _abandon(response: aiohttp.ClientResponse) -> None:
    """Drop the connection of an answer that is not read to its end: a polite TLS goodbye may outlive the event loop."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


async def _lines(request: Request, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to MAX_LINE (aiohttp's own reader of lines stops at 64 KiB)."""
    parts: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            line = b"".join((*parts, piece))
            parts, size = [], 0
            if line.strip():
                yield line
        if rest:
            parts.append(rest)
            size += len(rest)
        if size > MAX_LINE:
            raise Unreachable(str(request), f"an event of more than {MAX_LINE} bytes", may_have_arrived=True)
    if parts:
        raise Unreachable(str(request), "the connection ended within an event", may_have_arrived=True)


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _has_metadata(obj: object) -> bool:
    return isinstance(obj, dict) and isinstance(obj.get("metadata"), dict)


def _raise_no_json(request: Request, body: bytes) -> NoReturn:
    seen = body[:80].decode("utf-8", "replace")
    why = f"the answer is no JSON object, so something else than the API server answered: {seen!r}"
    raise Unreachable(str(request), why, may_have_arrived=True)


def _api_error(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """From a Status object, or from whatever a proxy in between said."""
    said = _json(body)
    if said is None or said.get("kind") != "Status":
        said = {"message": body[:200].decode("utf-8", "replace").strip()}
    details = said.get("details") or {}
    return ApiError(
        status=status or int(said.get("code") or 500),
        reason=str(said.get("reason") or ""),
        message=str(said.get("message") or ""),
        retry_after=_seconds(headers.get("Retry-After") or details.get("retryAfterSeconds")),
        request=str(request),
    )


def _seconds(text: object) -> float | None:
    """Seconds of a Retry-After; its other form, a date, is of no use without a common clock."""
    try:
        seconds = float(str(text))
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None


def _describe(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError) and not str(error):
        return "no answer in time"
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return f"TLS: {error}"
    return str(error) or type(error).__name__
