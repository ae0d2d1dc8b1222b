"""How an answer looks: JSON for programs, tables for people."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mdev_api.engine.metadata import Verdict
from mdev_api.values import quoted, to_json
from mdev_cli.arguments import ArgumentForm, arguments_of, for_the_shell
from mdev_cli.check import Checked

_COLOURS = {Verdict.COMPATIBLE: "green", Verdict.INCOMPATIBLE: "red", Verdict.UNKNOWN: "yellow"}
_WIDTH_OF_FILES = 160


class Format(StrEnum):
    """Output formats of every command."""

    TABLE = "table"
    JSON = "json"


def as_json(checked: Checked, form: ArgumentForm | None = None) -> str:
    """One JSON object with typed values, in ASCII so that no locale can spoil it; ``back``: that of the way back."""
    return json.dumps(_document(checked, form), indent=2) + "\n"


def as_table(checked: Checked, form: ArgumentForm | None = None, *, terminal: bool) -> str:
    """The verdict and a table each of what there is to tell; colours and a terminal's width only on a ``terminal``."""
    text = io.StringIO()
    console = console_to(text, terminal=terminal)
    if checked.back is not None:
        console.print(Text("There"))
    _print(console, checked, form)
    if checked.back is not None:
        console.print()
        console.print(Text("Back"))
        _print(console, checked.back, form)
    return text.getvalue()


def _document(checked: Checked, form: ArgumentForm | None) -> dict[str, Any]:
    answer = checked.answer
    document: dict[str, Any] = {
        "verdict": answer.verdict.value,
        "reasons": [
            {"code": reason.code.value, "parameter": reason.parameter, "message": reason.message}
            for reason in answer.reasons
        ],
        "parameterList": {
            name: to_json(checked.source_types[name], text) for name, text in answer.parameter_list.items()
        },
        "writes": [
            {"parameter": write.parameter, "value": to_json(checked.destination_types[write.parameter], write.value)}
            for write in answer.writes
        ],
    }
    if form is not None:
        document["arguments"] = list(arguments_of(answer, form))
    if checked.back is not None:
        document["back"] = _document(checked.back, form)
    return document


def _print(console: Console, checked: Checked, form: ArgumentForm | None) -> None:
    answer = checked.answer
    console.print(Text(answer.verdict.value, style=f"bold {_COLOURS[answer.verdict]}"))
    if answer.reasons:
        reasons = [(r.code.value, cell(r.parameter or "-"), r.message) for r in answer.reasons]
        print_table(console, "Reasons", ("CODE", "PARAMETER", "MESSAGE"), reasons)
    if answer.parameter_list:
        listed = [(cell(name), cell(value)) for name, value in answer.parameter_list.items()]
        print_table(console, "Parameter list of the source", ("PARAMETER", "VALUE"), listed)
    if answer.writes:
        writes = [(cell(write.parameter), cell(write.value)) for write in answer.writes]
        print_table(console, "Writes to a new instance", ("PARAMETER", "VALUE"), writes)
    elif answer.verdict is Verdict.COMPATIBLE:
        console.print()
        console.print("A new instance has the right values already: nothing is written.")
    if form is not None and answer.verdict is Verdict.COMPATIBLE:
        line = for_the_shell(arguments_of(answer, form))
        console.print()
        console.print(Text(f"Arguments of the destination's program ({form})"))
        console.print(Text(line or "none: it has no parameters"), soft_wrap=True)


def console_to(text: io.StringIO, *, terminal: bool) -> Console:
    """A console that writes into ``text`` as the reader of stdout can take it."""
    return Console(file=text, force_terminal=terminal, width=None if terminal else _WIDTH_OF_FILES, highlight=False)


def print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with its title, after an empty line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print()
    console.print(Text(title))
    console.print(table)


def cell(text: str) -> str:
    """``text`` as a table shows it: in quotes where it would not show."""
    return text if text.isprintable() and text == text.strip() and text else quoted(text)
