"""The plan of a chaos run, and the account that is kept of it."""

from __future__ import annotations

from tests.chaos.account import Account
from tests.chaos.life import Snare
from tests.chaos.plan import API_FAULTS, DRIVER_FAULTS, OPERATOR_STEPS, STAY, Ending, make_plan
from tests.chaos.wired import STEPS


def test_a_seed_gives_the_same_run_each_time_and_another_one_gives_another() -> None:
    assert make_plan(7, 100) == make_plan(7, 100)
    assert make_plan(7, 100) != make_plan(8, 100)


def test_a_long_run_kills_both_programs_at_every_named_step_and_meets_every_fault() -> None:
    plan = make_plan(3, 100)
    steps = {trouble.step for _, trouble in plan.troubles if isinstance(trouble, Snare)}
    assert steps == set(STEPS)
    kinds = set(plan.kinds)
    assert kinds >= {kill.kind for kill in OPERATOR_STEPS}
    assert kinds >= {f"driver {name}" for name, _ in DRIVER_FAULTS if name != "fail_create"}
    assert kinds >= {"driver fail_create 5", "driver fail_create 28", "node rebooted"}
    assert kinds >= {f"api {program} {what}" for program in ("operator", "agents") for what in API_FAULTS}


def test_troubles_begin_while_moves_are_still_to_come() -> None:
    for seed in range(20):
        plan = make_plan(seed, 40)
        assert all(0 <= at < 40 * 0.75 for at, _ in plan.troubles)
        assert [move.ending for move in plan.moves[-STAY:]] == [Ending.STAYS] * STAY


def test_a_kind_that_never_happened_is_named_and_one_that_did_is_not() -> None:
    account = Account(["driver fail_read", "driver fail_read", "foreign make"])
    account.count("foreign make")
    account.count("operator started again")
    assert account.never() == ["driver fail_read"]
    assert "0 of 2" in account.told()
