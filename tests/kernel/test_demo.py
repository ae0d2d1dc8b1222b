"""``make demo`` on guests, as README.md gives it: the main job on real kernels, and one agent that lies."""

from __future__ import annotations

from pathlib import Path

from tests.whole_command import run_whole

TOP = Path(__file__).resolve().parents[2]
PATIENCE = 360.0
"""Seconds; about 60 on a quiet machine, but the agents in emulated guests start slowly where much else runs."""

THE_MAIN_JOB = "make demo"
WITH_A_LIAR = "make demo BREAK=preparer"


def test_the_main_job_works_end_to_end_on_real_kernels() -> None:
    ran = run_whole(THE_MAIN_JOB, cwd=TOP, timeout=PATIENCE)
    assert ran.status == 0, ran.output
    assert "The main job works, end to end." in ran.output


def test_the_demo_fails_when_an_agent_says_prepared_and_did_nothing() -> None:
    ran = run_whole(WITH_A_LIAR, cwd=TOP, timeout=PATIENCE)
    assert ran.status != 0, ran.output
    assert "The demo failed" in ran.output
    assert "node-b's sysfs shows" in ran.output
