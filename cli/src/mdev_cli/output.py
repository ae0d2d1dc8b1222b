"""How an answer looks: JSON for programs, tables for people."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from enum import StrEnum

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mdev_api.engine.metadata import Verdict
from mdev_api.values import quoted, to_json
from mdev_cli.check import Checked

_COLOURS = {Verdict.COMPATIBLE: "green", Verdict.INCOMPATIBLE: "red", Verdict.UNKNOWN: "yellow"}
_WIDTH_OF_FILES = 160


class Format(StrEnum):
    """Output formats of every command."""

    TABLE = "table"
    JSON = "json"


def as_json(checked: Checked) -> str:
    """One JSON object with typed values, in ASCII so that no locale can spoil it."""
    answer = checked.answer
    document = {
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
    return json.dumps(document, indent=2) + "\n"


def as_table(checked: Checked, *, terminal: bool) -> str:
    """The verdict and a table each of what there is to tell; colours and a terminal's width only on a ``terminal``."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=None if terminal else _WIDTH_OF_FILES, highlight=False)
    answer = checked.answer
    console.print(Text(answer.verdict.value, style=f"bold {_COLOURS[answer.verdict]}"))
    if answer.reasons:
        reasons = [(r.code.value, _cell(r.parameter or "-"), r.message) for r in answer.reasons]
        _table(console, "Reasons", ("CODE", "PARAMETER", "MESSAGE"), reasons)
    if answer.parameter_list:
        listed = [(_cell(name), _cell(value)) for name, value in answer.parameter_list.items()]
        _table(console, "Parameter list of the source", ("PARAMETER", "VALUE"), listed)
    if answer.writes:
        writes = [(_cell(write.parameter), _cell(write.value)) for write in answer.writes]
        _table(console, "Writes to a new instance", ("PARAMETER", "VALUE"), writes)
    elif answer.verdict is Verdict.COMPATIBLE:
        console.print()
        console.print("A new instance has the right values already: nothing is written.")
    return text.getvalue()


def _table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print()
    console.print(Text(title))
    console.print(table)


def _cell(text: str) -> str:
    return text if text.isprintable() and text == text.strip() and text else quoted(text)
