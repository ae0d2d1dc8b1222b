"""Which opening is best, criterion by criterion, and what the plan says about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine import plan as plan_module
from mdev_api.engine.metadata import Answer, Metadata, Parameter, Source
from mdev_api.engine.openings import Opening
from mdev_api.engine.plan import flexibility, rank
from tests.unit.engine.build import BOOL, STR, broken, has, offer, source, takes
from tests.unit.engine.strategies import metadata, same_model_pairs

GFX4 = offer(takes("memory", "4096", "4096"))
GFX8 = offer(takes("memory", "8192", "8192"))
VAR = offer(takes("memory", "1024", "1024", "2048", "4096", "8192"))
VAR_AT_4096 = offer(takes("memory", "4096", "1024", "2048", "4096", "8192"))
WRITABLE_GFX4 = offer(takes("memory", "4096", "4096", "8192"))
BY_TYPE = {"gfx-4GB": GFX4, "gfx-8GB": GFX8, "gfx-varGB": VAR, "var-at-4096": VAR_AT_4096, "gfx-4GB-rw": WRITABLE_GFX4}


def place(kind: str, node: str = "n1", *, free: int = 1, suspect: bool = False, parent: str = "p") -> Opening:
    """A new instance of a type."""
    shape = BY_TYPE[kind]
    return Opening(node=node, parent=parent, type=kind, profile=kind, metadata=shape, free=free, suspect=suspect)


def idle(kind: str, memory: str, node: str = "n1", *, free: int = 1) -> Opening:
    """An instance that is there already."""
    return replace(place(kind, node, free=free), instance=f"uuid-{memory}", values={"memory": memory})


def needs(memory: str) -> Source:
    return source(has("memory", memory))


@pytest.mark.parametrize(
    ("why", "memory", "better", "worse"),
    [
        (
            "an idle instance that is right beats a new one that is right",
            "4096",
            idle("gfx-varGB", "4096"),
            place("gfx-4GB"),
        ),
        (
            "a new one that is right beats an idle one to be written",
            "4096",
            place("gfx-4GB"),
            idle("gfx-varGB", "1024"),
        ),
        (
            "an idle one to be written beats a new one to be written",
            "4096",
            idle("gfx-varGB", "1024"),
            place("gfx-varGB"),
        ),
        ("gfx-8GB beats gfx-4GB written to 8192", "8192", place("gfx-8GB"), place("gfx-4GB-rw")),
        ("gfx-4GB beats gfx-varGB", "4096", place("gfx-4GB"), place("gfx-varGB")),
        ("the less flexible beats the one with more room", "4096", place("gfx-4GB"), place("var-at-4096", free=9)),
        ("the less flexible beats the same type", "4096", place("gfx-4GB"), place("var-at-4096")),
        ("more room beats the name", "4096", place("gfx-4GB", "n2", free=3), place("gfx-4GB", "n1", free=2)),
        ("the node's name decides last", "4096", place("gfx-4GB", "n1"), place("gfx-4GB", "n2")),
        (
            "the parent's name decides after the node's",
            "4096",
            place("gfx-4GB", parent="a"),
            place("gfx-4GB", parent="b"),
        ),
        ("a suspect profile comes last", "4096", place("gfx-varGB"), place("gfx-4GB", suspect=True)),
    ],
)
def test_the_choice_order(why: str, memory: str, better: Opening, worse: Opening) -> None:
    result = rank(needs(memory), [worse, better], source_type="var-at-4096")
    assert [c.opening for c in result.candidates] == [better, worse], why


def test_fewest_writes_come_before_idle() -> None:
    two = offer(takes("p", "1", "1-9"), takes("q", "1", "1-9"))
    one_write = Opening(node="n", parent="p", type="t", profile="x", metadata=two, free=1)
    two_writes = replace(one_write, instance="u", values={"p": "3", "q": "3"})
    best = rank(source(has("p", "1"), has("q", "2")), [two_writes, one_write]).candidates[0]
    assert best.opening == one_write


def test_of_equally_flexible_types_the_source_s_own_wins() -> None:
    other = replace(place("gfx-4GB", "n1", free=9), type="another")
    result = rank(needs("4096"), [other, place("gfx-4GB", "n2")], source_type="gfx-4GB")
    assert [c.opening.type for c in result.candidates] == ["gfx-4GB", "another"]


def test_without_a_source_type_no_type_is_preferred() -> None:
    other = replace(place("gfx-4GB", "n1", free=9), type="another")
    result = rank(needs("4096"), [place("gfx-4GB", "n2"), other])
    assert [c.opening.type for c in result.candidates] == ["another", "gfx-4GB"]


def test_an_opening_without_room_lacks_only_that() -> None:
    result = rank(needs("4096"), [place("gfx-4GB", free=0), idle("gfx-4GB", "4096", free=0)])
    assert result.candidates == ()
    assert [(r.reasons, r.no_capacity) for r in result.rejections] == [((), True), ((), True)]


def test_an_incompatible_opening_without_room_is_rejected_for_its_findings() -> None:
    rejection = rank(needs("8192"), [place("gfx-4GB", free=0)]).rejections[0]
    assert ([str(r.code) for r in rejection.reasons], rejection.no_capacity) == (["ValueNotAllowed"], False)


def test_an_unknown_opening_is_no_candidate() -> None:
    there = Opening(node="n", parent="p", type="t", profile="x", metadata=offer(broken("memory")), free=1)
    result = rank(needs("1"), [there])
    assert [[str(reason.code) for reason in r.reasons] for r in result.rejections] == [["SchemaError"]]
    assert result.candidates == ()


def test_an_idle_instance_is_written_from_its_own_values() -> None:
    answer = rank(needs("4096"), [idle("gfx-varGB", "2048")]).candidates[0].answer
    assert ([(w.parameter, w.value) for w in answer.writes], answer.desired) == (
        [("memory", "4096")],
        {"memory": "4096"},
    )


def test_a_plan_says_in_words_why_each_stands_where_it_does() -> None:
    openings = [
        idle("gfx-varGB", "4096"),
        place("gfx-4GB"),
        place("var-at-4096"),
        place("gfx-varGB"),
        place("gfx-varGB", "n2"),
    ]
    assert [c.why for c in rank(needs("4096"), openings).candidates] == [
        "the idle gfx-varGB uuid-4096 has the right values already; nothing ranks better, and the next one comes "
        "after it because it would have to be made",
        "a new gfx-4GB has the right values already; it ranks after the one before it because it would have to be made",
        "a new var-at-4096 has the right values already; it ranks after the one before it because its offer is more "
        "flexible and better kept for others",
        "a new gfx-varGB needs 1 write (memory); it ranks after the one before it because it needs more writes",
        "a new gfx-varGB needs 1 write (memory); it ranks after the one before it because of its name alone",
    ]


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ((), (0, 1)),
        ((takes("a", "1", "1", "2"), takes("b", "on", kind=BOOL)), (0, 4)),
        ((takes("a", "1", "1-10", "5", "8-12", "20"),), (0, 13)),
        ((takes("a", "1"), takes("b", "x", kind=STR), takes("c", "x", "x", "y", kind=STR)), (2, 2)),
        ((takes("a", "0", f"0-{'9' * 4000}"),), (0, 10**4000)),
        ((takes("a", "off", "off", kind=BOOL),), (0, 1)),
    ],
)
def test_flexibility_is_the_size_of_what_is_allowed(parameters: Sequence[Parameter], size: tuple[int, int]) -> None:
    assert flexibility(offer(*parameters)) == size


def test_a_huge_range_is_less_flexible_than_no_bound_at_all() -> None:
    assert flexibility(offer(takes("a", "0", f"0-{'9' * 4000}"))) < flexibility(offer(takes("a", "0")))


@st.composite
def openings_of(draw: st.DrawFn) -> tuple[Source, list[Opening]]:
    here, there = draw(same_model_pairs())
    shapes = [there, *draw(st.lists(metadata(), max_size=2))]
    chosen = draw(st.lists(st.tuples(st.integers(0, len(shapes) - 1), st.booleans(), st.booleans()), max_size=8))
    result = []
    for number, (shape, suspect, is_idle) in enumerate(chosen):
        values = {p.name: p.init for p in shapes[shape].parameters if p.init is not None}
        result.append(
            Opening(
                node=draw(st.sampled_from(["n1", "n2"])),
                parent=f"p{number}",
                type=draw(st.sampled_from(["t1", "t2"])),
                profile=f"profile{shape}",
                metadata=shapes[shape],
                free=draw(st.integers(0, 3)),
                suspect=suspect,
                instance=f"u{number}" if is_idle else None,
                values=values if is_idle else None,
            )
        )
    return here, result


@given(openings_of(), st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_openings_never_matters(asked: tuple[Source, list[Opening]], data: st.DataObject) -> None:
    here, openings = asked
    assert rank(here, data.draw(st.permutations(openings)), "t1") == rank(here, openings, "t1")


@given(openings_of())
@settings(max_examples=60, deadline=None)
def test_every_opening_is_told_once(asked: tuple[Source, list[Opening]]) -> None:
    here, openings = asked
    result = rank(here, openings)
    told = [c.opening for c in result.candidates] + [r.opening for r in result.rejections]
    assert sorted(o.parent for o in told) == sorted(o.parent for o in openings)


@given(openings_of())
@settings(max_examples=60, deadline=None)
def test_removing_the_best_leaves_the_others_in_their_order(asked: tuple[Source, list[Opening]]) -> None:
    here, openings = asked
    best, *others = [c.opening for c in rank(here, openings).candidates] or [None]
    rest = [o for o in openings if o is not best]
    assert [c.opening for c in rank(here, rest).candidates] == others


def test_each_distinct_metadata_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Metadata] = []

    def counting(here: Source, there: Metadata) -> Answer:
        calls.append(there)
        return compare(here, there)

    compare = plan_module.compare
    monkeypatch.setattr(plan_module, "compare", counting)
    equal = replace(GFX4)
    openings = [replace(place("gfx-4GB", f"n{n}"), metadata=equal if n % 2 else GFX4) for n in range(100)]
    assert len(rank(needs("4096"), [*openings, *(place("gfx-8GB", o.node) for o in openings)]).candidates) == 100
    assert len(calls) == 2


def test_fifty_thousand_openings_of_five_thousand_nodes_are_ranked_in_seconds() -> None:
    openings = [place(kind, f"n{n}", parent=f"p{p}") for n in range(5000) for p in range(2) for kind in BY_TYPE]
    begin = time.perf_counter()
    result = rank(needs("4096"), openings, "gfx-4GB")
    assert time.perf_counter() - begin < 10
    assert result.candidates[0].opening.type == "gfx-4GB"
