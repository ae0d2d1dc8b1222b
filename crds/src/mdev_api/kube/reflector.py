"""A complete view of a resource in memory, kept current whatever the network does.

One LIST in pages, then a WATCH from its version. The view follows these rules:

* Every difference is told once, also those that happened while the watch was cut: a new LIST is compared with what is
  in memory, so an object deleted meanwhile is told as deleted. An object that came back under its name is told as one
  change whose ``old`` and ``new`` have different ``metadata.uid``.
* It never gives up. Whatever the API server or the network answers (401, 403 and 404 too: RBAC and CRDs come and go) is
  logged with its reason and tried again after an exponential, jittered, bounded pause that honours Retry-After.
  The pause shrinks back only after a watch has lived for a while, so no sequence of answers makes a busy loop.
* A connection that silently died is noticed: the API server sends a bookmark each minute, and ``inactivity`` seconds
  without a byte end the watch.
* A watch that breaks goes on from the last version seen; only when the server refuses that version is everything
  listed again.

What is in memory may be old while the server is away: absence from it is never proof that an object is gone, and
``last_contact`` says how old it may be.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any

import structlog

from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import DEFAULT_INACTIVITY, ApiError, Client, Unreachable
from mdev_api.kube.listing import list_all
from mdev_api.kube.requests import watch
from mdev_api.kube.resources import Resource, key_of

log = structlog.get_logger(__name__)

Object = dict[str, Any]
OnChange = Callable[[str, Object | None, Object | None], None]

WATCH_SECONDS = (290, 590)
"""A watch is asked to end within this many seconds, at random: watchers must not all come back at once."""

_SETTLED = 5.0


class Reflector:
    """Mirrors ``resource`` (or what the selectors and ``namespace`` leave of it) into ``objects``.

    ``on_change(key, new, old)`` is called in the event loop for each difference, after ``objects`` has it: ``old`` is
    None for a new object, ``new`` for a deleted one. It must be quick, must not block, and must not raise: an exception
    in it is a bug and ends ``run`` with that exception, because a view that has lost a change can no longer be trusted.
    ``transform`` may shrink each object before it is kept; it must keep ``metadata``'s name, namespace and
    resourceVersion, and an exception in it ends ``run`` as well. ``on_relist`` is called after each LIST but the first,
    when its differences were told: the server may have lost more than what is watched here.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        on_change: OnChange,
        field_selector: str | None = None,
        namespace: str | None = None,
        transform: Callable[[Object], Object] | None = None,
        *,
        label_selector: str | None = None,
        page_size: int = 500,
        inactivity: float = DEFAULT_INACTIVITY,
        backoff: Backoff | None = None,
        on_relist: Callable[[], None] | None = None,
    ) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        """Set once the first LIST is in ``objects`` and was told; never cleared."""
        self.last_contact: float | None = None
        """time.monotonic() of the server's last sign of life, None before the first."""
        self._client = client
        self._on_change = on_change
        self._field_selector = field_selector
        self._label_selector = label_selector
        self._namespace = namespace
        self._transform = transform
        self._page_size = page_size
        self._inactivity = inactivity
        self._on_relist = on_relist
        self._backoff = backoff or Backoff(initial=0.2, maximum=30.0)
        self._objects: dict[str, Object] = {}
        self._version: str | None = None
        self._log = log.bind(resource=str(resource))

    @property
    def objects(self) -> Mapping[str, Object]:
        """What is known now, by key. Read-only; the objects in it must not be changed either."""
        return MappingProxyType(self._objects)

    async def run(self) -> None:
        """Keep the view current until cancelled."""
        while True:
            began = time.monotonic()
            try:
                if self._version is None:
                    await self._list()
                began = time.monotonic()
                await self._watch()
                failure: ApiError | Unreachable | None = None
            except (ApiError, Unreachable) as error:
                failure = error
            if time.monotonic() - began >= _SETTLED and self._version is not None:
                self._backoff.reset()
                if failure is None:
                    continue
            await self._pause(failure)

    async def _list(self) -> None:
        listing = await list_all(
            self._client,
            self.resource,
            namespace=self._namespace,
            field_selector=self._field_selector,
            label_selector=self._label_selector,
            page_size=self._page_size,
            transform=self._transform,
            on_page=self._touch,
        )
        listed = {key_of(obj): obj for obj in listing.objects}
        for key in [key for key in self._objects if key not in listed]:
            self._take(key, None)
        for key, obj in listed.items():
            self._take(key, obj)
        self._version = listing.resource_version
        if self._on_relist is not None and self.synced.is_set():
            self._on_relist()
        self.synced.set()

    async def _watch(self) -> None:
        assert self._version is not None
        seconds = random.randint(*WATCH_SECONDS)
        request = watch(
            self.resource,
            resource_version=self._version,
            timeout_seconds=seconds,
            field_selector=self._field_selector,
            label_selector=self._label_selector,
            namespace=self._namespace,
        )
        events = self._client.stream(request, inactivity=self._inactivity, total=seconds + self._inactivity)
        async with aclosing(events):
            async for event in events:
                self._touch()
                self._follow(event)

    def _follow(self, event: Object) -> None:
        obj: Object = event["object"]
        version = obj["metadata"]["resourceVersion"]
        if event["type"] in ("ADDED", "MODIFIED"):
            self._take(key_of(obj), obj if self._transform is None else self._transform(obj))
        elif event["type"] == "DELETED":
            self._take(key_of(obj), None)
        # Only now: a change that was not taken must come again.
        self._version = version

    def _take(self, key: str, new: Object | None) -> None:
        old = self._objects.get(key)
        if new is None:
            if old is None:
                return
            del self._objects[key]
        else:
            if old is not None and _version(old) == _version(new):
                return
            self._objects[key] = new
        self._on_change(key, new, old)

    def _touch(self) -> None:
        self.last_contact = time.monotonic()

    async def _pause(self, failure: ApiError | Unreachable | None) -> None:
        listing = self._version is None
        retry_after = None
        if isinstance(failure, ApiError):
            retry_after = failure.retry_after
            # A busy server still knows the version; anything else may mean that it does not, or never did.
            if not listing and not failure.too_many and failure.status != 503:
                self._version = None
        delay = self._backoff.next(at_least=retry_after)
        if isinstance(failure, ApiError) and failure.gone:
            self._log.info("the watched version is gone, listing anew", retry_in=round(delay, 2))
        elif failure is not None:
            doing = "list" if listing else "watch"
            self._log.warning(f"cannot {doing}, trying again", reason=str(failure), retry_in=round(delay, 2))
        await asyncio.sleep(delay)


def _version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])
