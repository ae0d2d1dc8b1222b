"""Write strategies beside a naive reading, for fresh and for idle devices, and what must hold of every sequence."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given

from tests.unit.oracle import naive, naive_writing, plain_worlds, said
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.tape import Tape, chance, from_tape

Case = tuple[dict[str, Any], dict[str, Any], dict[str, str] | None]


def case(tape: Tape) -> Case:
    """A source, a destination, and the values of its idle instance (None: a new one)."""
    there = plain_worlds.destination(tape)
    source = plain_worlds.source_near(tape, there)
    wanted = {name: value for name, value in naive.desired(source, there).items() if value is not None}
    idle = said.texts(plain_worlds.current_values(tape, there, wanted)) if chance(tape, 70) else None
    if idle is not None and chance(tape, 10):
        idle = {name: value for name, value in idle.items() if not chance(tape, 40)}
    return source, there, idle


def compatible(source: dict[str, Any], there: dict[str, Any], idle: dict[str, str] | None) -> said.Said:
    answer = said.asked(said.engine_source(source), said.engine_metadata(there), idle)
    assume(answer.verdict == "Compatible")
    return answer


def held(there: dict[str, Any], idle: dict[str, str] | None) -> dict[str, str]:
    return said.texts(naive.init_values(there)) if idle is None else dict(idle)


cases = from_tape(case)


@at_most(1000)
@given(cases)
def test_each_strategy_writes_what_a_naive_reading_writes(made: Case) -> None:
    source, there, idle = made
    answer = said.asked(said.engine_source(source), said.engine_metadata(there), idle)
    assert answer == said.judged(source, there, idle)


@at_most(300)
@given(cases)
def test_carried_out_in_order_the_writes_give_exactly_what_is_desired(made: Case) -> None:
    _, there, idle = made
    answer, now = compatible(*made), held(there, idle)
    for name, value in answer.writes:
        assert now.get(name) != value, "what is equal already is not written"
        now[name] = value
    assert now == answer.desired


@at_most(300)
@given(cases)
def test_off_first_no_value_is_written_while_another_parameter_still_has_its_old_one(made: Case) -> None:
    """So that a pool has everything back that can be given back before anything is taken from it."""
    source, there, idle = made
    there = {**there, "strategy": "OffFirst"}
    answer, now = compatible(source, there, idle), held(there, idle)
    offs, written = naive_writing.off_texts(there), set()
    for name, value in answer.writes:
        if offs.get(name) != value:
            written.add(name)
            assert all(now.get(other) == off for other, off in offs.items() if other not in written - {name})
        now[name] = value


@at_most(300)
@given(cases)
def test_direct_no_parameter_is_written_twice(made: Case) -> None:
    source, there, idle = made
    names = [name for name, _ in compatible(source, {**there, "strategy": "Direct"}, idle).writes]
    assert len(names) == len(set(names))


@at_most(200)
@given(cases)
def test_what_is_right_already_is_not_touched(made: Case) -> None:
    source, there, _ = made
    desired = compatible(*made).desired
    assert compatible(source, there, desired).writes == []
