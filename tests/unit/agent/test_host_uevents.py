"""The netlink socket: which messages count, how they are read, and what becomes of lost ones."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import aclosing

import pytest

from mdev_node_agent.sysfs import uevents
from mdev_node_agent.sysfs.port import EventsLost, Uevent

MESSAGE = b"add@/devices/virtual/mtty/mtty/83b8\0ACTION=add\0DEVPATH=/devices/virtual/mtty/mtty/83b8\0SUBSYSTEM=mdev\0"


class FakeLoop:
    """Answers one receive after the other as the kernel would: a message with its sender, or an error."""

    def __init__(self, *answers: tuple[bytes, tuple[int, int]] | OSError) -> None:
        self._answers = list(answers)

    async def sock_recvfrom(self, listener: socket.socket, size: int) -> tuple[bytes, tuple[int, int]]:
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


async def first_event(monkeypatch: pytest.MonkeyPatch, *answers: tuple[bytes, tuple[int, int]] | OSError) -> object:
    listener = socket.socket()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: FakeLoop(*answers))
    async with aclosing(uevents.received(listener)) as events:
        event = await anext(events)
    assert listener.fileno() == -1, "the socket is closed with the iteration"
    return event


def test_a_message_is_read_into_action_path_and_subsystem() -> None:
    event = uevents.parse(MESSAGE)
    assert event is not None
    assert (event.action, event.devpath, event.subsystem) == ("add", "/devices/virtual/mtty/mtty/83b8", "mdev")


def test_properties_keep_equals_signs_in_their_values() -> None:
    event = uevents.parse(b"change@/devices/x\0SUBSYSTEM=a\0MDEV_STATE=registered=now\0")
    assert event is not None
    assert event.properties["MDEV_STATE"] == "registered=now"


@pytest.mark.parametrize("datagram", [b"", b"libudev\0\xfe\xed\xca\xfe", b"add@devices/x\0", b"no header at all\0"])
def test_what_is_not_the_kernels_form_is_no_event(datagram: bytes) -> None:
    assert uevents.parse(datagram) is None


async def test_a_message_of_another_sender_than_the_kernel_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    forged = MESSAGE.replace(b"add", b"bad")
    event = await first_event(monkeypatch, (forged, (4711, 1)), (MESSAGE, (0, 1)))
    assert isinstance(event, Uevent)
    assert event.action == "add"


async def test_lost_events_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await first_event(monkeypatch, OSError(errno.ENOBUFS, "no buffer space")) == EventsLost()


async def test_any_other_error_of_the_socket_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="broken"):
        await first_event(monkeypatch, OSError(errno.EBADF, "broken"))


async def test_the_kernel_accepts_the_subscription() -> None:
    async with asyncio.timeout(5):
        with uevents.subscribe() as listener:
            assert listener.family == socket.AF_NETLINK
