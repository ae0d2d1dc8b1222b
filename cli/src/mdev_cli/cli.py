"""The command line of ``kubectl mdev``.

Exit codes are an interface: 0, 1 and 2 always come with an answer on stdout; 3 comes with a message on stderr and
nothing on stdout, whatever was wrong. No input makes a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from mdev_api.strict_json import UnusableError
from mdev_cli.arguments import ArgumentForm
from mdev_cli.check import EXIT_CODES, EXIT_UNUSABLE, check
from mdev_cli.model_command import app as model_app
from mdev_cli.output import Format, as_json, as_table
from mdev_cli.streams import STDIN, answer, contents, give_up_stdout, on_terminal, tell

_EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="Where can a VM with mediated devices move?",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(model_app, name="model")

Source = Annotated[
    str,
    typer.Option(
        metavar="S.json",
        help='The device that is to move: {"model", "params": {name: {"type", "off_value"?, "value"}}}. - is stdin.',
    ),
]
Destination = Annotated[
    str,
    typer.Option(
        metavar="D.json",
        help="Migration info (RFC v3) of one type there, or what a vfio-user program prints with "
        "--print-migration-info-json: "
        '{"models": {model: {"params": {name: {"type", "init_value", "off_value"?, "allowed_values"?}}}}}. '
        "- is stdin.",
    ),
]
BothDirections = Annotated[
    bool,
    typer.Option(
        "--both-directions",
        help="Can a new instance there, with its init values, also move back? Needs --source-info. "
        "The exit status is that of the worse answer; Incompatible is worse than Unknown.",
    ),
]
SourceInfo = Annotated[
    str | None,
    typer.Option(metavar="D2.json", help="Migration info of the source's own type, for the way back. - is stdin."),
]
Arguments = Annotated[
    ArgumentForm | None,
    typer.Option(help="Also print the arguments with which the destination's program is to be started."),
]


@app.command("check")
def check_command(
    source: Source,
    destination: Destination,
    both_directions: BothDirections = False,
    source_info: SourceInfo = None,
    arguments: Arguments = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print the answer.")] = Format.TABLE,
) -> int:
    """Can this device move to a new instance of that type, and what must be written there? Needs no cluster.

    Prints the verdict, every reason, the source's parameter list, and the writes.

    Exit status: 0 Compatible, 1 Incompatible, 2 Unknown, 3 unusable input or wrong usage.
    """
    if both_directions != (source_info is not None):
        raise typer.BadParameter("--both-directions and --source-info belong together: the way back is to that type")
    if [source, destination, source_info].count(STDIN) > 1:
        raise typer.BadParameter("only one of the files can be -, which is stdin")
    checked = check(
        contents("source", source),
        contents("destination", destination),
        None if source_info is None else contents("source-info", source_info),
    )
    for warning in checked.warnings:
        tell(f"warning: {warning}")
    if output is Format.JSON:
        answer(as_json(checked, arguments))
    else:
        answer(as_table(checked, arguments, terminal=on_terminal()))
    return EXIT_CODES[checked.verdict]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    sys.set_int_max_str_digits(0)  # values are bounded by their own grammar; an environment's lower limit is not ours
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    try:
        return int(app(list(arguments), prog_name="kubectl-mdev", standalone_mode=False) or 0)
    except typer.TyperException as error:
        tell(f"error: {error.format_message()}")
        tell("kubectl-mdev -h, and -h behind a command, say how it is used")
    except UnusableError as error:
        tell(f"error: {error}")
    except (typer.Abort, KeyboardInterrupt):
        return _EXIT_INTERRUPTED
    except OSError as error:
        give_up_stdout()
        tell(f"error: cannot write the help: {error.strerror}")
    except SystemExit:
        give_up_stdout()  # the reader of the help has gone away; typer would say 1, which means Incompatible here
    return EXIT_UNUSABLE
