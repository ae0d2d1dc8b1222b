"""The plan beside a naive sort by the criteria of the text, on small sets of openings."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mdev_api.engine.openings import Opening, Plan
from mdev_api.engine.plan import rank
from mdev_api.migration_info import parse_destination, parse_source
from tests.unit.oracle import naive, naive_reading, said, worlds
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.tape import Tape, between, from_tape

TYPES = ["gfx-4GB", "gfx-8GB", "gfx-varGB"]


def opening(
    random: Random, profile: int, destination: dict[str, Any], listed: dict[str, naive.Value]
) -> dict[str, Any]:
    """One place of this profile, as plain data: an idle instance half of the time, and often right already."""
    right = random.random() < 0.5
    values = {}
    for name, d in destination["params"].items():
        wanted = listed.get(name, d["off"])
        values[name] = (
            wanted if right and wanted is not None else random.choice([d["init"], d["init"], d["off"] or d["init"]])
        )
    idle = random.random() < 0.5
    return {
        "node": random.choice(["node-a", "node-b"]),
        "parent": random.choice(["0000:00:01.0", "0000:00:02.0"]),
        "type": random.choice(TYPES),
        "profile": f"profile-{profile}",
        "destination": destination,
        "free": random.choice([0, 1, 1, 1] if idle else [-1, 0, 1, 2, 3]),
        "instance": random.choice(["a", "b", "c"]) if idle else None,
        "slot": None,
        "values": said.texts(values) if idle else None,
        "suspect": random.random() < 0.1,
    }


def key(place: dict[str, Any] | Opening) -> tuple[Any, ...]:
    names = ("node", "parent", "type", "profile", "instance")
    return tuple(place[name] if isinstance(place, dict) else getattr(place, name) for name in names)


def naive_plan(
    source: dict[str, Any], places: list[dict[str, Any]], source_type: str | None
) -> tuple[list[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """The keys and writes of the candidates, best first; the rest as (key, findings, lacks room only)."""
    candidates, rejected = [], set()
    for place in places:
        answer = said.judged(source, place["destination"], place["values"])
        if answer.verdict != "Compatible":
            rejected.add((key(place), answer.findings, False))
        elif place["free"] < 1:
            rejected.add((key(place), frozenset(), True))
        else:
            candidates.append((naive.order(place, len(answer.writes), source_type), key(place), answer.writes))
    return [(which, writes) for _, which, writes in sorted(candidates, key=lambda entry: entry[0])], rejected


def in_plain_words(plan: Plan) -> tuple[list[tuple[Any, ...]], set[tuple[Any, ...]]]:
    return (
        [(key(one.opening), [(w.parameter, w.value) for w in one.answer.writes]) for one in plan.candidates],
        {
            (key(one.opening), frozenset((str(r.code), r.parameter) for r in one.reasons), one.no_capacity)
            for one in plan.rejections
        },
    )


def source_and_destinations(tape: Tape) -> tuple[str, list[str]]:
    source = worlds.sources(tape)
    count = between(tape, 1, 3)
    return worlds.written(source), [worlds.written(worlds.destinations(tape, source)) for _ in range(count)]


@at_most(500)
@given(from_tape(source_and_destinations), st.sampled_from([None, *TYPES]), st.integers(0, 2**32), st.integers(1, 8))
def test_openings_are_ranked_as_a_naive_sort_by_the_text_ranks_them(
    documents: tuple[str, list[str]], source_type: str | None, seed: int, count: int
) -> None:
    text, profiles = documents
    random = Random(seed)
    source = naive_reading.read_source(text)
    asked = parse_source(text.encode()).source
    assert source is not None
    metadata = [parse_destination(profile.encode()).metadata_for(asked.model) for profile in profiles]
    read = [naive_reading.read_destination(profile, source["model"]) for profile in profiles]
    listed = naive.parameter_list(source)
    chosen = [random.randrange(len(profiles)) for _ in range(count)]
    distinct = {key(place): place for place in (opening(random, n, read[n] or {}, listed) for n in chosen)}
    places = list(distinct.values())
    openings = [
        Opening(
            metadata=metadata[int(place["profile"].removeprefix("profile-"))],
            **{name: value for name, value in place.items() if name != "destination"},
        )
        for place in places
    ]
    plan = rank(asked, openings, source_type)
    assert in_plain_words(plan) == naive_plan(source, places, source_type)
    random.shuffle(openings)
    assert rank(asked, openings, source_type) == plan
