"""A queue of keys for level-based reconciling.

What is queued is only *that* something about a key may have changed; the handler looks at everything itself. Therefore
a key that waits already is not queued twice, a key never runs twice at once, and a key that is added while it runs
runs once more afterwards. A handler that raises is tried again after an exponential, jittered, bounded delay of that
key alone; one that returns resets it. A change of what the key is about cuts that delay short, because it may have put
an end to the failure; but not the time that the API server itself asked for (Retry-After).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import ApiError, Unreachable

log = structlog.get_logger(__name__)

_BELIEVED = 60.0
"""Seconds of a Retry-After that a key waits at most."""


class WorkQueue:
    """Keys in the order of their coming, handled by at most ``concurrency`` handlers at once.

    ``new_backoff`` makes the delays of a key that fails. All methods belong to the event loop's thread.
    """

    def __init__(
        self,
        *,
        concurrency: int = 8,
        new_backoff: Callable[[], Backoff] = lambda: Backoff(initial=0.1, maximum=60.0),
    ) -> None:
        self._concurrency = concurrency
        self._new_backoff = new_backoff
        self._waiting: deque[str] = deque()
        self._queued: set[str] = set()
        self._running: set[str] = set()
        self._first_again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._held: dict[str, float] = {}
        self._some = asyncio.Semaphore(0)

    def add(self, key: str, *, first: bool = False) -> None:
        """Have ``key`` handled soon, after what is queued already. A delay asked for it stays as it is.

        ``first``: before what is queued already.
        """
        left = self._time_to_wait(key)
        if left > 0:
            self.add_after(key, left)
            return
        if first and key in self._running:
            self._first_again.add(key)
        if key in self._queued:
            if first and key in self._waiting:
                self._waiting.remove(key)
                self._waiting.appendleft(key)
            return
        self._queued.add(key)
        if key not in self._running:
            self._offer(key, first=first)

    def add_after(self, key: str, seconds: float) -> None:
        """Have ``key`` handled in ``seconds``. A key has one delay: of several the earliest.

        So a handler that wants to be called again at some time asks for it each time it runs.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def idle(self) -> bool:
        """Whether nothing is queued or running now; delays may be pending."""
        return not self._queued and not self._running

    async def run(self, handler: Callable[[str], Awaitable[None]]) -> None:
        """Handle keys until cancelled; then running handlers are cancelled too and delays are dropped."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._concurrency):
                    workers.create_task(self._work(handler))
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self, handler: Callable[[str], Awaitable[None]]) -> None:
        while True:
            await self._some.acquire()
            key = self._waiting.popleft()
            self._queued.discard(key)
            self._running.add(key)
            try:
                await handler(key)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody cancelled this worker: something that the handler waited for was cancelled.
                self._retry(key, error)
            except Exception as error:  # noqa: BLE001  (told with its key, and tried again)
                self._retry(key, error)
            else:
                self._backoffs.pop(key, None)
            finally:
                self._running.discard(key)
                first = key in self._first_again
                self._first_again.discard(key)
                left = self._time_to_wait(key)
                if left > 0:
                    self._queued.discard(key)
                    self.add_after(key, left)
                elif key in self._queued:
                    self._offer(key, first=first)

    def _retry(self, key: str, error: BaseException) -> None:
        backoff = self._backoffs.setdefault(key, self._new_backoff())
        retry_after = error.retry_after if isinstance(error, ApiError) else None
        delay = backoff.next(at_least=retry_after)
        if retry_after is not None:
            self._held[key] = asyncio.get_running_loop().time() + min(retry_after, _BELIEVED)
        # The API server's refusals explain themselves; anything else is a bug, and its place is needed to find it.
        trace = None if isinstance(error, ApiError | Unreachable) else error
        log.warning(
            "handling failed, trying again",
            key=key,
            reason=f"{type(error).__name__}: {error}",
            failures=backoff.failures,
            retry_in=round(delay, 2),
            exc_info=trace,
        )
        self.add_after(key, delay)

    def _time_to_wait(self, key: str) -> float:
        """Seconds that the API server asked for and that are not over yet."""
        if key not in self._held:
            return 0.0
        left = self._held[key] - asyncio.get_running_loop().time()
        if left <= 0:
            del self._held[key]
        return max(left, 0.0)

    def _ring(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    def _offer(self, key: str, *, first: bool = False) -> None:
        if first:
            self._waiting.appendleft(key)
        else:
            self._waiting.append(key)
        self._some.release()
