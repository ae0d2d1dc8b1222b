"""Every rule of a verdict, alone and where rules meet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mdev_api.engine.metadata import Metadata, Parameter, Source, SourceParameter, Verdict, Write
from mdev_api.engine.verdict import compare
from tests.unit.engine.build import BOOL, INT, STR, broken, found, has, offer, source, takes

COMPATIBLE, INCOMPATIBLE, UNKNOWN = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN
FAULTY = SourceParameter(name="p", type=None, value=None, fault="bad")

CASES: dict[str, tuple[Source, Metadata, Verdict, list[tuple[str, str | None]]]] = {
    "same values": (source(has("p", "4")), offer(takes("p", "4", "4")), COMPATIBLE, []),
    "models without parameters": (source(), offer(), COMPATIBLE, []),
    "other model": (source(model="m"), offer(model="M"), INCOMPATIBLE, [("ModelMismatch", None)]),
    "parameters of another model mean nothing": (
        source(has("p", None), has("q", "1"), FAULTY),
        Metadata(model="n", parameters=(broken("q"), takes("r", "1")), fault="bad"),
        INCOMPATIBLE,
        [("ModelMismatch", None)],
    ),
    "source names no model": (source(has("p", None), model=None), offer(broken("q")), UNKNOWN, [("NoModel", None)]),
    "destination names no model": (
        source(has("p", None)),
        offer(broken("q"), model=None),
        UNKNOWN,
        [("NoModel", None)],
    ),
    "neither names a model": (source(model=None), offer(model=None), UNKNOWN, [("NoModel", None)]),
    "no model at the source silences a fault of the destination": (
        source(model=None),
        Metadata(model=None, fault="bad"),
        UNKNOWN,
        [("NoModel", None)],
    ),
    "a model that could not be understood": (
        source(has("p", "1")),
        Metadata(model=None, fault="bad"),
        UNKNOWN,
        [("SchemaError", None)],
    ),
    "listed and not offered": (source(has("p", "1")), offer(), INCOMPATIBLE, [("UnknownParameter", "p")]),
    "at its off value and not offered": (source(has("p", "0", off="0")), offer(), COMPATIBLE, []),
    "listed, another type with the same text": (
        source(has("p", "1")),
        offer(takes("p", "1", "1", kind=STR)),
        INCOMPATIBLE,
        [("TypeMismatch", "p")],
    ),
    "another type silences the value": (
        source(has("p", "1")),
        offer(takes("p", "x", "x", kind=STR)),
        INCOMPATIBLE,
        [("TypeMismatch", "p")],
    ),
    "another type of a parameter that is off silences the off value": (
        source(has("p", "0", off="0")),
        offer(takes("p", "x", off="y", kind=STR)),
        INCOMPATIBLE,
        [("TypeMismatch", "p")],
    ),
    "another type does not silence that it cannot be disabled": (
        source(has("p", "0", off="0")),
        offer(takes("p", "x", kind=STR)),
        INCOMPATIBLE,
        [("TypeMismatch", "p"), ("CannotDisable", "p")],
    ),
    "another type does not silence an off value outside": (
        source(has("p", "0", off="0")),
        offer(takes("p", "x", "x", off="y", kind=STR)),
        INCOMPATIBLE,
        [("TypeMismatch", "p"), ("OffValueNotAllowed", "p")],
    ),
    "value outside": (source(has("p", "5")), offer(takes("p", "1", "1-4")), INCOMPATIBLE, [("ValueNotAllowed", "p")]),
    "value inside a range": (source(has("p", "4")), offer(takes("p", "1", "1-4")), COMPATIBLE, []),
    "not at the source and no off value": (source(), offer(takes("p", "1")), INCOMPATIBLE, [("CannotDisable", "p")]),
    "off at the source and no off value there": (
        source(has("p", "0", off="0")),
        offer(takes("p", "0")),
        INCOMPATIBLE,
        [("CannotDisable", "p")],
    ),
    "off value needed and outside": (
        source(),
        offer(takes("p", "1", "1", off="0")),
        INCOMPATIBLE,
        [("OffValueNotAllowed", "p")],
    ),
    "off value outside and not needed": (source(has("p", "1")), offer(takes("p", "1", "1", off="0")), COMPATIBLE, []),
    "off values differ": (
        source(has("p", "0", off="0")),
        offer(takes("p", "1", off="1")),
        INCOMPATIBLE,
        [("OffValueMismatch", "p")],
    ),
    "off values differ and the other is outside": (
        source(has("p", "0", off="0")),
        offer(takes("p", "2", "2", off="1")),
        INCOMPATIBLE,
        [("OffValueNotAllowed", "p"), ("OffValueMismatch", "p")],
    ),
    "off values differ for a listed parameter": (
        source(has("p", "3", off="0")),
        offer(takes("p", "1", off="1")),
        COMPATIBLE,
        [],
    ),
    "a listed value that is the other's off value": (
        source(has("p", "1", off="0")),
        offer(takes("p", "2", off="1")),
        COMPATIBLE,
        [],
    ),
    "unreadable": (source(has("p", None)), offer(takes("p", "1")), UNKNOWN, [("Unreadable", "p")]),
    "unreadable and not offered": (source(has("p", None)), offer(), UNKNOWN, [("Unreadable", "p")]),
    "unreadable with an off value that differs and is outside": (
        source(has("p", None, off="0")),
        offer(takes("p", "1", "1", off="2")),
        UNKNOWN,
        [("Unreadable", "p")],
    ),
    "unreadable of another type": (
        source(has("p", None)),
        offer(takes("p", "x", kind=STR)),
        INCOMPATIBLE,
        [("TypeMismatch", "p"), ("Unreadable", "p")],
    ),
    "a faulty parameter there takes no part": (
        source(has("p", "1")),
        offer(broken("p")),
        UNKNOWN,
        [("SchemaError", "p")],
    ),
    "a faulty parameter there that the source does not have": (
        source(),
        offer(broken("p")),
        UNKNOWN,
        [("SchemaError", "p")],
    ),
    "a faulty parameter there, unreadable here": (
        source(has("p", None)),
        offer(broken("p")),
        UNKNOWN,
        [("Unreadable", "p"), ("SchemaError", "p")],
    ),
    "a faulty parameter here takes no part": (source(FAULTY), offer(takes("p", "1")), UNKNOWN, [("SchemaError", "p")]),
    "a faulty parameter here that is not offered": (source(FAULTY), offer(), UNKNOWN, [("SchemaError", "p")]),
    "faulty on both sides is one finding": (source(FAULTY), offer(broken("p")), UNKNOWN, [("SchemaError", "p")]),
    "other findings count beside a fault": (
        source(has("q", "9")),
        offer(broken("p"), takes("q", "1", "1")),
        INCOMPATIBLE,
        [("ValueNotAllowed", "q"), ("SchemaError", "p")],
    ),
    "a fault of the whole beside findings and faults of parameters": (
        source(has("q", "9")),
        Metadata(model="m", parameters=(broken("p"), takes("q", "1", "1")), fault="bad"),
        INCOMPATIBLE,
        [("ValueNotAllowed", "q"), ("SchemaError", None), ("SchemaError", "p")],
    ),
    "a fault of the whole that hides no definition": (
        source(has("q", "9")),
        Metadata(model="m", fault="bad"),
        INCOMPATIBLE,
        [("UnknownParameter", "q"), ("SchemaError", None)],
    ),
    "a fault of the whole that hides the definitions": (
        source(has("q", "9"), has("r", None)),
        Metadata(model="m", fault="bad", parameters_known=False),
        UNKNOWN,
        [("Unreadable", "r"), ("SchemaError", None)],
    ),
    "a fault of the source as a whole": (Source(model="m", fault="bad"), offer(), UNKNOWN, [("SchemaError", None)]),
    "a source whose model could not be understood": (
        Source(model=None, fault="bad"),
        offer(),
        UNKNOWN,
        [("SchemaError", None)],
    ),
    "every finding, not the first": (
        source(has("a", "1"), has("b", "on", kind=BOOL), has("c", "7"), has("d", "0", off="0"), has("e", None)),
        offer(
            takes("b", "1"),
            takes("c", "1", "1"),
            takes("d", "1", off="1"),
            takes("f", "1"),
            takes("g", "1", "1", off="0"),
        ),
        INCOMPATIBLE,
        [
            ("UnknownParameter", "a"),
            ("TypeMismatch", "b"),
            ("ValueNotAllowed", "c"),
            ("CannotDisable", "f"),
            ("OffValueNotAllowed", "g"),
            ("OffValueMismatch", "d"),
            ("Unreadable", "e"),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_has_exactly_these_findings(case: str) -> None:
    here, there, verdict, reasons = CASES[case]
    answer = compare(here, there)
    assert (answer.verdict, found(answer)) == (verdict, reasons)


@pytest.mark.parametrize("case", CASES)
def test_every_finding_is_told_in_a_sentence(case: str) -> None:
    here, there, _, _ = CASES[case]
    assert all(len(reason.message) > 10 and reason.message.isprintable() for reason in compare(here, there).reasons)


def test_the_list_has_what_has_no_off_value_or_differs_from_it() -> None:
    here = source(has("z", "1"), has("b", "1", off="0"), has("off", "0", off="0"), has("lost", None), FAULTY)
    assert list(compare(here, offer()).parameter_list.items()) == [("b", "1"), ("z", "1")]


@pytest.mark.parametrize("there", [offer(model=None), offer(model="n"), offer(broken("p")), offer(takes("q", "1"))])
def test_the_list_comes_from_the_source_alone(there: Metadata) -> None:
    assert compare(source(has("p", "1")), there).parameter_list == {"p": "1"}


@pytest.mark.parametrize(
    "there", [offer(model=None), offer(model="n"), offer(broken("p")), offer(takes("p", "1", "1"))]
)
def test_nothing_is_desired_or_written_unless_compatible(there: Metadata) -> None:
    answer = compare(source(has("p", "2")), there)
    assert (answer.desired, answer.writes) == ({}, ())


def test_each_parameter_is_desired_at_its_list_value_else_off() -> None:
    there = offer(takes("z", "9"), takes("a", "1", off="0"), takes("b", "1", off="0"))
    assert compare(source(has("z", "2"), has("b", "5", off="0")), there).desired == {"z": "2", "a": "0", "b": "5"}


def test_only_what_differs_is_written_in_the_order_of_definition() -> None:
    there = offer(takes("z", "9"), takes("same", "4"), takes("a", "1", off="0"))
    answer = compare(source(has("same", "4"), has("z", "2")), there)
    assert answer.writes == (Write(parameter="z", value="2"), Write(parameter="a", value="0"))


def test_an_idle_instance_is_written_where_its_own_values_differ() -> None:
    there = offer(takes("p", "1"), takes("q", "1"))
    answer = compare(source(has("p", "2"), has("q", "1")), there, current={"p": "2", "q": "3"})
    assert answer.writes == (Write(parameter="q", value="1"),)


def test_a_parameter_that_was_not_read_at_the_destination_is_written() -> None:
    assert compare(source(has("p", "1")), offer(takes("p", "1")), current={}).writes == (
        Write(parameter="p", value="1"),
    )


def test_compatibility_is_not_symmetric() -> None:
    old, new = offer(), offer(takes("feature", "on", off="off", kind=BOOL))
    with_feature_on = source(has("feature", "on", off="off", kind=BOOL))
    assert compare(source(), new).verdict is COMPATIBLE
    assert compare(with_feature_on, old).verdict is INCOMPATIBLE


def test_the_value_and_what_is_allowed_stand_in_the_message() -> None:
    reason = compare(source(has("memory", "8192")), offer(takes("memory", "4096", "4096", "1024-2048"))).reasons[0]
    assert reason.message == "the source has 8192; the destination allows 4096, 1024-2048"


def test_a_long_list_of_allowed_values_is_cut_in_the_message() -> None:
    there = offer(takes("p", "1", *(str(n) for n in range(1, 12, 2)), "20-30", f"40-{'9' * 4000}"))
    assert compare(source(has("p", "2")), there).reasons[0].message.endswith("1, 3, 5, 7, 9, 11 and 2 more")


def test_both_faults_of_a_parameter_are_in_its_one_reason() -> None:
    message = compare(source(FAULTY), offer(broken("p"))).reasons[0].message
    assert message == "destination: the member type is missing; source: bad"


def test_text_that_looks_alike_is_another_model() -> None:
    assert found(compare(source(model="caf\u00e9"), offer(model="cafe\u0301"))) == [("ModelMismatch", None)]


def test_a_verdict_does_not_depend_on_what_the_instance_has_now() -> None:
    here, there = source(has("p", "5")), offer(takes("p", "1", "1"))
    assert replace(compare(here, there, current={"p": "5"}), writes=()) == compare(here, there)


def test_the_document_s_own_example_turns_the_new_feature_off() -> None:
    there = offer(
        takes("new-feature", "on", off="off", kind=BOOL),
        Parameter(name="num-resources", type=INT, init="64", allowed=takes("x", "64", "64").allowed),
    )
    answer = compare(source(has("num-resources", "64")), there)
    assert (answer.verdict, answer.writes) == (COMPATIBLE, (Write(parameter="new-feature", value="off"),))
