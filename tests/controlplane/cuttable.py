"""A loopback TCP forwarder whose line can be cut: for tests of what a client does when its watch goes dead.

TLS passes through unread, so the API server's certificate and the client's own still count.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

from tests.controlplane.ports import free_ports

CHUNK = 1 << 16


class Cuttable:
    """Forwards 127.0.0.1:``port`` to the given port of 127.0.0.1; works in a thread of its own.

    ``cut()`` and ``mend()`` may be called from any thread and have taken effect when they return.
    """

    def __init__(self, target: int) -> None:
        """Start to forward to ``target``."""
        self.port = free_ports(1)[0]
        self._target = target
        self._listener: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"cuttable-{self.port}", daemon=True)
        self._thread.start()
        self._do(self._mend())

    @property
    def server(self) -> str:
        """The URL of an API server behind it, for ``kubeconfig_for(user, server=...)``."""
        return f"https://127.0.0.1:{self.port}"

    def cut(self, *, silently: bool = False) -> None:
        """Drop every connection (with a reset) and refuse new ones until ``mend()``.

        ``silently``: as if the cable were pulled. Open connections stay, new ones are accepted, no byte passes, and
        after ``mend()`` all go on where they stood.
        """
        self._do(self._silence() if silently else self._drop())

    def mend(self) -> None:
        """Forward again, on the same port."""
        self._do(self._mend())

    def close(self) -> None:
        """Drop every connection and end; does nothing the second time."""
        if self._loop.is_closed():
            return
        self._do(self._drop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Cuttable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result(timeout=10)

    async def _mend(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self._flowing.set()

    async def _silence(self) -> None:
        self._flowing.clear()

    async def _drop(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        links = dict(self._links)
        for task, writers in links.items():
            for writer in writers:
                _reset(writer)
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._link(reader, writer))
        self._links[task] = [writer]
        task.add_done_callback(self._links.pop)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        me = asyncio.current_task()
        if me in self._links:
            self._links[me].append(far_writer)
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            # Either end reset: the other must see the same.
            _reset(far_writer)
            _reset(writer)
        finally:
            far_writer.close()
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other end gets ECONNRESET: an orderly end would look like a server that is done."""
    connection = writer.get_extra_info("socket")
    if not writer.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
