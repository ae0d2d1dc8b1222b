"""What must hold for every source and destination, whatever the rules in detail say."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.oracle import naive, naive_reading, said, worlds
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.naive_reading import Number, Object

WORSE = ["Compatible", "Unknown", "Incompatible"]

seeds = st.integers(0, 2**32)


def definitions(document: Object) -> Object:
    """The parameters of the first model of a sound destination."""
    [models] = document.all("models")
    assume(models)
    [params] = models[0][1].all("params")
    return Object(params)


def single_values(body: Object) -> list[Any]:
    """Allowed values of a sound definition, as JSON writes them."""
    [kind] = body.all("type")
    for allowed in body.all("allowed_values"):
        singles = [item for item in allowed if kind != "int" or isinstance(item, Number)]
        return singles or body.all("init_value")
    return worlds.GOOD[str(kind)]


@at_most(400)
@given(worlds.sound_pairs, seeds)
def test_a_source_can_move_to_what_it_was_made_from(pair: tuple[Object, Object], seed: int) -> None:
    """Whichever of the allowed values it holds."""
    random = Random(seed)
    params = Object()
    for name, body in definitions(pair[1]):
        value = random.choice(single_values(body) + body.all("init_value"))
        params.append((name, Object([("value", value), *(item for item in body if item[0] in ("type", "off_value"))])))
    model = pair[1].all("models")[0][0][0]
    assume(naive_reading.is_model_name(model))
    answer = said.by_engine(worlds.written(Object([("model", model), ("params", params)])), worlds.written(pair[1]))
    assert answer is not None
    assert (answer.verdict, answer.findings) == ("Compatible", frozenset())


@at_most(400)
@given(worlds.sound_pairs)
def test_a_source_that_is_defined_as_a_destination_needs_no_write_there(pair: tuple[Object, Object]) -> None:
    [model], [params] = pair[0].all("model") or [None], pair[0].all("params")
    assume(model is not None and all(body.all("value") not in ([], [None]) for _, body in params))
    renamed = [
        (name, Object(("init_value" if key == "value" else key, value) for key, value in body)) for name, body in params
    ]
    destination = Object([("models", Object([(model, Object([("params", Object(renamed))]))]))])
    answer = said.by_engine(*map(worlds.written, (pair[0], destination)))
    assert answer is not None
    assert (answer.verdict, answer.writes) == ("Compatible", [])


@at_most(400)
@given(worlds.sound_pairs, seeds)
def test_one_more_allowed_value_never_makes_it_worse(pair: tuple[Object, Object], seed: int) -> None:
    random = Random(seed)
    source, narrow = pair
    wide = copy.deepcopy(narrow)
    bounded = [(name, body) for name, body in definitions(wide) if body.all("allowed_values")]
    assume(bounded)
    name, body = random.choice(bounded)
    [kind], [allowed] = body.all("type"), body.all("allowed_values")
    asked = [
        value
        for other, p in source.all("params")[0]
        if other == name and p.all("type") == [kind]
        for value in p.all("value")
    ]
    more = [*asked, *asked, *body.all("off_value"), *worlds.GOOD[kind], *(worlds.RANGES if kind == "int" else [])]
    allowed.insert(random.randint(0, len(allowed)), random.choice([value for value in more if value is not None]))
    before, after = (said.by_engine(worlds.written(source), worlds.written(each)) for each in (narrow, wide))
    assert before is not None and after is not None
    assert after.findings <= before.findings
    assert WORSE.index(after.verdict) <= WORSE.index(before.verdict)


@at_most(600)
@given(worlds.pairs, seeds)
def test_the_answer_depends_on_no_order_of_input(pair: tuple[Any, Any], seed: int) -> None:
    before = said.by_engine(*map(worlds.written, pair))
    after = said.by_engine(*(worlds.written(worlds.shuffled(document, Random(seed))) for document in pair))
    if before is None or after is None:
        assert before is after
        return
    assert (after.verdict, after.findings) == (before.verdict, before.findings)
    assert (after.parameter_list, after.desired) == (before.parameter_list, before.desired)
    assert sorted(after.writes) == sorted(before.writes)


@at_most(250)
@given(worlds.sound_pairs, seeds)
def test_the_writes_make_a_device_that_shows_what_the_source_shows(pair: tuple[Object, Object], seed: int) -> None:
    """Each of its parameters reads the same or stands at its off value where there is none; no other is on."""
    source = naive_reading.read_source(worlds.written(pair[0]))
    assert source is not None
    destination = naive_reading.read_destination(worlds.written(pair[1]), source["model"])
    assert destination is not None
    random = Random(seed)
    current = {
        name: naive.text(random.choice([value for value in (d["init"], d["off"]) if value is not None]))
        for name, d in destination["params"].items()
    }
    fresh = random.random() < 0.5
    held = said.texts(naive.init_values(destination)) if fresh else current
    answer = said.by_engine(*map(worlds.written, pair), None if fresh else current)
    assert answer is not None
    assume(answer.verdict == "Compatible")
    assert all(held[name] != value for name, value in answer.writes)
    made = held | dict(answer.writes)
    assert made == answer.desired
    shown = said.texts({name: p["off"] for name, p in source["params"].items()}) | made
    visible = said.texts({name: p["value"] for name, p in source["params"].items()})
    assert {name: shown[name] for name in source["params"]} == visible
    others = set(made) - set(source["params"])
    assert all(made[name] == naive.text(destination["params"][name]["off"]) for name in others)
