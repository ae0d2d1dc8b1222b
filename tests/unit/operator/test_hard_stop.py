"""What must not go on after the Lease is lost, and does not end, ends with the process."""

from __future__ import annotations

import subprocess
import sys

STUBBORN = """
import asyncio
from mdev_operator.run import _stop_hard, _task

async def stubborn():
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            print("went on", flush=True)

async def lead():
    async with _task(stubborn(), "queue") as task:
        _stop_hard(2.0, 1)
        await asyncio.sleep(0)
    await asyncio.wait([task])

asyncio.run(lead())
"""


def test_a_task_that_does_not_end_ends_with_the_process() -> None:
    program = [sys.executable, "-c", STUBBORN]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "went on\n"), done.stderr
