"""The host's end of the doorbell against a scripted guest at the other end of the socket."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pytest

from tests.kernel.guest.doorbell import Doorbell
from tests.kernel.guest.errors import GuestError


@dataclass(frozen=True, kw_only=True, slots=True)
class FarEnd:
    """The guest's side: what was asked, and a way to answer."""

    end: socket.socket
    requests: BinaryIO

    def take(self) -> tuple[str, str, bytes]:
        number, verb, length = self.requests.readline().decode().split()
        return number, verb, self.requests.read(int(length))

    def answer(self, text: str) -> None:
        self.end.sendall(text.encode())


@pytest.fixture
def far() -> Iterator[tuple[Doorbell, FarEnd]]:
    near, other = socket.socketpair()
    with near, other, other.makefile("rb") as requests:
        doorbell = Doorbell(near, lambda: "its last words")
        yield doorbell, FarEnd(end=other, requests=requests)
        doorbell.close("the test is over")


def test_text_ends_with_a_nul_and_data_is_sent_as_it_is(far: tuple[Doorbell, FarEnd]) -> None:
    doorbell, guest = far
    doorbell.ask(doorbell.reserve(), "write", "/sys/ä", b"1\n\0")

    assert guest.take() == ("1", "write", "/sys/ä".encode() + b"\0" + b"1\n\0")


def test_answers_reach_the_call_that_they_are_for(far: tuple[Doorbell, FarEnd]) -> None:
    doorbell, guest = far
    first, second = doorbell.reserve(), doorbell.reserve()
    doorbell.ask(first, "run", "a")
    doorbell.ask(second, "run", "b")
    guest.answer("2 begun 70\n1 begun 69\n2 ended 256\n1 ended 9\n")

    assert [first.begun.result(5), first.ended.result(5)] == [69, -signal.SIGKILL]
    assert [second.begun.result(5), second.ended.result(5)] == [70, 1]


def test_a_guest_that_goes_fails_every_open_call_with_its_last_words(far: tuple[Doorbell, FarEnd]) -> None:
    doorbell, guest = far
    call = doorbell.reserve()
    doorbell.ask(call, "run", "a")
    guest.end.shutdown(socket.SHUT_RDWR)

    with pytest.raises(GuestError, match="the guest is gone; its last words"):
        doorbell.wait(call.ended, 5)


def test_nothing_can_be_asked_of_a_guest_that_is_gone(far: tuple[Doorbell, FarEnd]) -> None:
    doorbell, _ = far
    doorbell.close("it was powered off")

    with pytest.raises(GuestError, match="it was powered off"):
        doorbell.ask(doorbell.reserve(), "run", "a")


def test_a_guest_that_is_silent_is_told_from_one_that_is_gone(far: tuple[Doorbell, FarEnd]) -> None:
    doorbell, _ = far
    call = doorbell.reserve()
    doorbell.ask(call, "run", "a")

    with pytest.raises(GuestError, match=r"did not answer for 0\.05 s .*its last words"):
        doorbell.wait(call.begun, 0.05)


def test_an_answer_that_comes_after_the_end_harms_nothing(far: tuple[Doorbell, FarEnd]) -> None:
    doorbell, guest = far
    call = doorbell.reserve()
    doorbell.ask(call, "run", "a")
    doorbell.close("off")
    guest.answer("1 begun 5\n1 ended 0\n")
    guest.end.shutdown(socket.SHUT_RDWR)

    with pytest.raises(GuestError, match="off"):
        doorbell.wait(call.ended, 5)
