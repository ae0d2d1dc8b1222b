"""The real operator as a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.waiting import wait_until


@contextlib.contextmanager
def operator(kubeconfig: Path, log: Path, namespace: str, *options: str) -> Iterator[Callable[[], str]]:
    """``mdev-operator run`` with its Lease in ``namespace``, leading; gives what it has said until now."""
    command = [sys.executable, "-m", "mdev_operator", "run", f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]

    def said() -> str:
        return log.read_text(encoding="utf-8", errors="replace")

    with log.open("ab") as output:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "following its migrations" in said(), timeout=60, what="the operator to follow KubeVirt")
        yield said
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
