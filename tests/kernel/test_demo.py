"""``make demo`` on guests, as README.md gives it: the main job on real kernels, and one agent that lies."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PATIENCE = 360.0
"""Seconds; about 60 on a quiet machine, but the agents in emulated guests start slowly where much else runs."""

THE_MAIN_JOB = "make demo"
WITH_A_LIAR = "make demo BREAK=preparer"


def run(command: str) -> tuple[int, str]:
    """Exit status and all that the command says. It is told to end, and not killed, so that it ends its guests."""
    with subprocess.Popen(
        command.split(), cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.terminate()
            said, _ = process.communicate()
            pytest.fail(f"{command} did not end within {PATIENCE:g} s; it said:\n{said}", pytrace=False)
    return process.returncode, said


def test_the_main_job_works_end_to_end_on_real_kernels() -> None:
    status, said = run(THE_MAIN_JOB)
    assert status == 0, said
    assert "The main job works, end to end." in said


def test_the_demo_fails_when_an_agent_says_prepared_and_did_nothing() -> None:
    status, said = run(WITH_A_LIAR)
    assert status != 0, said
    assert "The demo failed" in said
    assert "node-b's sysfs shows" in said
