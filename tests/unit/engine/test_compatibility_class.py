"""Sources of one class have the same destinations, and only what a verdict looks at tells classes apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine.compatibility_class import class_of, compatibility_class, representative
from mdev_api.engine.metadata import Metadata, Source, SourceParameter, ValueType
from mdev_api.engine.verdict import compare
from mdev_api.hashing import content_hash
from tests.unit.engine.strategies import VALUES, metadata, same_model_pairs, sources

GPU = Source(
    model="com.gfx/GPU",
    parameters=(
        SourceParameter(name="memory", type=ValueType.INT, value="8192"),
        SourceParameter(name="ecc", type=ValueType.BOOL, value="off", off="off"),
    ),
)


@st.composite
def two_of_one_class(draw: st.DrawFn) -> tuple[Source, Source]:
    """Two sources whose class is the same, however unlike they are in what a class does not hold."""
    source = draw(sources(faults=False))
    parameters = []
    for parameter in draw(st.permutations(source.parameters)):
        assert parameter.type is not None
        listed = parameter.value != parameter.off
        other_off = st.sampled_from([v for v in VALUES[parameter.type] if v != parameter.value])
        parameters.append(replace(parameter, off=draw(st.none() | other_off)) if listed else parameter)
    return source, replace(source, parameters=tuple(parameters))


@settings(deadline=None)
@given(two_of_one_class(), metadata())
def test_two_sources_of_one_class_have_the_same_verdict_against_any_destination(
    pair: tuple[Source, Source], offer: Metadata
) -> None:
    one, other = pair
    assert class_of(one) == class_of(other) is not None
    assert compare(one, offer) == compare(other, offer)


@settings(deadline=None)
@given(st.lists(sources(), min_size=2, max_size=8), st.lists(metadata(), min_size=1, max_size=4))
def test_whatever_two_sources_are_an_equal_class_means_equal_answers(
    several: list[Source], offers: list[Metadata]
) -> None:
    first: dict[str, Source] = {}
    for source in several:
        name = class_of(source)
        if name is None:
            continue
        alike = first.setdefault(name, source)
        assert [compare(source, offer) for offer in offers] == [compare(alike, offer) for offer in offers]


@settings(deadline=None)
@given(same_model_pairs() | st.tuples(sources(), metadata()))
def test_the_representative_of_a_class_stands_for_its_sources(pair: tuple[Source, Metadata]) -> None:
    source, offer = pair
    found = compatibility_class(source)
    if found is not None:
        stands = representative(found)
        assert compatibility_class(stands) == found
        assert compare(stands, offer) == compare(source, offer)


def test_the_name_is_the_hash_of_model_and_parameters_sorted_by_name() -> None:
    content = ["com.gfx/GPU", ["ecc", "bool", False, "off"], ["memory", "int", True, "8192"]]
    assert class_of(GPU) == f"c-{content_hash(content)}"


def test_the_order_of_definition_does_not_matter() -> None:
    assert class_of(GPU) == class_of(replace(GPU, parameters=GPU.parameters[::-1]))


@pytest.mark.parametrize(
    "changed",
    [
        {"value": "4096"},
        {"type": ValueType.STR},
        {"name": "other"},
        {"off": "8192"},
    ],
    ids=lambda changed: str(next(iter(changed))),
)
def test_another_value_type_name_or_being_listed_is_another_class(changed: dict[str, str]) -> None:
    memory, ecc = GPU.parameters
    assert class_of(replace(GPU, parameters=(replace(memory, **changed), ecc))) != class_of(GPU)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source",
    [
        replace(GPU, model=None),
        replace(GPU, fault="broken"),
        replace(GPU, parameters=(SourceParameter(name="a", type=ValueType.INT, value=None, unreadable="EIO"),)),
        replace(GPU, parameters=(SourceParameter(name="a", type=ValueType.INT, value=None, fault="broken"),)),
    ],
    ids=["NoModel", "SchemaError", "Unreadable", "SchemaError of a parameter"],
)
def test_a_source_that_cannot_be_judged_has_no_class(source: Source) -> None:
    assert class_of(source) is None
