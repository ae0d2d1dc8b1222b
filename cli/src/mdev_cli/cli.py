"""The command line of ``kubectl mdev``.

Exit codes are an interface: 0, 1 and 2 always come with an answer on stdout; 3 comes with a message on stderr and
nothing on stdout, whatever was wrong. No input makes a traceback.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from mdev_api.migration_info import UnusableError
from mdev_cli.check import EXIT_CODES, EXIT_UNUSABLE, check
from mdev_cli.output import Format, as_json, as_table

_EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="Where can a VM with mediated devices move?",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Keeps ``check`` a subcommand while it is the only one."""


@app.command("check")
def check_command(
    source: Annotated[
        str,
        typer.Option(
            metavar="S.json",
            help='The device that is to move: {"model", "params": {name: {"type", "off_value"?, "value"}}}.',
        ),
    ],
    destination: Annotated[
        str,
        typer.Option(
            metavar="D.json",
            help="Migration info (RFC v3) of one type there: "
            '{"models": {model: {"params": {name: {"type", "init_value", "off_value"?, "allowed_values"?}}}}}.',
        ),
    ],
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print the answer.")] = Format.TABLE,
) -> int:
    """Can this device move to a new instance of that type, and what must be written there? Needs no cluster.

    Prints the verdict, every reason, the source's parameter list, and the writes.

    Exit status: 0 Compatible, 1 Incompatible, 2 Unknown, 3 unusable input or wrong usage.
    """
    checked = check(_contents("source", source), _contents("destination", destination))
    for warning in checked.warnings:
        _tell(f"warning: {warning}")
    text = as_json(checked) if output is Format.JSON else as_table(checked, terminal=_on_terminal())
    _answer(text)
    return EXIT_CODES[checked.answer.verdict]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    sys.set_int_max_str_digits(0)  # values are bounded by their own grammar; an environment's lower limit is not ours
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    try:
        return int(app(list(arguments), prog_name="kubectl-mdev", standalone_mode=False) or 0)
    except typer.TyperException as error:
        _tell(f"error: {error.format_message()}")
        _tell("kubectl-mdev -h and kubectl-mdev check -h say how it is used")
    except UnusableError as error:
        _tell(f"error: {error}")
    except (typer.Abort, KeyboardInterrupt):
        return _EXIT_INTERRUPTED
    except OSError as error:
        _give_up_stdout()
        _tell(f"error: cannot write the help: {error.strerror}")
    except SystemExit:
        _give_up_stdout()  # the reader of the help has gone away; typer would say 1, which means Incompatible here
    return EXIT_UNUSABLE


def _contents(side: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnusableError(f"{side}: cannot read {path!r}: {why}") from None


def _answer(text: str) -> None:
    """The whole answer to stdout, or an error."""
    if sys.stdout is None:
        raise UnusableError("cannot write the answer: stdout is closed")
    try:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _give_up_stdout()
        raise UnusableError(f"cannot write the answer: {error.strerror}") from None


def _give_up_stdout() -> None:
    """Python flushes stdout once more when it ends, and would print a traceback: let that flush go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _tell(line: str) -> None:
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError):  # nobody listens there; the exit status still tells
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
