"""Files and standard streams of every command: the whole answer on stdout, or a sentence on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from mdev_api.strict_json import UnusableError

STDIN = "-"
"""As a file's name: what is piped in."""


def contents(side: str, path: str) -> bytes:
    """The bytes of a file, or of stdin. UnusableError, beginning with ``side``, if they cannot be read."""
    name = "stdin" if path == STDIN else repr(path)
    try:
        if path != STDIN:
            return Path(path).read_bytes()
        if sys.stdin is None:
            raise UnusableError(f"{side}: cannot read stdin: it is closed")
        return sys.stdin.buffer.read()
    except (OSError, ValueError) as error:
        if isinstance(error, UnusableError):
            raise
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnusableError(f"{side}: cannot read {name}: {why}") from None


def answer(text: str) -> None:
    """The whole answer to stdout, or UnusableError."""
    if sys.stdout is None:
        raise UnusableError("cannot write the answer: stdout is closed")
    try:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        give_up_stdout()
        raise UnusableError(f"cannot write the answer: {error.strerror}") from None


def give_up_stdout() -> None:
    """Python flushes stdout once more when it ends, and would print a traceback: let that flush go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def on_terminal() -> bool:
    """Is stdout a terminal, so that colours and its width count?"""
    return sys.stdout is not None and sys.stdout.isatty()


def tell(line: str) -> None:
    """A line to stderr."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError):  # nobody listens there; the exit status still tells
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
