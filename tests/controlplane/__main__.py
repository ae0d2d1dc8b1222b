"""``python -m tests.controlplane up|down|path|binaries``: the control plane from the shell.

The answer (a path) goes to standard output and everything else to standard error, so
``export KUBECONFIG=$(python -m tests.controlplane up)`` works.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.controlplane.binaries import ensure, say_on_stderr
from tests.controlplane.left_running import DIRECTORY, down, running, up
from tests.controlplane.programs import UnavailableError
from tests.controlplane.readiness import StartError
from tests.controlplane.releases import ChecksumError


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.controlplane", description="A real control plane for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    actions = {
        "up": (_up, "leave one running and print the path of its kubeconfig"),
        "down": (_down, "end the one that was left running"),
        "path": (_path, "print the path of its kubeconfig; exit 1 if none runs"),
        "binaries": (_binaries, "make sure that the programs are there, and print where"),
    }
    for name, (_, summary) in actions.items():
        command = commands.add_parser(name, help=summary)
        command.add_argument("--directory", type=Path, default=DIRECTORY, help="where it lives (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        return actions[chosen.command][0](chosen.directory.resolve())
    except (UnavailableError, ChecksumError, StartError) as error:
        say_on_stderr(f"error: {error}")
        return 1


def _up(directory: Path) -> int:
    state = running(directory)
    if state is None:
        programs = ensure()
        say_on_stderr("starting the control plane (about 10 seconds) ...")
        began = time.monotonic()
        state = up(directory, programs=programs)
        say_on_stderr(f"{state.server} is ready after {time.monotonic() - began:.1f} s")
    else:
        say_on_stderr(f"{state.server} runs already")
    say_on_stderr("`make controlplane-down` ends it")
    print(state.kubeconfig)
    return 0


def _down(directory: Path) -> int:
    ended = down(directory)
    say_on_stderr(f"ended {', '.join(ended)}" if ended else "no control plane was left running")
    return 0


def _path(directory: Path) -> int:
    state = running(directory)
    if state is None:
        say_on_stderr("no control plane is running; `make controlplane` starts one")
        return 1
    print(state.kubeconfig)
    return 0


def _binaries(_directory: Path) -> int:
    for program, path in ensure().items():
        print(f"{program}\t{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
