"""What is left of a parent when instances of it are taken.

Types of one parent may share a pool (a serial card's 24 ports), and nobody says how; so an instance of one type takes
from the others in proportion to what was free of each. That is an estimate, and need not be more: the create's errno is
the truth, and the next candidate follows. It is this estimate that says whether several devices go on one parent too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """One parent's free instances of each type, as the kernel says, and the types promised since it said so."""

    said: Mapping[str, int]
    promised: tuple[str, ...] = ()


def left_in(pool: Pool, taken: Iterable[str] = ()) -> dict[str, int]:
    """What is left of each type when one instance of each of ``taken`` is made too; a type may be there repeatedly."""
    left = dict(pool.said)
    for taken_type in (*pool.promised, *taken):
        whole = pool.said.get(taken_type, 0)
        for type_id, available in pool.said.items():
            share = 1 if type_id == taken_type or whole == 0 else -(-available // whole)
            left[type_id] = max(0, left[type_id] - share)
    return left
