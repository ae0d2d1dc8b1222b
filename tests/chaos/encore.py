"""Moves that a run goes on with while a planned fault has not happened when all its own moves are over. Pure.

Which moves come late, or find another device than planned, is not the seed's to say; what a run is to show is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tests.chaos.plan import DriverFault, Ending, Foreign, Move, Trouble, kind_of

ROUNDS = 12
DEADLINE = 10
FAILURE = DriverFault(node="a", name="fail_create", value="5", moves=1, times=2)
"""For kills that wait until something fails."""


def waits_for_failure(missing: Collection[str]) -> bool:
    """Is an agent to be killed at a step that comes only after a failure?"""
    return any("none" in kind or "journal failed" in kind for kind in missing)


def encore(missing: Collection[str], troubles: Sequence[Trouble], number: int) -> tuple[Move, ...]:
    """The next moves, numbered from ``number``: to the nodes where something is missing, with a value to write each.

    One ends well, so that a machine runs on it; one fails and is undone; one leaves an idle device behind.
    """
    faults = [each for each in troubles if isinstance(each, DriverFault | Foreign) and kind_of(each) in missing]
    nodes = list(dict.fromkeys(fault.node for fault in faults)) or ["a"]
    endings = ((Ending.FAILED, 2048, None), (Ending.SUCCEEDED, 2048, "by hand"), (Ending.SUCCEEDED, 1024, "left"))
    return tuple(
        Move(number=number + at, ending=ending, memory=memory, node=node, ends=ends, deadline=DEADLINE)
        for at, (node, (ending, memory, ends)) in enumerate((node, each) for node in nodes for each in endings)
    )
