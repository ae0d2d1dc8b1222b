"""There and back, beside a naive reading: what is compatible one way need not be so the other way."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mdev_api.migration_info import UnusableError
from mdev_cli.check import check
from tests.unit.oracle import naive_reading, naive_way_back, said, worlds
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.naive_reading import Object
from tests.unit.oracle.tape import Tape, chance, from_tape, reached

Case = tuple[Object, Any, Any]
Both = tuple[said.Said, said.Said]


def case(tape: Tape) -> Case:
    """A source, a destination near it, and for the way back another one near a new device of that."""
    source = worlds.sources(tape)
    there: Any = worlds.destinations(tape, source)
    home: Any = worlds.destinations(tape, as_source(there))
    if chance(tape, 10):
        there = worlds.spoiled(tape, there)
    if chance(tape, 10):
        home = worlds.spoiled(tape, home)
    return source, there, home


def as_source(there: Object) -> Object:
    """A new device of the first model."""
    for model, body in there.all("models")[0]:
        params = Object((name, renamed(definition)) for name, definition in body.all("params")[0])
        return Object([("model", model), ("params", params)])
    return Object([("params", Object())])


def renamed(definition: Object) -> Object:
    return Object(("value" if key == "init_value" else key, value) for key, value in definition)


def by_cli(source: str, there: str, home: str) -> Both | None:
    """None: an input is unusable."""
    try:
        checked = check(source.encode(), there.encode(), home.encode())
    except UnusableError:
        return None
    assert checked.back is not None
    return said.in_shared_words(checked.answer), said.in_shared_words(checked.back.answer)


def by_oracle(source: str, there: str, home: str) -> Both | None:
    """None: an input is unusable."""
    forth = said.by_oracle(source, there)
    read = naive_reading.read_source(source)
    if forth is None or read is None:
        return None
    device = naive_way_back.fresh(there, read["model"])
    back_to = naive_reading.read_destination(home, device["model"])
    return None if back_to is None else (forth, said.judged(device, back_to))


cases = from_tape(case)


@at_most(800)
@given(cases)
def test_both_ways_are_judged_as_a_naive_reading_judges_them(made: Case) -> None:
    documents = [worlds.written(document) for document in made]
    read = naive_reading.read_source(documents[0])
    assume(read is None or naive_way_back.is_said(documents[1], read["model"]))
    assert by_cli(*documents) == by_oracle(*documents)


@at_most(200)
@given(worlds.sound_pairs)
def test_a_new_device_goes_back_to_where_it_was_made_without_a_write(pair: tuple[Object, Object]) -> None:
    source, there = map(worlds.written, pair)
    assume(any(naive_reading.is_model_name(model) for model, _ in pair[1].all("models")[0]))
    both = by_cli(source, there, there)
    assert both is not None
    assert (both[1].verdict, both[1].writes) == ("Compatible", [])


@at_most(200)
@given(cases, st.integers(0, 2**32))
def test_no_order_of_input_matters_on_either_way(made: Case, seed: int) -> None:
    shuffled = [worlds.written(worlds.shuffled(document, Random(seed))) for document in made]
    before, after = by_cli(*map(worlds.written, made)), by_cli(*shuffled)
    if before is None or after is None:
        assert before is after
        return
    for one, other in zip(before, after, strict=True):
        assert (one.verdict, one.findings, one.parameter_list) == (other.verdict, other.findings, other.parameter_list)
        assert one.desired == other.desired and sorted(one.writes) == sorted(other.writes)


@pytest.mark.parametrize("forth", ["Compatible", "Incompatible", "Unknown"])
@pytest.mark.parametrize("back", ["Compatible", "Incompatible", "Unknown"])
def test_every_pair_of_verdicts_is_among_what_is_tried(forth: str, back: str) -> None:
    def has(made: Case) -> bool:
        both = by_oracle(*map(worlds.written, made))
        return both is not None and (both[0].verdict, both[1].verdict) == (forth, back)

    assert reached(case, has)
