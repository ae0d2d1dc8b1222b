"""``kubectl-mdev`` run within the test's own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mdev_cli.cli import main


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]


def runner(capsys: pytest.CaptureFixture[str]) -> Command:
    """A function that runs the command line with its arguments."""

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(code=ended.value.code, out=captured.out, err=captured.err)

    return run
