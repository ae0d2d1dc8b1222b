"""A process runs as long as one thread of it does: until then it holds its ports. Children end with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.controlplane.processes import spawn, stop
from tests.waiting import wait_until

FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print("first thread ends", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""

HAS_CHILD = """
import signal, subprocess, sys
from tests.controlplane.processes import popen
print(popen(["/bin/sleep", "600"], sys.stderr.buffer).pid, flush=True)
signal.pause()
"""


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_whose_first_thread_has_ended_still_runs_until_it_is_stopped(tmp_path: Path) -> None:
    process = spawn("threads", [sys.executable, "-c", FIRST_THREAD_ENDS], log=tmp_path / "log")
    wait_until(lambda: state(process.pid) == "Z", timeout=20, what="the first thread to end")
    before = process.alive
    assert (before, stop(process), process.alive) == (True, True, False)


def test_a_child_dies_with_the_process_that_started_it_even_if_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", HAS_CHILD], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = Path(f"/proc/{int(parent.stdout.readline())}/stat")
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not child.exists() or " Z " in child.read_text(), timeout=10, what="the child to die")
