"""Changing a running source so that a place can take it, beside trying every way."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.engine.adjustment import adjusted, adjustment
from mdev_api.engine.metadata import Write
from tests.unit.oracle import naive, naive_adjustment, plain_worlds, said
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.tape import Tape, chance, from_tape, one_of, reached

Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def case(tape: Tape) -> Case:
    """A running source, the definitions of its own type, and a destination near these."""
    own = plain_worlds.destination(tape)
    params = {}
    for name, p in own["params"].items():
        if not p["file"] and chance(tape, 50):
            p["allowed"] = None
        value = one_of(tape, [p["init"], *plain_worlds.inside(p)]) if p["file"] else p["init"]
        params[name] = {"type": p["type"], "value": value, "off": p["off"], "broken": False}
    definitions = {name: definition_near(tape, p) for name, p in own["params"].items() if not chance(tape, 12)}
    if chance(tape, 10):
        definitions.setdefault(one_of(tape, plain_worlds.NAMES), plain_worlds.definition(tape, "int"))
    source, there = {"model": "m", "broken": False, "params": params}, plain_worlds.made_of(definitions)
    if chance(tape, 10):
        source = plain_worlds.with_faults(tape, source)
    if chance(tape, 10):
        there = plain_worlds.with_faults(tape, there)
    return source, own, there


def definition_near(tape: Tape, p: dict[str, Any]) -> dict[str, Any]:
    if chance(tape, 8):
        return plain_worlds.definition(tape, one_of(tape, plain_worlds.KINDS))
    return plain_worlds.definition(tape, p["type"], p["off"])


def by_engine(source: dict[str, Any], own: dict[str, Any], there: dict[str, Any]) -> tuple[Write, ...] | None:
    return adjustment(said.engine_source(source), said.engine_metadata(own), said.engine_metadata(there))


def in_plain_words(writes: tuple[Write, ...] | None) -> dict[str, str] | None:
    if writes is None:
        return None
    assert len({write.parameter for write in writes}) == len(writes)
    return {write.parameter: write.value for write in writes}


cases = from_tape(case)


@at_most(1000)
@given(cases)
def test_the_change_is_the_smallest_and_nearest_of_all_that_help(made: Case) -> None:
    way = naive_adjustment.adjustment(*made)
    assert in_plain_words(by_engine(*made)) == (None if way is None else said.texts(way))


@at_most(500)
@given(cases)
def test_after_the_change_it_is_compatible_and_undone_it_is_the_source_again(made: Case) -> None:
    """Undone as the agent does it: the old values of what was written, in reverse."""
    source, _, there = made
    writes = by_engine(*made)
    if writes is None:
        return
    before = said.engine_source(source)
    old = {p.name: p.value for p in before.parameters}
    after = adjusted(before, {write.parameter: write.value for write in writes})
    assert said.asked(after, said.engine_metadata(there)).verdict == "Compatible"
    undone = after
    for write in reversed(writes):
        undone = adjusted(undone, {write.parameter: old[write.parameter] or ""})
    assert undone == before


@at_most(300)
@given(cases, st.integers(0, 2**32))
def test_no_order_of_definition_matters_for_what_is_changed(made: Case, seed: int) -> None:
    random = Random(seed)
    mixed = [
        {**side, "params": dict(random.sample(sorted(side["params"].items()), len(side["params"])))} for side in made
    ]
    assert in_plain_words(by_engine(*mixed)) == in_plain_words(by_engine(*made))


@pytest.mark.parametrize("changes", [0, 1, 2])
@pytest.mark.parametrize("kind", ["int", "bool", "str"])
def test_changes_of_every_type_are_among_what_is_tried(changes: int, kind: str) -> None:
    def has(made: Case) -> bool:
        way = naive_adjustment.adjustment(*made)
        return way is not None and len(way) == changes and kind in {p["type"] for p in made[1]["params"].values()}

    assert reached(case, has)


def test_one_obstacle_too_many_is_among_what_is_tried() -> None:
    """Something could be changed, and would not help."""

    def has(made: Case) -> bool:
        found = {parameter for _, parameter in naive.findings(made[0], made[2])}
        may = {name for name, p in made[1]["params"].items() if p["runtime"] is True and p["file"]}
        return bool(found & may) and naive_adjustment.adjustment(*made) is None

    assert reached(case, has)
