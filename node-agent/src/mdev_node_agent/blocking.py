"""Blocking calls, each in a thread of its own.

A call into sysfs may block for ever (``remove`` of a device that somebody has open, not even SIGKILL ends it). So there
is no pool that such calls could fill up, and the threads are daemons: the interpreter does not wait for them at exit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def start(call: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """Begin the call; the future has its result or its exception. Cancelling the future does not end the call."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def tell(result: T | None, error: BaseException | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 (it is raised again where the future is awaited)
            tell(None, error)
        else:
            tell(result, None)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


async def in_thread(call: Callable[[], T], *, name: str) -> T:
    """Await the call."""
    return await start(call, name=name)
