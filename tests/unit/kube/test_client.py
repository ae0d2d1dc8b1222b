from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from mdev_api.kube import client as client_module
from mdev_api.kube import requests
from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.credentials import Credentials, TokenFile
from mdev_api.kube.resources import NODES
from tests.unit.kube.conftest import Serve

GET = requests.get(NODES, "n1")
WATCH = requests.watch(NODES, resource_version="1", timeout_seconds=60)


def status(code: int, reason: str = "", message: str = "", **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def events_of(client: Client, **limits: float) -> list[dict[str, Any]]:
    return [event async for event in client.stream(WATCH, **limits)]


def watch_that_sends(*pieces: bytes, then_hang: bool = False) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0)
        if then_hang:
            await asyncio.Event().wait()
        return response

    return handler


async def test_the_answer_is_the_json_object(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"asked": request.path_qs})

    client = await serve(handler)
    assert await client.send(GET) == {"asked": "/api/v1/nodes/n1"}


async def test_a_body_travels_with_its_content_type(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"type": request.content_type, "body": await request.json()})

    client = await serve(handler)
    answer = await client.send(requests.merge_patch(NODES, "n1", {"ä": None}))
    assert answer == {"type": "application/merge-patch+json", "body": {"ä": None}}


async def test_an_encoded_name_is_not_encoded_again(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"raw": request.raw_path})

    client = await serve(handler)
    assert await client.send(requests.get(NODES, "a b:ü")) == {"raw": "/api/v1/nodes/a%20b%3A%C3%BC"}


@pytest.mark.parametrize(
    ("code", "reason", "true"),
    [
        (401, "Unauthorized", {"unauthorized"}),
        (403, "Forbidden", {"forbidden"}),
        (404, "NotFound", {"not_found"}),
        (409, "Conflict", {"conflict"}),
        (409, "AlreadyExists", {"already_exists"}),
        (410, "Expired", {"gone"}),
        (422, "Invalid", {"invalid"}),
        (429, "TooManyRequests", {"too_many"}),
        (500, "InternalError", set()),
    ],
)
async def test_a_refusal_says_what_kind_it_is(serve: Serve, code: int, reason: str, true: set[str]) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(status(code, reason, "because"), status=code)

    client = await serve(handler)
    with pytest.raises(ApiError, match=r"GET /api/v1/nodes/n1.*because") as caught:
        await client.send(GET)
    kinds = ["unauthorized", "forbidden", "not_found", "conflict", "already_exists", "gone", "invalid", "too_many"]
    assert {kind for kind in kinds if getattr(caught.value, kind)} == true


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)])
async def test_retry_after_is_told_in_seconds_or_not_at_all(serve: Serve, header: str, seconds: float | None) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(status(429), status=429, headers={"Retry-After": header})

    client = await serve(handler)
    with pytest.raises(ApiError) as caught:
        await client.send(GET)
    assert caught.value.retry_after == seconds


async def test_a_refusal_by_a_proxy_in_between_keeps_its_words(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<h1>bad gateway</h1>")

    client = await serve(handler)
    with pytest.raises(ApiError, match="502: <h1>bad gateway</h1>"):
        await client.send(GET)


async def test_a_page_of_html_is_no_answer_of_the_api_server(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="<h1>please log in</h1>")

    client = await serve(handler)
    with pytest.raises(Unreachable, match=r"no JSON object.*please log in"):
        await client.send(GET)


async def test_a_redirect_is_not_followed_with_the_token(serve: Serve) -> None:
    paths = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        raise web.HTTPFound("/elsewhere")

    client = await serve(handler, token="secret")
    with pytest.raises(ApiError) as caught:
        await client.send(GET)
    assert (caught.value.status, paths) == (302, ["/api/v1/nodes/n1"])


async def test_a_server_that_hangs_is_given_up_in_time_and_may_have_acted(serve: Serve) -> None:
    client = await serve(never)
    async with asyncio.timeout(5):
        with pytest.raises(Unreachable, match="no answer in time") as caught:
            await client.send(GET, timeout=0.1)
    assert caught.value.may_have_arrived


async def test_a_refused_connection_surely_brought_nothing(unused_tcp_port: int) -> None:
    async with Client(Credentials(server=f"http://127.0.0.1:{unused_tcp_port}", origin="test")) as client:
        with pytest.raises(Unreachable, match="Connect call failed") as caught:
            await client.send(GET)
    assert not caught.value.may_have_arrived


async def test_a_connection_that_breaks_before_the_answer_may_have_brought_the_request() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.transport.abort()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(Credentials(server=f"http://127.0.0.1:{port}", origin="test")) as client:
            with pytest.raises(Unreachable) as caught:
                await client.send(requests.merge_patch(NODES, "n1", {}))
    assert caught.value.may_have_arrived


async def test_a_token_file_that_the_kubelet_replaces_is_used_from_then_on(serve: Serve, tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"token": request.headers["Authorization"]})

    def write(token: str) -> None:
        (tmp_path / "new").write_text(token)
        (tmp_path / "new").rename(tmp_path / "token")

    write("first\n")
    client = await serve(handler, token=TokenFile(tmp_path / "token"))
    assert await client.send(GET) == {"token": "Bearer first"}
    write("other\n")
    assert await client.send(GET) == {"token": "Bearer other"}


async def test_a_token_file_that_went_away_means_unreachable_with_its_name(serve: Serve, tmp_path: Path) -> None:
    client = await serve(never, token=TokenFile(tmp_path / "token"))
    with pytest.raises(Unreachable, match=f"token file {tmp_path}/token cannot be read") as caught:
        await client.send(GET)
    assert not caught.value.may_have_arrived


async def test_events_are_told_one_by_one_however_the_bytes_are_cut(serve: Serve) -> None:
    client = await serve(
        watch_that_sends(
            b'{"type":"A"',
            b',"object":{"metadata":{}}}\n{"type"',
            b':"B","object":{"metadata":{}}}\n\n{"type":"C","object":{"metadata":{}}}\n',
        )
    )
    assert [event["type"] for event in await events_of(client)] == ["A", "B", "C"]


async def test_an_event_of_a_megabyte_is_one_event(serve: Serve) -> None:
    event = {"type": "ADDED", "object": {"metadata": {}, "long": "x" * 1_500_000}}
    client = await serve(watch_that_sends(json.dumps(event).encode() + b"\n"))
    assert await events_of(client) == [event]


async def test_an_event_without_end_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_LINE", 1000)
    client = await serve(watch_that_sends(b"x" * 2000, then_hang=True))
    with pytest.raises(Unreachable, match="more than 1000 bytes"):
        await events_of(client)


async def test_half_an_event_at_the_end_is_no_event(serve: Serve) -> None:
    client = await serve(
        watch_that_sends(b'{"type":"A","object":{"metadata":{}}}\n{"type":"B","object":{"metadata":{}}}')
    )
    seen = []
    with pytest.raises(Unreachable, match="within an event"):
        async for event in client.stream(WATCH):
            seen.append(event["type"])
    assert seen == ["A"]


async def test_an_error_event_is_raised_with_its_code(serve: Serve) -> None:
    error = {"type": "ERROR", "object": status(410, "Expired", "too old resource version", retryAfterSeconds=3)}
    client = await serve(watch_that_sends(json.dumps(error).encode() + b"\n", then_hang=True))
    with pytest.raises(ApiError, match="too old") as caught:
        await events_of(client)
    assert (caught.value.gone, caught.value.retry_after) == (True, 3.0)


async def test_a_refused_watch_is_an_api_error(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(status(403, "Forbidden"), status=403)

    client = await serve(handler)
    with pytest.raises(ApiError) as caught:
        await events_of(client)
    assert caught.value.forbidden


async def test_a_watch_that_falls_silent_is_given_up(serve: Serve) -> None:
    client = await serve(watch_that_sends(b'{"type":"A","object":{"metadata":{}}}\n', then_hang=True))
    async with asyncio.timeout(5):
        with pytest.raises(Unreachable):
            await events_of(client, inactivity=0.1)


async def test_a_watch_that_never_begins_is_given_up_long_before_one_that_is_silent(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    monkeypatch.setattr("mdev_api.kube.client.DEFAULT_TIMEOUT", 0.1)
    client = await serve(hang)
    async with asyncio.timeout(5):
        with pytest.raises(Unreachable, match="no answer in time"):
            await events_of(client, inactivity=90.0)


async def test_a_watch_that_outlives_its_own_end_is_given_up(serve: Serve) -> None:
    client = await serve(watch_that_sends(b'{"type":"A","object":{"metadata":{}}}\n', then_hang=True))
    async with asyncio.timeout(5):
        with pytest.raises(Unreachable):
            await events_of(client, total=0.1)


async def test_a_line_that_is_no_event_is_not_taken_for_one(serve: Serve) -> None:
    client = await serve(watch_that_sends(b'{"type":"ADDED","object":7}\n'))
    with pytest.raises(Unreachable, match="something else than a watch event"):
        await events_of(client)


async def test_what_the_server_warns_of_is_told_once(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"Warning": '299 - "unknown field spec.x"'})

    client = await serve(handler)
    with capture_logs() as logs:
        await client.send(GET)
        await client.send(GET)
    assert [entry["warning"] for entry in logs] == ['299 - "unknown field spec.x"']
