from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import Client
from mdev_api.kube.listing import list_all
from mdev_api.kube.reflector import Reflector
from mdev_api.kube.resources import LEASES, NODES
from tests.unit.kube.conftest import Serve
from tests.waiting import eventually

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Change = tuple[str, int | None, int | None]


def node(name: str, version: int, **metadata: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version), **metadata}}


def page(*objects: dict[str, Any], version: int = 10, more: str = "") -> Answer:
    async def answer(_: web.Request) -> web.Response:
        metadata = {"resourceVersion": str(version), "continue": more}
        return web.json_response({"metadata": metadata, "items": list(objects)})

    return answer


def refuse(status: int, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        body = {"kind": "Status", "code": status, "message": "no"}
        return web.json_response(body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


async def html(_: web.Request) -> web.Response:
    return web.Response(text="<h1>please log in</h1>")


async def strange(_: web.Request) -> web.Response:
    return web.json_response({"error": "quota exceeded"})


async def cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def events(*sent: dict[str, Any], then: str = "stay") -> Answer:
    """A watch that sends and then stays open, ends in order, or is cut."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in sent:
            await response.write(json.dumps(event).encode() + b"\n")
        if then == "stay":
            await asyncio.Event().wait()
        if then == "cut" and request.transport is not None:
            request.transport.abort()
        return response

    return answer


def event(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": obj}


EXPIRED = event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


@dataclass
class Script:
    """Answers to LISTs and to WATCHes in the order of asking; the last one of each is given again for ever."""

    lists: list[Answer]
    watches: list[Answer] = field(default_factory=lambda: [events()])
    listed: list[dict[str, str]] = field(default_factory=list)
    watched: list[dict[str, str]] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        asked, answers = (self.watched, self.watches) if "watch" in query else (self.listed, self.lists)
        asked.append(query)
        return await answers[min(len(asked), len(answers)) - 1](request)


class Asked(Backoff):
    """Pauses of no length that remember what they were asked for."""

    def __init__(self) -> None:
        super().__init__(initial=1, maximum=8, uniform=lambda low, high: high)
        self.delays: list[float] = []
        self.at_least: list[float | None] = []

    def next(self, at_least: float | None = None) -> float:
        self.delays.append(super().next())
        self.at_least.append(at_least)
        return 0.0


@dataclass
class Seen:
    """A running reflector and what it told, as (key, new version, old version)."""

    reflector: Reflector
    backoff: Asked
    changes: list[Change] = field(default_factory=list)

    async def told(self, *changes: Change) -> None:
        async def look() -> bool:
            return len(self.changes) >= len(changes)

        await eventually(look, timeout=10, what=f"{changes}, not only {self.changes}", interval=0.01)
        assert self.changes == list(changes)

    async def until(self, look: Callable[[], object], what: str) -> None:
        async def ask() -> bool:
            return bool(look())

        await eventually(ask, timeout=10, what=what, interval=0.01)


def version_of(obj: dict[str, Any] | None) -> int | None:
    return None if obj is None else int(obj["metadata"]["resourceVersion"])


@asynccontextmanager
async def running(client: Client, **options: Any) -> AsyncIterator[Seen]:
    changes: list[Change] = []

    def note(key: str, new: dict[str, Any] | None, old: dict[str, Any] | None) -> None:
        changes.append((key, version_of(new), version_of(old)))

    backoff = Asked()
    reflector = Reflector(client, NODES, note, backoff=backoff, **options)
    task = asyncio.create_task(reflector.run())
    try:
        yield Seen(reflector, backoff, changes)
        assert not task.done(), "a reflector must run for ever"
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await task


async def test_every_object_of_every_page_is_told_before_it_counts_as_synced(serve: Serve) -> None:
    script = Script([page(node("a", 1), more="next"), page(node("b", 2))])
    async with running(await serve(script)) as seen:
        await asyncio.wait_for(seen.reflector.synced.wait(), 10)
        assert seen.changes == [("a", 1, None), ("b", 2, None)]
        assert [query.get("continue") for query in script.listed] == [None, "next"]


async def test_listed_objects_say_what_they_are_as_watched_ones_do(serve: Serve) -> None:
    async with running(await serve(Script([page(node("a", 1))]))) as seen:
        await seen.told(("a", 1, None))
        assert seen.reflector.objects["a"]["kind"] == "Node"


async def test_the_watch_begins_where_the_list_ended_and_its_events_are_told(serve: Serve) -> None:
    sent = (event("MODIFIED", node("a", 11)), event("ADDED", node("b", 12)), event("DELETED", node("a", 13)))
    script = Script([page(node("a", 1), version=10)], [events(*sent)])
    async with running(await serve(script)) as seen:
        await seen.told(("a", 1, None), ("a", 11, 1), ("b", 12, None), ("a", None, 11))
        assert script.watched[0]["resourceVersion"] == "10"
        assert set(seen.reflector.objects) == {"b"}


async def test_a_page_that_expired_starts_the_list_again(serve: Serve) -> None:
    script = Script([page(node("a", 1), more="next"), refuse(410), page(node("b", 2))])
    async with running(await serve(script)) as seen:
        await seen.told(("b", 2, None))


async def test_a_server_too_slow_for_pages_is_asked_for_everything_at_once(serve: Serve) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "continue" in request.query:
            return await refuse(410)(request)
        more = "next" if "limit" in request.query else ""
        return await page(node("a", 1), more=more)(request)

    client = await serve(answer)
    listing = await asyncio.wait_for(list_all(client, NODES), 10)
    assert [obj["metadata"]["name"] for obj in listing.objects] == ["a"]


async def test_an_object_deleted_while_the_watch_was_cut_is_told_as_deleted_after_the_relist(serve: Serve) -> None:
    lists = [page(node("a", 1), node("b", 2)), page(node("b", 2), version=20)]
    script = Script(lists, [events(EXPIRED), events()])
    async with running(await serve(script)) as seen:
        await seen.told(("a", 1, None), ("b", 2, None), ("a", None, 1))
        assert set(seen.reflector.objects) == {"b"}


async def test_what_a_relist_finds_unchanged_is_not_told_again(serve: Serve) -> None:
    lists = [page(node("a", 1)), page(node("a", 1), node("b", 2), version=20)]
    async with running(await serve(Script(lists, [refuse(410), events()]))) as seen:
        await seen.told(("a", 1, None), ("b", 2, None))


async def test_a_relist_is_told_after_its_differences_and_the_first_list_is_none(serve: Serve) -> None:
    lists = [page(node("a", 1)), page(node("a", 1), node("b", 2), version=20)]
    known_then: list[int] = []

    def relisted() -> None:
        known_then.append(len(seen.changes))

    async with running(await serve(Script(lists, [refuse(410), events()])), on_relist=relisted) as seen:
        await seen.until(lambda: known_then, "the relist to be told")
        await seen.told(("a", 1, None), ("b", 2, None))
    assert known_then == [2]


async def test_a_broken_watch_goes_on_from_the_last_bookmark_without_a_list(serve: Serve) -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "55"}})
    script = Script([page(node("a", 1))], [events(bookmark, then="end"), events(event("ADDED", node("b", 60)))])
    async with running(await serve(script)) as seen:
        await seen.told(("a", 1, None), ("b", 60, None))
        assert [query["resourceVersion"] for query in script.watched] == ["10", "55"]
        assert len(script.listed) == 1


async def test_a_watch_cut_within_an_event_goes_on_from_the_last_whole_one(serve: Serve) -> None:
    async def torn(request: web.Request) -> web.StreamResponse:
        whole, half = json.dumps(event("ADDED", node("a", 11))), json.dumps(event("ADDED", node("b", 12)))[:40]
        return web.Response(text=f"{whole}\n{half}")

    script = Script([page()], [torn, events()])
    async with running(await serve(script)) as seen:
        await seen.until(lambda: len(script.watched) == 2, "a second watch")
        assert (script.watched[1]["resourceVersion"], len(script.listed)) == ("11", 1)


@pytest.mark.parametrize("bad", [refuse(401), refuse(403), refuse(404), refuse(429), refuse(500), html, strange, cut])
async def test_no_answer_to_a_list_ends_it(serve: Serve, bad: Answer) -> None:
    async with running(await serve(Script([bad, bad, page(node("a", 1))]))) as seen:
        await seen.told(("a", 1, None))


@pytest.mark.parametrize("bad", [refuse(401), refuse(403), refuse(404), refuse(429), refuse(500), html, strange, cut])
async def test_no_answer_to_a_watch_ends_it(serve: Serve, bad: Answer) -> None:
    watches = [bad, bad, events(event("ADDED", node("b", 30)))]
    async with running(await serve(Script([page(node("a", 1))], watches))) as seen:
        await seen.told(("a", 1, None), ("b", 30, None))


async def test_a_version_from_the_future_leads_to_a_new_list(serve: Serve) -> None:
    script = Script([page(version=900), page(version=10)], [refuse(504), events()])
    async with running(await serve(script)) as seen:
        await seen.until(lambda: len(script.watched) == 2, "a second watch")
        assert script.watched[1]["resourceVersion"] == "10"


async def test_a_busy_server_is_not_burdened_with_a_new_list(serve: Serve) -> None:
    script = Script([page()], [refuse(429, Retry_After="7"), events()])
    async with running(await serve(script)) as seen:
        await seen.until(lambda: len(script.watched) == 2, "a second watch")
        assert (len(script.listed), seen.backoff.at_least) == (1, [7.0])


@pytest.mark.parametrize("watch", [events(then="end"), events(EXPIRED), refuse(410), refuse(403), cut])
async def test_no_answer_to_a_watch_makes_a_busy_loop(serve: Serve, watch: Answer) -> None:
    async with running(await serve(Script([page(node("a", 1))], [watch]))) as seen:
        await seen.until(lambda: len(seen.backoff.delays) >= 5, "five pauses")
        assert seen.backoff.delays[:5] == [1, 2, 4, 8, 8]


async def test_a_watch_that_fell_silent_is_replaced(serve: Serve) -> None:
    script = Script([page()], [events(), events(event("ADDED", node("a", 11)))])
    async with running(await serve(script), inactivity=0.2) as seen:
        await seen.told(("a", 11, None))


async def test_a_bookmark_counts_as_contact(serve: Serve) -> None:
    go = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await go.wait()
        return await events(event("BOOKMARK", {"metadata": {"resourceVersion": "55"}}))(request)

    async with running(await serve(Script([page()], [answer]))) as seen:
        await asyncio.wait_for(seen.reflector.synced.wait(), 10)
        listed = time.monotonic()
        go.set()
        await seen.until(lambda: (seen.reflector.last_contact or 0) > listed, "contact after the list")


async def test_an_object_that_came_back_under_its_name_is_told_with_both_lives(serve: Serve) -> None:
    uids: list[tuple[str, str]] = []

    def note(key: str, new: dict[str, Any] | None, old: dict[str, Any] | None) -> None:
        if new and old:
            uids.append((old["metadata"]["uid"], new["metadata"]["uid"]))

    lists = [page(node("a", 1, uid="first")), page(node("a", 9, uid="second"))]
    client = await serve(Script(lists, [refuse(410), events()]))
    task = asyncio.create_task(Reflector(client, NODES, note, backoff=Asked()).run())

    async def look() -> bool:
        return uids == [("first", "second")]

    await eventually(look, timeout=10, what="one change with both uids")
    task.cancel()
    await asyncio.wait([task])


async def test_a_bug_in_on_change_ends_it_with_that_bug(serve: Serve) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    client = await serve(Script([page(node("a", 1))]))
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(Reflector(client, NODES, broken).run(), 10)


async def test_only_what_the_transform_leaves_is_kept(serve: Serve) -> None:
    def slim(obj: dict[str, Any]) -> dict[str, Any]:
        metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
        return {"metadata": metadata}

    fat = node("b", 11, managedFields="much")
    script = Script([page(node("a", 1, managedFields="much"))], [events(event("ADDED", fat))])
    async with running(await serve(script), transform=slim) as seen:
        await seen.told(("a", 1, None), ("b", 11, None))
        assert dict(seen.reflector.objects) == {"a": node("a", 1), "b": node("b", 11)}


async def test_a_selector_holds_for_list_and_watch(serve: Serve) -> None:
    script = Script([page()])
    async with running(await serve(script), field_selector="metadata.name=n1") as seen:
        await seen.until(lambda: script.watched, "a watch")
        assert {query["fieldSelector"] for query in (*script.listed, *script.watched)} == {"metadata.name=n1"}


async def test_namespaced_objects_are_known_by_namespace_and_name(serve: Serve) -> None:
    lease = node("l", 1, namespace="ns")
    reflector = Reflector(await serve(Script([page(lease)])), LEASES, lambda *_: None)
    task = asyncio.create_task(reflector.run())
    await asyncio.wait_for(reflector.synced.wait(), 10)
    assert list(reflector.objects) == ["ns/l"]
    task.cancel()
    await asyncio.wait([task])


async def test_what_is_known_cannot_be_changed_from_outside(serve: Serve) -> None:
    reflector = Reflector(await serve(Script([page()])), NODES, lambda *_: None)
    with pytest.raises(TypeError):
        reflector.objects["a"] = {}  # type: ignore[index]
