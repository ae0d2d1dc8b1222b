"""Programs in the background that can be told apart, found dead, and ended for certain.

A process is named by its id *and* the time the kernel started it, so a recycled id is never signalled: that holds
across program runs, which is what a control plane left running needs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.waiting import wait_until

_WITH_PARENT = Path(__file__).with_name("with_parent.py")
# PR_SET_PDEATHSIG fires when the *thread* that forked ends, so one that lives as long as this process must fork.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One program that was started; ``born`` is its start time in clock ticks since boot (proc(5), field 22)."""

    name: str
    pid: int
    born: int
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not. Reaps it if it is our child."""
        _reap(self.pid)
        return _born(self.pid) == self.born

    def tail(self, lines: int = 15) -> str:
        """Return the end of its log, for an error message."""
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in text[-lines:])


def spawn(
    name: str,
    argv: Sequence[str],
    *,
    log: Path,
    outlive: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start ``argv`` (the first is an absolute path) in its own session with its output appended to ``log``.

    It dies with this process, also when this one is killed, unless ``outlive`` is set.
    """
    command = list(argv) if outlive else with_us(argv)
    variables = dict(os.environ if environment is None else environment)
    return _forker.submit(_spawn, name, command, log, variables).result()


def with_us(argv: Sequence[str]) -> list[str]:
    """The same command, as one that dies with this process if it is started by :func:`popen` or :func:`spawn`."""
    return [sys.executable, "-I", "-S", str(_WITH_PARENT), str(os.getpid()), *argv]


def popen(argv: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """A child that dies with this process, also when this one is killed; what it prints goes to ``output``."""

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(with_us(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    return _forker.submit(start).result()


def stop(process: Process) -> bool:
    """Kill the process and its group, and return whether it was running.

    It gets no chance to end in good order: an API server takes a minute for that while a watch is open, and nothing
    that it or etcd would save is wanted. Raises TimeoutError if it survives SIGKILL by 10 s.
    """
    if not process.alive:
        return False
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: not process.alive, timeout=10, what=f"{process.name} ({process.pid}) to end", interval=0.01)
    return True


def _spawn(name: str, command: list[str], log: Path, variables: dict[str, str]) -> Process:
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        command[0],
        command,
        variables,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return Process(name=name, pid=pid, born=_born(pid) or 0, log=log)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _born(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    # Its first thread may be a zombie while others that were killed with it still hold its ports and files.
    threads = int(fields[17])
    return None if fields[0] in "ZX" and threads <= 1 else int(fields[19])
