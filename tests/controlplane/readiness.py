"""Waiting for a server to say that it is ready, and saying why it never was."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.controlplane.processes import Process

PORT_TAKEN = "address already in use"
INTERVAL = 0.05


class StartError(RuntimeError):
    """A part of the control plane did not start; the message has the end of its log."""


class PortTakenError(StartError):
    """Another program bound the port between its choice and its use: choose again."""


def wait_ready(
    process: Process, url: str, *, authority: Path | None = None, user: Path | None = None, timeout: float
) -> None:
    """Return when ``url`` answers 200; the server's certificate must be signed by ``authority``.

    ``user`` is a file with a client certificate and its key, where anonymous may not ask.

    Raises PortTakenError if the process ended because its port was taken, StartError if it ended otherwise or was not
    ready after ``timeout`` seconds.
    """
    context = ssl.create_default_context(cafile=str(authority)) if authority else None
    if context is not None and user is not None:
        context.load_cert_chain(user)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + timeout
    while True:
        alive = process.alive
        answer = _ask(opener, url)
        if answer is None and alive:
            return
        if not alive:
            raise _ended(process)
        if time.monotonic() > deadline:
            raise StartError(
                f"{process.name} was not ready after {timeout:g} s: {url}: {answer}\n"
                f"the end of {process.log}:\n{process.tail()}"
            )
        time.sleep(INTERVAL)


def _ask(opener: urllib.request.OpenerDirector, url: str) -> str | None:
    """Return None if ready, else what was said instead."""
    try:
        with opener.open(url, timeout=2):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.read(300).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return str(error)


def _ended(process: Process) -> StartError:
    tail = process.tail()
    kind = PortTakenError if PORT_TAKEN in tail else StartError
    return kind(f"{process.name} ended while it was starting; the end of {process.log}:\n{tail}")
