"""Uevents to whoever listens, from any thread to any event loop, with the kernel's habit of losing them.

A netlink socket of the default size keeps 196 events (measured). What comes then is dropped; the reader hears of it
once, before the events that were kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from mdev_node_agent.sysfs.port import EventsLost, Uevent

KEPT = 196


@dataclass(kw_only=True, eq=False)
class Subscriber:
    """One socket."""

    loop: asyncio.AbstractEventLoop
    kept: deque[Uevent] = field(default_factory=deque)
    lost: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: Uevent) -> None:
        """An event from the kernel, in whichever thread it happened."""
        if len(self.kept) >= KEPT:
            self.lost = True
        else:
            self.kept.append(event)
        self.loop.call_soon_threadsafe(self.news.set)

    def lose(self) -> None:
        """Behave as if the kernel had just dropped events."""
        self.lost = True
        self.loop.call_soon_threadsafe(self.news.set)


@dataclass(kw_only=True, eq=False)
class Subscribers:
    """All sockets of one kernel."""

    listening: list[Subscriber] = field(default_factory=list)

    def send(self, event: Uevent) -> None:
        """To everybody whose event loop still runs."""
        self.listening = [subscriber for subscriber in self.listening if not subscriber.loop.is_closed()]
        for subscriber in self.listening:
            subscriber.take(event)

    def subscribe(self) -> AsyncIterator[Uevent | EventsLost]:
        """From now on; the socket is closed when the iteration ends."""
        subscriber = Subscriber(loop=asyncio.get_running_loop())
        self.listening.append(subscriber)
        return self._events(subscriber)

    async def _events(self, subscriber: Subscriber) -> AsyncIterator[Uevent | EventsLost]:
        try:
            while True:
                await subscriber.news.wait()
                subscriber.news.clear()
                if subscriber.lost:
                    subscriber.lost = False
                    yield EventsLost()
                while subscriber.kept:
                    yield subscriber.kept.popleft()
        finally:
            if subscriber in self.listening:
                self.listening.remove(subscriber)
