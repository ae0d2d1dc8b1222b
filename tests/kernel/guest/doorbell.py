"""The host's end of the doorbell: requests to the guest's PID 1 and its answers (``inside/serve.c`` has the protocol).

It needs no network, no prompt and no polling, and any number of threads may ask at once.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from tests.kernel.guest.errors import GuestError

HELLO = 0
ANSWER_SECONDS = 30
"""How long a healthy guest may take to begin what it was asked for; a start takes 10 ms, 100 on a loaded host."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request. ``begun`` is its process id in the guest, ``ended`` its status or minus the signal that ended it."""

    id: int
    begun: Future[int] = field(default_factory=Future)
    ended: Future[int] = field(default_factory=Future)


class Doorbell:
    """``explain`` says, when the guest falls silent for ever, what became of it."""

    def __init__(self, end: socket.socket, explain: Callable[[], str]) -> None:
        self._end = end
        self._explain = explain
        self._lock = threading.Lock()
        self._calls: dict[int, Call] = {HELLO: Call(id=HELLO)}
        self._lost: str | None = None
        self._numbers = itertools.count(1)
        self.hello = self._calls[HELLO].ended
        threading.Thread(target=self._listen, name="doorbell", daemon=True).start()

    def reserve(self) -> Call:
        """A call that is not asked yet: its id may name files."""
        return Call(id=next(self._numbers))

    def ask(self, call: Call, verb: str, *arguments: str | bytes) -> None:
        """Send the request. Raises GuestError if the guest is gone."""
        data = b"".join(_encoded(argument) for argument in arguments)
        with self._lock:
            if self._lost is not None:
                raise GuestError(self._lost)
            self._calls[call.id] = call
            try:
                self._end.sendall(f"{call.id} {verb} {len(data)}\n".encode() + data)
            except OSError as error:
                raise GuestError(f"the guest cannot be reached ({error}); {self._explain()}") from error

    def kill(self, process: int, number: signal.Signals) -> None:
        """Send a signal to a process group. A group that has ended is no error."""
        self.do("kill", str(process), str(int(number)))

    def do(self, verb: str, *arguments: str | bytes) -> int:
        """Ask and wait for the end of what is done at once; returns its status."""
        call = self.reserve()
        self.ask(call, verb, *arguments)
        return self.wait(call.ended, ANSWER_SECONDS)

    def wait(self, answer: Future[int], seconds: float) -> int:
        """The answer, or GuestError if none comes in time although the guest should be able to give it."""
        try:
            return answer.result(timeout=seconds)
        except TimeoutError:
            raise GuestError(
                f"the guest did not answer for {seconds:g} s (hung, or frozen?); {self._explain()}"
            ) from None

    def close(self, why: str) -> None:
        """Answer everything that is open, and all that comes, with ``why``."""
        with self._lock:
            self._lost = self._lost or why
            for call in self._calls.values():
                for answer in (call.begun, call.ended):
                    if not answer.done():
                        answer.set_exception(GuestError(self._lost))
            self._calls.clear()

    def _listen(self) -> None:
        what = "the guest is gone"
        try:
            with self._end.makefile("r", encoding="ascii", newline="\n") as answers:
                for line in answers:
                    self._take(line)
        except (OSError, ValueError) as error:
            what = f"the guest's doorbell broke ({error})"
        if self._lost is None:
            self.close(f"{what}; {self._explain()}")

    def _take(self, line: str) -> None:
        number, word, value = line.split()
        with self._lock:
            call = self._calls.get(int(number))
            if call is None:
                return  # close() has answered it
            if word == "begun":
                call.begun.set_result(int(value))
            else:
                del self._calls[call.id]
                if not call.begun.done():
                    call.begun.set_result(0)  # it ended without a process of its own
                call.ended.set_result(os.waitstatus_to_exitcode(int(value)))


def _encoded(argument: str | bytes) -> bytes:
    """Text is an argument with its end; bytes are data, sent as they are and only last."""
    return argument if isinstance(argument, bytes) else os.fsencode(argument) + b"\0"
