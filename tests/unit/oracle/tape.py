"""Choices read from a tape of bytes, so that hypothesis draws once for each example however large its world is.

Drawing each choice by itself costs more than judging it, tenfold. A byte of 0 is the first and plainest choice, and
so is everything after the end of the tape: hypothesis shrinks a failing tape byte by byte, always to the same world.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

World = TypeVar("World")

LENGTH = 128
"""Enough for two definitions of four parameters; several places need more."""


class Tape:
    """Bytes that are read once, front to back."""

    def __init__(self, data: bytes) -> None:
        self._rest = iter(data)

    def up_to(self, most: int) -> int:
        """0 to ``most``, which is at most 255."""
        return next(self._rest, 0) * (most + 1) // 256


def from_tape(make: Callable[[Tape], World], length: int = LENGTH) -> st.SearchStrategy[World]:
    """The worlds that ``make`` makes."""
    return st.binary(min_size=length, max_size=length).map(lambda data: make(Tape(data)))


def chance(tape: Tape, percent: int) -> bool:
    """Shrinks to False."""
    return tape.up_to(99) >= 100 - percent


def between(tape: Tape, least: int, most: int) -> int:
    return least + tape.up_to(most - least)


def one_of(tape: Tape, choices: Sequence[Any]) -> Any:
    """Lists are copied, as documents are changed in place."""
    choice = choices[tape.up_to(len(choices) - 1)]
    return copy.deepcopy(choice) if isinstance(choice, list) else choice


def some_of(tape: Tape, choices: Sequence[Any], least: int, most: int) -> list[Any]:
    """Different ones, in some order."""
    left, taken = list(choices), []
    for _ in range(between(tape, least, most)):
        taken.append(left.pop(tape.up_to(len(left) - 1)))
    return taken


def reached(make: Callable[[Tape], World], has: Callable[[World], bool], length: int = LENGTH) -> bool:
    """Is there one that has it among what is tried? The same answer every time."""
    random = Random(length)
    return any(has(make(Tape(random.randbytes(length)))) for _ in range(3000))
