"""``kubectl mdev model``: DeviceModels, tried before they are applied."""

from __future__ import annotations

from typing import Annotated

import typer

from mdev_cli.output import Format
from mdev_cli.streams import STDIN, answer, contents, on_terminal

FINE, FAILED, NO_MATCH = 0, 1, 2

app = typer.Typer(help="DeviceModels, tried before they are applied.", no_args_is_help=False)


@app.callback()
def _commands() -> None:
    """Keeps ``test`` a subcommand while it is the only one."""


@app.command("test")
def test_command(
    filename: Annotated[
        list[str],
        typer.Option(
            "-f",
            "--filename",
            metavar="MODEL.yaml",
            help="DeviceModels, as for kubectl apply. Can be given several times.",
        ),
    ],
    profiles: Annotated[
        str,
        typer.Option(metavar="FILE", help="What mdev-node-agent discover -o json printed on a node. - is stdin."),
    ],
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print the answer.")] = Format.TABLE,
) -> int:
    """What do these DeviceModels match, and what do they derive? Needs no cluster.

    Prints for each DeviceModel whether it can be used, and for each profile which model it is of, with its parameters,
    or why that is not known. All models count together, as in a cluster.

    Exit status: 0 all can be used and one matches, 1 one cannot be used or a profile cannot be read, 2 none matches,
    3 unusable input or wrong usage.
    """
    from mdev_cli.model_output import as_json, as_table  # pydantic and CEL take a while, and check needs neither
    from mdev_cli.model_trial import try_models

    if [*filename, profiles].count(STDIN) > 1:
        raise typer.BadParameter("only one of the files can be -, which is stdin")
    files = {name: contents("model", name) for name in filename}
    tried = try_models(files, contents("profiles", profiles))
    answer(as_json(tried) if output is Format.JSON else as_table(tried, terminal=on_terminal()))
    if tried.failed:
        return FAILED
    return FINE if tried.matched else NO_MATCH
