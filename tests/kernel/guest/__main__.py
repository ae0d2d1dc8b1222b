"""``python -m tests.kernel.guest``: what guests need, and a shell in one.

prepare                      fetch, build and compile everything that guests use; a second run takes seconds
shell [--modules SPEC ...] [--cards N]
                             boot a guest and give commands to its shell, one line each, until end of file
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.kernel.guest.errors import CommandTimeoutError, GuestError
from tests.kernel.guest.guest import Guest
from tests.kernel.guest.prepare import compile_python, prepare
from tests.kernel.guest.progress import say, step


def shell(modules: list[str], cards: int) -> None:
    """Each line of standard input is one command in the guest."""
    with tempfile.TemporaryDirectory(prefix="mdev-guest-") as directory:
        with step("booting a guest", usually="5 s"):
            guest = Guest.boot(Path(directory), name="shell", modules=modules, cards=cards)
        with guest:
            for line in sys.stdin:
                try:
                    result = guest.run(line, timeout=600, check=False)
                except CommandTimeoutError as error:
                    say(str(error))
                    continue
                print(result.stdout, end="", flush=True)
                print(result.stderr, end="", file=sys.stderr, flush=True)


def main() -> int:
    """The command line; 1 and a message when something is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kernel.guest", description="Emulated machines with mediated devices"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="fetch and build everything that guests use")
    for_shell = commands.add_parser("shell", help="boot a guest and run commands from standard input in it")
    for_shell.add_argument(
        "--modules", nargs="*", default=["mtty", "gfx parents=2"], metavar="SPEC", help="name and parameters"
    )
    for_shell.add_argument("--cards", type=int, default=0, metavar="N", help="PCI devices with SR-IOV (default 0)")
    arguments = parser.parse_args()
    try:
        if arguments.command == "prepare":
            images = prepare()
            compile_python()
            say(f"ready: {images.kernel.parent.name} with {', '.join(sorted(images.modules))}")
        else:
            shell(arguments.modules, arguments.cards)
    except (RuntimeError, OSError, ValueError, GuestError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
