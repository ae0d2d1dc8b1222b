"""What holds for every source and every offer."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine.metadata import Allowed, Metadata, Source, Verdict
from mdev_api.engine.verdict import compare, initial_values, verdict_of
from tests.unit.engine.strategies import VALUES, metadata, own_instances, same_model_pairs, sources

WORSE = {Verdict.COMPATIBLE: 0, Verdict.UNKNOWN: 1, Verdict.INCOMPATIBLE: 2}
PAIRS = same_model_pairs() | st.tuples(sources(), metadata())


@settings(deadline=None)
@given(own_instances())
def test_an_instance_can_move_to_its_own_offer(pair: tuple[Source, Metadata]) -> None:
    source, offer = pair
    answer = compare(source, offer)
    assert answer.verdict is Verdict.COMPATIBLE
    assert answer.desired == {p.name: p.value for p in source.parameters}


@settings(deadline=None)
@given(PAIRS, st.data())
def test_one_more_allowed_value_never_makes_it_worse(pair: tuple[Source, Metadata], data: st.DataObject) -> None:
    source, offer = pair
    before = compare(source, offer)
    parameters = list(offer.parameters)
    for position, parameter in enumerate(parameters):
        if parameter.allowed is not None and parameter.type is not None:
            more = data.draw(st.frozensets(st.sampled_from(VALUES[parameter.type])))
            wider = Allowed(texts=parameter.allowed.texts | more, ranges=parameter.allowed.ranges)
            parameters[position] = replace(parameter, allowed=data.draw(st.sampled_from([wider, None])))
    after = compare(source, replace(offer, parameters=tuple(parameters)))
    assert WORSE[after.verdict] <= WORSE[before.verdict]
    assert set(after.reasons) <= set(before.reasons)


@settings(deadline=None)
@given(PAIRS, st.data())
def test_no_order_of_input_matters(pair: tuple[Source, Metadata], data: st.DataObject) -> None:
    source, offer = pair
    shuffled_source = replace(source, parameters=tuple(data.draw(st.permutations(source.parameters))))
    shuffled_offer = replace(offer, parameters=tuple(data.draw(st.permutations(offer.parameters))))
    one, other = compare(source, offer), compare(shuffled_source, shuffled_offer)
    assert replace(one, writes=()) == replace(other, writes=())
    assert [(r.code, r.parameter, r.message) for r in one.reasons] == [
        (r.code, r.parameter, r.message) for r in other.reasons
    ]
    assert list(one.parameter_list) == list(other.parameter_list)
    assert set(one.writes) == set(other.writes)
    position = {p.name: n for n, p in enumerate(shuffled_offer.parameters)}
    assert [w.parameter for w in other.writes] == sorted((w.parameter for w in other.writes), key=position.__getitem__)


@settings(deadline=None)
@given(same_model_pairs(), st.data())
def test_the_writes_turn_any_instance_into_exactly_what_is_desired(
    pair: tuple[Source, Metadata], data: st.DataObject
) -> None:
    source, offer = pair
    fresh = initial_values(offer)
    used = {p.name: data.draw(st.sampled_from(VALUES[p.type])) for p in offer.parameters if p.type is not None}
    for current, given_current in ((fresh, None), (used, used)):
        answer = compare(source, offer, given_current)
        after = {**current, **{write.parameter: write.value for write in answer.writes}}
        assert answer.verdict is not Verdict.COMPATIBLE or after == answer.desired
        assert len({write.parameter for write in answer.writes}) == len(answer.writes)
        assert all(current[write.parameter] != write.value for write in answer.writes)


@settings(deadline=None)
@given(same_model_pairs())
def test_what_the_guest_sees_is_reproduced(pair: tuple[Source, Metadata]) -> None:
    source, offer = pair
    answer = compare(source, offer)
    if answer.verdict is not Verdict.COMPATIBLE:
        return
    here = {p.name: p for p in source.parameters}
    for parameter in offer.parameters:
        seen = here[parameter.name].value if parameter.name in here else parameter.off
        assert answer.desired[parameter.name] == seen
    for name in here.keys() - answer.desired.keys():
        assert here[name].value == here[name].off


@settings(deadline=None)
@given(PAIRS)
def test_reasons_are_unique_and_make_the_verdict(pair: tuple[Source, Metadata]) -> None:
    answer = compare(*pair)
    assert len(set(answer.reasons)) == len(answer.reasons)
    assert verdict_of(answer.reasons) is answer.verdict
    assert answer.verdict is Verdict.COMPATIBLE or (answer.desired, answer.writes) == ({}, ())


@settings(deadline=None)
@given(st.tuples(sources(), metadata()))
def test_no_model_and_another_model_stand_alone(pair: tuple[Source, Metadata]) -> None:
    codes = [str(reason.code) for reason in compare(*pair).reasons]
    assert codes in (["NoModel"], ["ModelMismatch"]) or not {"NoModel", "ModelMismatch"} & set(codes)
