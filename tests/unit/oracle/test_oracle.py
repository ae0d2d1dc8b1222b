"""The engine beside a naive second implementation of the same text: the same answer, thousands of times."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.engine.metadata import Verdict
from tests.unit.oracle import naive, naive_reading, said, worlds
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.tape import reached

REACHED = [*sorted(naive.INCOMPATIBLE - {"UnknownVersion"}), "NoModel", "SchemaError", "Unreadable"]
BROKEN = {"type": None, "value": None, "init": None, "off": None, "allowed": None, "broken": True}

seeds = st.integers(0, 2**32)


def held(source: str, destination: str, seed: int) -> dict[str, str]:
    """Values that an instance of this destination may hold; some were not read."""
    random = Random(seed)
    read = naive_reading.read_source(source)
    other = naive_reading.read_destination(destination, read["model"]) if read is not None else None
    if read is None or other is None:
        return {}
    listed = naive.parameter_list(read)
    values = {}
    for name, d in other["params"].items():
        value = random.choice([d["init"], d["off"], listed.get(name), listed.get(name), None])
        if value is not None:
            values[name] = naive.text(value)
    return values


@at_most(3000)
@given(worlds.pairs, seeds)
def test_the_engine_says_what_a_naive_reading_of_the_text_says(pair: tuple[Any, Any], seed: int) -> None:
    source, destination = map(worlds.written, pair)
    current = held(source, destination, seed) if seed % 2 else None
    assert said.by_engine(source, destination, current) == said.by_oracle(source, destination, current)


@at_most(800)
@given(worlds.sound_pairs, seeds)
def test_faults_that_only_the_cluster_knows_are_judged_alike(pair: tuple[Any, Any], seed: int) -> None:
    """A source's own faults, and definitions that a fault hides: no file can bring the former before the engine."""
    random = Random(seed)
    source = naive_reading.read_source(worlds.written(pair[0]))
    assert source is not None
    destination = naive_reading.read_destination(worlds.written(pair[1]), source["model"])
    assert destination is not None
    for side in (source, destination):
        side["params"] = {name: p if random.random() < 0.8 else BROKEN for name, p in side["params"].items()}
        if random.random() < 0.2:
            side["broken"] = True
            side["model"] = random.choice([None, side["model"]])
    if destination["broken"] and (destination["model"] is None or random.random() < 0.5):
        destination |= {"hidden": True, "params": {}}
    answer = said.asked(said.engine_source(source), said.engine_metadata(destination))
    assert answer == said.judged(source, destination)


@pytest.mark.parametrize("code", REACHED)
def test_every_finding_is_among_what_is_tried(code: str) -> None:
    def has(pair: tuple[Any, Any]) -> bool:
        answer = said.by_oracle(*map(worlds.written, pair))
        return answer is not None and code in {found for found, _ in answer.findings}

    assert reached(worlds.pair_of, has)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_is_among_what_is_tried(verdict: Verdict) -> None:
    def has(pair: tuple[Any, Any]) -> bool:
        answer = said.by_oracle(*map(worlds.written, pair))
        return answer is not None and answer.verdict == verdict and len(answer.parameter_list) > 1

    assert reached(worlds.pair_of, has)
