"""Write strategies: which writes are made, in which order, and that they lead where they should."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mdev_api.engine.metadata import Metadata, Source, Verdict, Write, WriteStrategy
from mdev_api.engine.verdict import compare, initial_values
from mdev_api.engine.writing import off_values, writes_to
from tests.unit.engine.build import has, offer, source, takes
from tests.unit.engine.strategies import own_instances

THREE = offer(takes("a", "1", off="0"), takes("b", "2", off="0"), takes("c", "3"))
OFF_FIRST = replace(THREE, write_strategy=WriteStrategy.OFF_FIRST)


def shown(writes: tuple[Write, ...]) -> str:
    return " ".join(f"{w.parameter}={w.value}" for w in writes)


def test_direct_writes_what_differs_once() -> None:
    assert shown(writes_to(THREE, {"a": "0", "b": "2", "c": "4"}, {"a": "1", "b": "2", "c": "3"})) == "a=0 c=4"


def test_off_first_switches_everything_off_and_then_writes_the_list() -> None:
    assert shown(writes_to(OFF_FIRST, {"a": "5", "b": "2", "c": "4"}, initial_values(THREE))) == "a=0 b=0 a=5 b=2 c=4"


def test_what_is_to_be_off_or_is_off_already_is_written_once_at_most() -> None:
    assert shown(writes_to(OFF_FIRST, {"a": "0", "b": "5", "c": "3"}, {"a": "1", "b": "0", "c": "3"})) == "a=0 b=5"


def test_a_device_that_is_right_is_not_touched() -> None:
    assert writes_to(OFF_FIRST, initial_values(THREE), initial_values(THREE)) == ()


def test_a_value_that_was_not_read_is_written() -> None:
    assert shown(writes_to(THREE, {"a": "1"}, {})) == "a=1"


def test_an_off_value_that_the_device_would_refuse_is_not_written() -> None:
    metadata = replace(offer(takes("a", "1", "1", "2", off="0")), write_strategy=WriteStrategy.OFF_FIRST)
    assert off_values(metadata) == {}


def test_a_listed_parameter_whose_off_value_is_not_allowed_is_written_once_and_not_switched_off() -> None:
    there = replace(
        offer(takes("a", "1", "1", "2", off="0"), takes("b", "2", off="0")), write_strategy=WriteStrategy.OFF_FIRST
    )
    answer = compare(source(has("a", "2", off="0"), has("b", "5", off="0")), there)
    assert (answer.verdict, shown(answer.writes)) == (Verdict.COMPATIBLE, "b=0 a=2 b=5")


def test_compare_counts_the_writes_of_the_strategy() -> None:
    wanted = source(has("a", "5", off="0"), has("b", "2", off="0"), has("c", "3"))
    assert shown(compare(wanted, THREE).writes) == "a=5"
    assert shown(compare(wanted, OFF_FIRST).writes) == "a=0 b=0 a=5 b=2"


@given(own_instances(), st.sampled_from(WriteStrategy))
def test_carried_out_in_order_the_writes_give_exactly_the_desired_values(
    running_and_own: tuple[Source, Metadata], strategy: WriteStrategy
) -> None:
    running, own = running_and_own
    there = replace(own, write_strategy=strategy)
    answer, now = compare(running, there), initial_values(there)
    if answer.verdict is not Verdict.COMPATIBLE:
        return
    for write in answer.writes:
        now[write.parameter] = write.value
    assert {name: now.get(name) for name in answer.desired} == answer.desired
