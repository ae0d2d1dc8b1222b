"""What the tests of the command line share."""

from __future__ import annotations

import pytest

from tests.unit.check.command import Command, runner


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return runner(capsys)
