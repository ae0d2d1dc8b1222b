"""Faults, staleness and several models at once: what silences what, beside the naive reading."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.unit.oracle import naive, plain_worlds, said, worlds
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.naive_reading import Object
from tests.unit.oracle.tape import Tape, between, chance, from_tape, one_of, reached, some_of

Case = tuple[dict[str, Any], dict[str, Any], bool]


def case(tape: Tape) -> Case:
    """A source and a destination, mostly with a fault, and whether what is known of them may be out of date."""
    there = plain_worlds.destination(tape)
    source = plain_worlds.source_near(tape, there)
    if chance(tape, 15):
        source["unknown_version"] = True
    return plain_worlds.with_faults(tape, source), plain_worlds.with_faults(tape, there), chance(tape, 35)


cases = from_tape(case)


@at_most(2500)
@given(cases)
def test_every_mixture_of_faults_is_judged_alike(made: Case) -> None:
    source, there, stale = made
    answer = said.asked(said.engine_source(source), said.engine_metadata(there), stale=stale)
    assert answer == said.judged(source, there, stale=stale)


@at_most(300)
@given(cases)
def test_what_is_out_of_date_is_never_compatible_and_adds_one_reason_at_most(made: Case) -> None:
    source, there = said.engine_source(made[0]), said.engine_metadata(made[1])
    fresh, stale = said.asked(source, there), said.asked(source, there, stale=True)
    assert stale.findings - fresh.findings <= {("Stale", None)} and fresh.findings <= stale.findings
    assert stale.verdict != "Compatible" and (stale.verdict == "Incompatible") == (fresh.verdict == "Incompatible")
    assert stale.writes == []


@pytest.mark.parametrize("code", sorted({*naive.INCOMPATIBLE, "Stale", "NoModel", "SchemaError", "Unreadable"}))
def test_every_finding_is_among_the_mixtures(code: str) -> None:
    assert reached(case, lambda made: code in {c for c, _ in naive.findings(*made)})


@pytest.mark.parametrize("other", ["SchemaError", "Unreadable", "UnknownVersion", "ValueNotAllowed"])
def test_stale_is_tried_beside_what_does_not_silence_it(other: str) -> None:
    assert reached(case, lambda made: {"Stale", other} <= {c for c, _ in naive.findings(*made)})


def several_models(tape: Tape) -> tuple[Object, Any]:
    """A destination with two or three models near one source, in any order, some with faults."""
    source = worlds.sources(tape)
    names = some_of(tape, [*worlds.MODELS[:3], one_of(tape, worlds.BAD_MODELS)], 2, 3)
    models = Object((name, Object([("params", worlds.parameters_near(tape, source))])) for name in names)
    document: Any = Object([("models", models)])
    for _ in range(between(tape, 0, 2)):
        document = worlds.spoiled(tape, document) if isinstance(document, Object) else document
    return source, document


@at_most(800)
@given(from_tape(several_models))
def test_of_several_models_only_the_one_that_is_meant_counts(pair: tuple[Object, Any]) -> None:
    source, destination = map(worlds.written, pair)
    assert said.by_engine(source, destination) == said.by_oracle(source, destination)
