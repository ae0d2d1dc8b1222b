"""What is left of a parent when instances of it are taken.

Types of one parent may share a pool (a serial card's 24 ports), and nobody says how; so an instance of one type takes
from the others in proportion to what was free of each: one of four is a quarter of everything. That is an estimate, and
need not be more: the create's errno is the truth, and the next candidate follows. It is this estimate that says whether
several devices go on one parent too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, lcm


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """One parent's free instances of each type, as the kernel says, and the types promised since it said so."""

    said: Mapping[str, int]
    promised: tuple[str, ...] = ()


def left_in(pool: Pool, taken: Iterable[str] = ()) -> dict[str, int]:
    """What is left of each type when one instance of each of ``taken`` is made too; a type may be there repeatedly."""
    gone = (*pool.promised, *taken)
    return {type_id: max(0, left) for type_id, left in _balance(pool, gone).items()} if gone else dict(pool.said)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """A pool in whole numbers: what one instance of each type ``costs``, and how much may be spent together with it.

    The same estimate as :func:`left_in`: several can be made, in any order, if the sum of their costs is within the
    limit of each of them.
    """

    costs: Mapping[str, int]
    limits: Mapping[str, int]

    def has_room(self, taken: Sequence[str]) -> bool:
        """Whether one instance of each of ``taken`` can be made."""
        if not all(type_id in self.costs for type_id in taken):
            return False
        spent = sum(self.costs[type_id] for type_id in taken)
        return all(spent <= self.limits[type_id] for type_id in taken)


def shares_of(pool: Pool) -> Shares:
    """The pool's shares; a type without any room has none."""
    sizes = {type_id: free for type_id, free in pool.said.items() if free > 0}
    whole = lcm(*sizes.values())
    costs = {type_id: whole // free for type_id, free in sizes.items()}
    spent = sum(costs.get(type_id, 0) for type_id in pool.promised)
    unknown = sum(type_id not in costs for type_id in pool.promised)
    return Shares(costs=costs, limits={type_id: whole - spent - unknown * cost for type_id, cost in costs.items()})


def _balance(pool: Pool, gone: Sequence[str]) -> dict[str, int]:
    """Free less what is gone, below zero where more is gone than there was: a sum, so that no order matters."""
    sizes = [pool.said.get(type_id, 0) for type_id in gone]
    part = sum((Fraction(1, size) for size in sizes if size), Fraction(0))
    # How much a type takes that had no room when the kernel counted, nobody knows: one of each other.
    unknown = sum(not size for size in sizes)
    return {type_id: floor(free * (1 - part)) - unknown for type_id, free in pool.said.items()}
