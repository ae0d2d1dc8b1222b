"""Running a shell command as one whole: what it started ends with it, also when it takes too long."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GRACE = 30.0
"""Seconds that a command which took too long has to clean up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """How a command ended and all that it said, on stdout and stderr together."""

    status: int
    output: str


def run_whole(command: str, *, cwd: Path, timeout: float, env: Mapping[str, str] | None = None) -> Ran:
    """Run ``command`` in bash. After ``timeout`` seconds it is interrupted as by Ctrl-C, which is status -SIGINT."""
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        said = _interrupted(process)
        return Ran(status=-signal.SIGINT, output=f"{said}\n(ended after {timeout:g} s)")
    return Ran(status=process.returncode, output=said)


def _interrupted(process: subprocess.Popen[str]) -> str:
    os.killpg(process.pid, signal.SIGINT)
    try:
        return process.communicate(timeout=GRACE)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]
