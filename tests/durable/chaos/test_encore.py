"""What a run goes on with for faults that have not happened yet."""

from __future__ import annotations

from tests.chaos.encore import encore, waits_for_failure
from tests.chaos.plan import DriverFault, Foreign

CLAMP = DriverFault(node="c", name="clamp_write", value="memory", moves=4)
STEAL = Foreign(node="b", what="steal")


def test_moves_go_to_the_nodes_where_something_is_missing() -> None:
    moves = encore({"driver clamp_write", "foreign steal"}, (CLAMP, STEAL), 100)
    assert {move.node for move in moves} == {"b", "c"}
    assert [move.number for move in moves] == list(range(100, 100 + len(moves)))


def test_a_fault_that_has_happened_draws_no_moves() -> None:
    assert {move.node for move in encore({"foreign steal"}, (CLAMP, STEAL), 1)} == {"b"}


def test_a_kill_that_waits_for_a_failure_is_known() -> None:
    assert waits_for_failure({"agent killed before journal making none"})
    assert not waits_for_failure({"agent killed before journal making done", "driver fail_create 5"})
