"""The real operator as a process of its own, with its log for when a test fails."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.controlplane.processes import popen
from tests.waiting import wait_until

START_SECONDS = 60.0
"""For Python, kopf and the first lists, on a machine where much else runs."""


class OperatorProcess:
    """``mdev-operator run`` with its Lease in ``namespace``: begins when made, ends with ``with`` and with us."""

    def __init__(self, kubeconfig: Path, log: Path, *options: str, namespace: str = "mdev-operator") -> None:
        self._log = log
        command = [sys.executable, "-m", "mdev_operator", "run", f"--kubeconfig={kubeconfig}"]
        with log.open("ab") as output:
            self._process = popen([*command, f"--namespace={namespace}", *options], output)

    def log(self) -> str:
        """All that it said."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_said(self, words: str, *, times: int = 1, seconds: float = START_SECONDS) -> None:
        """Wait until it said this so often."""
        try:
            wait_until(lambda: self.log().count(words) >= times, timeout=seconds, what=f"the operator to say {words!r}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; it said:\n{self.log()[-4000:]}") from None

    def wait_leading(self) -> None:
        """Wait until it leads and has raised the fence: from then on it acts."""
        self.wait_said("fence raised")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait_ended(self, *, seconds: float) -> int:
        """Wait for its end; the exit status."""
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s; it said:\n{self.log()[-4000:]}") from None

    def ended(self) -> int | None:
        """The exit status of one that has ended; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL; also one that is stopped."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> OperatorProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()
