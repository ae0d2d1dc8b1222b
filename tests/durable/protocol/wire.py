"""One program's way to the API server: it may be slow, lose requests or answers, and show an old state of the cluster.

Reads are answered at once. A write waits until the model lets it through or loses it; after the client's own deadline
the program is told that nothing is known of it, and the write is still on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from mdev_api.kube.client import ApiError, Unreachable
from mdev_api.kube.requests import Request
from tests.durable.protocol.store import Author, Change, Key, Object, Store, key_of, selected


class Fate(StrEnum):
    """What becomes of a write."""

    ARRIVES = "arrives"
    UNANSWERED = "done, and the answer is lost"
    LOST = "lost"


REQUEST_SECONDS = 60.0
"""The API server carries no request out that is older (its ``--request-timeout``)."""


@dataclass(kw_only=True, eq=False)
class Write:
    """A write that is on its way; ``answer`` is what its program waits for, if it still does."""

    request: Request
    sent: float
    author: Author
    answer: asyncio.Future[Object]


@dataclass(kw_only=True, eq=False)
class Wire:
    """``passes``: how many more writes go through at once; None: all. ``sees``: the version that watches have come to;
    None: the newest. ``fence``: the program's, if it is an operator's. ``server`` and ``origin`` are what a program
    logs of its credentials.
    """

    store: Store
    name: str
    passes: int | None = None
    sees: int | None = None
    fence: Callable[[], int] | None = None
    on_its_way: list[Write] = field(default_factory=list)
    server: str = "memory"
    origin: str = "model"
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _shown: dict[Key, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store.watchers.append(self._changed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The program has ended. What it had sent may still arrive."""
        if self._changed in self.store.watchers:
            self.store.watchers.remove(self._changed)

    async def send(self, request: Request, *, timeout: float = 10.0) -> Object:
        """As :meth:`mdev_api.kube.client.Client.send`."""
        key = key_of(request)
        if request.method == "GET":
            answer = self.store.answer(request)
            for obj in answer.get("items", [answer]):
                self._show(key.plural, obj)
            return answer
        loop = asyncio.get_running_loop()
        seen = self._shown.get(Key(plural=key.plural, namespace=key.namespace, name=key.name))
        author = Author(name=self.name, fence=self.fence() if self.fence is not None else None, seen=seen)
        write = Write(request=request, sent=loop.time(), author=author, answer=loop.create_future())
        self.on_its_way.append(write)
        if self.passes is None or self.passes > 0:
            self.passes = None if self.passes is None else self.passes - 1
            self.settle(write, Fate.ARRIVES)
        try:
            async with asyncio.timeout(timeout):
                answer = await write.answer
        except TimeoutError:
            raise Unreachable(str(request), "no answer in time", may_have_arrived=True) from None
        self._show(key.plural, answer)
        return answer

    def settle(self, write: Write, fate: Fate) -> None:
        """Let it arrive, or not."""
        self.on_its_way.remove(write)
        answer: Object | Exception = Unreachable(str(write.request), "the connection broke", may_have_arrived=True)
        if fate is not Fate.LOST and write.answer.get_loop().time() - write.sent < REQUEST_SECONDS:
            try:
                stored = self.store.answer(write.request, by=write.author)
                answer = stored if fate is Fate.ARRIVES else answer
            except ApiError as error:
                answer = error if fate is Fate.ARRIVES else answer
        if write.answer.done():
            return
        if isinstance(answer, Exception):
            write.answer.set_exception(answer)
        else:
            write.answer.set_result(answer)

    def let_through(self) -> None:
        """From now on everything arrives."""
        self.passes = None
        while self.on_its_way:
            self.settle(self.on_its_way[0], Fate.ARRIVES)

    def see(self, version: int | None) -> None:
        """Watches come to this version and no further; None: they are current."""
        self.sees = version
        self._news.set()

    async def stream(
        self, request: Request, *, inactivity: float = 90.0, total: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """As :meth:`mdev_api.kube.client.Client.stream`; it ends when ``total`` seconds are over."""
        key, query = key_of(request), dict(request.query)
        version, loop = int(query["resourceVersion"]), asyncio.get_running_loop()
        ends = loop.time() + (total or float("inf"))
        while loop.time() < ends:
            newest = self._newest()
            for change in self.store.changes[version:newest]:
                if _concerns(change, key, query.get("fieldSelector")):
                    self._show(key.plural, change.event["object"])
                    yield change.event
            version = max(version, newest)
            if self._newest() > version:
                continue
            self._news.clear()
            try:
                async with asyncio.timeout(ends - loop.time()):
                    await self._news.wait()
            except TimeoutError:
                return

    def _show(self, plural: str, obj: Object) -> None:
        meta = obj["metadata"]
        if "generation" in meta:
            key = Key(plural=plural, namespace=meta.get("namespace"), name=meta["name"])
            self._shown[key] = (meta["uid"], meta["generation"])

    def _newest(self) -> int:
        return self.store.version if self.sees is None else min(self.sees, self.store.version)

    def _changed(self, change: Change) -> None:
        self._news.set()


def _concerns(change: Change, key: Key, selector: str | None) -> bool:
    if change.plural != key.plural:
        return False
    obj = change.new if change.new is not None else change.old
    assert obj is not None
    return selected(obj, key.namespace, selector)
