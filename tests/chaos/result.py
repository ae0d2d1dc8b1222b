"""What a run has shown, as a value and in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """``wrong``: sentences; none is fine. ``ends``: how the migrations ended. ``account``: which faults happened."""

    seed: int
    seconds: float
    wrong: list[str]
    ends: Counter[str]
    account: str


def told(result: Result, moves: int) -> str:
    """For people: with the command that does a run again which was not fine."""
    ends = ", ".join(f"{count} {end}" for end, count in result.ends.most_common())
    lines = [f"seed {result.seed}: {moves} migrations in {result.seconds:.0f} s ({ends})", result.account]
    lines += [f"  VIOLATED: {wrong}" for wrong in result.wrong]
    if result.wrong:
        lines.append(f"  again: python -m tests.chaos --seed {result.seed} --moves {moves}")
    return "\n".join(lines)
