"""What runs in a guest: the result of a command, and a process that stays in the background."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.guest.doorbell import Call, Doorbell
from tests.kernel.guest.errors import CommandError, CommandTimeoutError
from tests.waiting import wait_until


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A command that has ended. ``rc`` is its exit status, or minus the signal that ended it."""

    rc: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process in the guest, with every process that it started unless that made a session of its own.

    Its standard output and error go to ``log_file`` on the share, which stays when the guest is gone.
    """

    name: str
    pid: int
    log_file: Path
    call: Call
    doorbell: Doorbell

    def alive(self) -> bool:
        """False once it has ended, and when the guest is gone."""
        return not self.call.ended.done()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to it and its children; does not wait. Nothing happens if it has ended."""
        if self.alive():
            self.doorbell.kill(self.pid, number)

    def wait(self, timeout: float = 60) -> int:
        """Its exit status, or minus the signal that ended it.

        Raises CommandTimeoutError while it runs on after ``timeout`` seconds, and GuestError if the guest is gone.
        """
        try:
            return self.call.ended.result(timeout=timeout)
        except TimeoutError:
            raise CommandTimeoutError(f"{self.name} still runs after {timeout:g} s; its log: {self.log()}") from None

    def log(self) -> str:
        """What it has written so far."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def wait_for(self, text: str, timeout: float = 60) -> None:
        """Wait until its log has ``text``. Raises CommandError if it ends before, TimeoutError if it takes too long."""

        def seen() -> bool:
            ended = not self.alive()  # before the log is read: what came last is in it then
            if text in self.log():
                return True
            if ended:
                raise CommandError(
                    f"{self.name} ended (status {self.wait(0)}) without saying {text!r}; its log: {self.log()}"
                )
            return False

        wait_until(seen, timeout=timeout, what=f"{self.name} in the guest to say {text!r}")
