"""Ranking beside a naive sort where JSON does not reach: slots, OffFirst, places that need a change of the source."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.engine.adjustment import rank_adjusting
from mdev_api.engine.openings import Candidate, Plan
from mdev_api.engine.plan import rank
from tests.unit.oracle import naive, naive_adjustment, plain_places, plain_worlds, said, test_adjustment
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.tape import Tape, between, chance, from_tape, one_of, reached

Case = tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]], str | None]
LENGTH = 224

Ranked = tuple[list[tuple[Any, ...]], set[tuple[Any, ...]]]


def case(tape: Tape) -> Case:
    """A running source with its own definitions, places on two nodes, and the source's type."""
    source, own, there = test_adjustment.case(tape)
    profiles = [there, *(plain_worlds.destination(tape) for _ in range(between(tape, 0, 1)))]
    if chance(tape, 50):
        profiles.append({**there, "strategy": "OffFirst"})
    places = plain_places.places(tape, ["node-a", "node-b"], profiles, source, 4)
    return source, own, places, one_of(tape, [None, *plain_places.TYPES])


def naive_plan(
    source: dict[str, Any], places: list[dict[str, Any]], source_type: str | None, own: dict[str, Any] | None
) -> Ranked:
    """Candidates as (changes, place, writes), best first, and the rest as (place, findings, lacks room only)."""
    candidates, rejected = [], set()
    for place in places:
        way = {} if own is None else naive_adjustment.adjustment(source, own, place["destination"])
        asked = naive_adjustment.adjusted(source, way) if way else source
        answer = said.judged(asked, place["destination"], place["values"])
        if answer.verdict != "Compatible":
            rejected.add((plain_places.key(place), answer.findings, False))
        elif place["free"] < 1:
            rejected.add((plain_places.key(place), frozenset(), True))
        else:
            order = (len(way or {}), *naive.order(place, len(answer.writes), source_type))
            candidates.append((order, (said.texts(way or {}), plain_places.key(place), answer.writes)))
    return [each for _, each in sorted(candidates, key=lambda entry: entry[0])], rejected


def in_plain_words(plan: Plan) -> Ranked:
    return (
        [(adjusting(one), plain_places.key(one.opening), writes(one)) for one in plan.candidates],
        {
            (plain_places.key(one.opening), frozenset((str(r.code), r.parameter) for r in one.reasons), one.no_capacity)
            for one in plan.rejections
        },
    )


def adjusting(one: Candidate) -> dict[str, str]:
    return {write.parameter: write.value for write in one.adjust}


def writes(one: Candidate) -> list[tuple[str, str]]:
    return [(write.parameter, write.value) for write in one.answer.writes]


cases = from_tape(case, LENGTH)


@at_most(400)
@given(cases)
def test_places_of_every_kind_are_ranked_as_a_naive_sort_ranks_them(made: Case) -> None:
    source, _, places, source_type = made
    plan = rank(said.engine_source(source), plain_places.openings(places), source_type)
    assert in_plain_words(plan) == naive_plan(source, places, source_type, None)


@at_most(400)
@given(cases)
def test_what_needs_less_change_of_the_running_source_comes_first(made: Case) -> None:
    source, own, places, source_type = made
    plan = rank_adjusting(
        said.engine_source(source), said.engine_metadata(own), plain_places.openings(places), source_type
    )
    assert in_plain_words(plan) == naive_plan(source, places, source_type, own)


@at_most(150)
@given(cases, st.integers(0, 2**32))
def test_no_order_of_the_places_matters(made: Case, seed: int) -> None:
    source, own, places, source_type = made
    asked, mine, openings = said.engine_source(source), said.engine_metadata(own), plain_places.openings(places)
    shuffled = Random(seed).sample(openings, len(openings))
    assert rank_adjusting(asked, mine, shuffled, source_type) == rank_adjusting(asked, mine, openings, source_type)


@pytest.mark.parametrize("at", range(9))
def test_every_criterion_decides_among_what_is_tried(at: int) -> None:
    """Where two candidates are equal in all that weighs more."""

    def has(made: Case) -> bool:
        source, own, places, source_type = made
        orders = []
        for place in places:
            way = naive_adjustment.adjustment(source, own, place["destination"])
            if way is not None and place["free"] > 0:
                answer = said.judged(naive_adjustment.adjusted(source, way), place["destination"], place["values"])
                orders.append((len(way), *naive.order(place, len(answer.writes), source_type)))
        return any(one[:at] == other[:at] and one[at] != other[at] for one in orders for other in orders)

    assert reached(case, has, LENGTH)
