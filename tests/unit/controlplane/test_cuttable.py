"""A line that can be cut."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.controlplane.cuttable import Cuttable


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(1000):
                self.request.sendall(data)
        except ConnectionError:
            return


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture
def line() -> Iterator[Cuttable]:
    """A line to a server that echoes."""
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        with Cuttable(server.server_address[1]) as cuttable:
            yield cuttable
        server.shutdown()
        thread.join()


def connect(line: Cuttable) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=5)


def echoed(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(1000)


def test_bytes_pass_both_ways(line: Cuttable) -> None:
    with connect(line) as connection:
        assert echoed(connection, b"hello") == b"hello"


def test_a_half_closed_connection_still_answers(line: Cuttable) -> None:
    with connect(line) as connection:
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b"last words"
        assert connection.recv(1000) == b""


def test_a_cut_resets_open_connections(line: Cuttable) -> None:
    with connect(line) as connection:
        echoed(connection, b"hello")
        line.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1000)


def test_a_cut_refuses_new_connections(line: Cuttable) -> None:
    line.cut()
    with pytest.raises(ConnectionRefusedError):
        connect(line)


def test_a_mended_line_forwards_again_on_the_same_port(line: Cuttable) -> None:
    port = line.port
    line.cut()
    line.mend()
    assert line.port == port
    with connect(line) as connection:
        assert echoed(connection, b"again") == b"again"


def test_a_silent_cut_keeps_connections_open_and_passes_nothing(line: Cuttable) -> None:
    with connect(line) as old:
        echoed(old, b"hello")
        line.cut(silently=True)
        old.settimeout(0.2)
        with pytest.raises(TimeoutError):
            echoed(old, b"anybody?")


def test_after_a_silent_cut_old_and_new_connections_go_on(line: Cuttable) -> None:
    with connect(line) as old:
        echoed(old, b"hello")
        line.cut(silently=True)
        old.sendall(b"held up")
        with connect(line) as new:
            new.sendall(b"waited")
            line.mend()
            assert (old.recv(1000), new.recv(1000)) == (b"held up", b"waited")


def test_a_silent_cut_can_become_a_loud_one(line: Cuttable) -> None:
    with connect(line) as connection:
        echoed(connection, b"hello")
        line.cut(silently=True)
        line.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1000)
    line.mend()
    with connect(line) as connection:
        assert echoed(connection, b"again") == b"again"
