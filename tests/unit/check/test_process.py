"""``kubectl-mdev`` as a process: what only a real stdout and a real interpreter show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = '{"model": "m", "params": {"p": {"type": "int", "value": %s}}}'
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""As at a user's: Python writes again when it ends what it could not write before."""
DESTINATION = '{"models": {"m": {"params": {"p": {"type": "int", "init_value": 1}}}}}'


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    (tmp_path / "S.json").write_text(SOURCE % ("9" * 1000))
    (tmp_path / "D.json").write_text(DESTINATION)
    files = ["--source", str(tmp_path / "S.json"), "--destination", str(tmp_path / "D.json")]
    return [sys.executable, "-m", "mdev_cli", "check", *files, "-o", "json"]


def test_the_answer_does_not_depend_on_locale_or_digit_limit(arguments: list[str]) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONINTMAXSTRDIGITS": "640"}
    done = subprocess.run(arguments, capture_output=True, env=environment, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f'"p": {"9" * 1000}' in done.stdout


@pytest.mark.parametrize("extra", [[], ["-h"]])
def test_a_reader_that_went_away_is_no_verdict_and_no_traceback(arguments: list[str], extra: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*arguments, *extra], stdout=writing, stderr=subprocess.PIPE, env=BUFFERED, text=True)
    finally:
        os.close(writing)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)


def test_a_full_disk_is_no_verdict(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, env=BUFFERED, text=True)
    assert (done.returncode, done.stderr) == (3, "error: cannot write the answer: No space left on device\n")


@pytest.mark.parametrize(("closed", "code"), [(">&-", 3), ("2>&-", 0)])
def test_a_closed_stream_makes_no_traceback(arguments: list[str], closed: str, code: int) -> None:
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *arguments], capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)


def test_without_stderr_wrong_usage_still_has_its_exit_status(arguments: list[str]) -> None:
    done = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *arguments, "extra"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
