"""Running a program and telling people what goes on: one line when it begins to take time, one with its seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class StepError(RuntimeError):
    """A step of the setup failed; the message says which, what the program said, and what helps where that is known."""


def say(line: str) -> None:
    """One line of progress."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def step(what: str, usually: str) -> Iterator[None]:
    """Tell that this is being done (``usually``: how long on two cores), and at the end how long it took."""
    say(f"e2e: {what} (usually {usually}) ...")
    began = time.monotonic()
    yield
    say(f"e2e: {what}: done in {time.monotonic() - began:.1f} s")


def run(
    *command: str | Path,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 1800,
) -> str:
    """Run a program to its end and return what it printed; StepError with the end of both its outputs if it fails."""
    shown = " ".join(str(part) for part in command)
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except FileNotFoundError as error:
        raise StepError(f"there is no {error.filename} here, which `{shown[:200]}` needs") from error
    except subprocess.TimeoutExpired as error:
        raise StepError(f"`{shown[:400]}` did not end within {timeout:.0f} s") from error
    if done.returncode:
        said = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).splitlines()[-25:])
        raise StepError(f"`{shown[:400]}` failed (exit {done.returncode}):\n{said}")
    return done.stdout


def succeeds(*command: str | Path, environment: Mapping[str, str] | None = None, timeout: float = 60) -> bool:
    """Does this program end well?"""
    try:
        run(*command, environment=environment, timeout=timeout)
    except StepError:
        return False
    return True
