"""What must be changed on a running source so that a destination fits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine.adjustment import adjusted, adjustment, rank_adjusting
from mdev_api.engine.metadata import Metadata, Parameter, Source, SourceParameter, ValueType, Verdict, Write
from mdev_api.engine.openings import Opening
from mdev_api.engine.verdict import compare
from mdev_api.values import allows
from tests.unit.engine.build import STR, has, offer, source, takes
from tests.unit.engine.strategies import VALUES, allowed_values, metadata, own_instances, same_model_pairs


def writable(parameter: Parameter) -> Parameter:
    return replace(parameter, runtime_writable=True, has_file=True)


OWN = offer(writable(takes("limit", "8000", "0-10000")))
RUNNING = source(has("limit", "8000"))


def opening(metadata: Metadata, node: str) -> Opening:
    return Opening(node=node, parent="p", type="t", profile=f"p-{node}", metadata=metadata, free=1)


def test_what_fits_already_needs_nothing() -> None:
    assert adjustment(RUNNING, OWN, offer(takes("limit", "0", "0-10000"))) == ()


def test_of_an_int_the_largest_below_that_both_allow_is_taken() -> None:
    there = offer(takes("limit", "0", "0-1000", "9000"))
    assert adjustment(RUNNING, OWN, there) == (Write(parameter="limit", value="1000"),)


def test_else_the_smallest_above() -> None:
    there = offer(takes("limit", "9000", "9000", "9500"))
    assert adjustment(RUNNING, OWN, there) == (Write(parameter="limit", value="9000"),)


def test_of_a_str_the_destinations_init_value_is_taken() -> None:
    own = offer(writable(takes("mode", "x", kind=STR)))
    there = offer(takes("mode", "b", "a", "b", kind=STR))
    assert adjustment(source(has("mode", "x", kind=STR)), own, there) == (Write(parameter="mode", value="b"),)


@pytest.mark.parametrize(("own_init", "there_off", "value"), [("w", "x", "w"), ("", "x", "x")])
def test_every_text_that_a_definition_names_is_a_choice(own_init: str, there_off: str, value: str) -> None:
    """Both sides take any text and disagree on which one is off, so the parameter is switched on."""
    own = offer(writable(takes("mode", own_init, off="", kind=STR)))
    there = offer(takes("mode", "", off=there_off, kind=STR))
    off = SourceParameter(name="mode", type=STR, value="", off="")
    assert adjustment(source(off), own, there) == (Write(parameter="mode", value=value),)


def test_a_parameter_that_the_destination_lacks_is_switched_off() -> None:
    own = offer(writable(takes("limit", "8000", off="0")))
    assert adjustment(source(has("limit", "8000", off="0")), own, offer()) == (Write(parameter="limit", value="0"),)


@pytest.mark.parametrize(
    "own",
    [
        offer(takes("limit", "8000")),
        offer(replace(takes("limit", "8000"), runtime_writable=True, has_file=False)),
        offer(replace(takes("limit", "8000"), runtime_writable=False, has_file=True)),
        offer(),
    ],
    ids=["not said", "no file", "not writable", "not defined"],
)
def test_only_what_may_be_written_while_it_runs_is_changed(own: Metadata) -> None:
    assert adjustment(RUNNING, own, offer(takes("limit", "0", "0-1000"))) is None


def test_one_obstacle_that_cannot_be_changed_is_enough() -> None:
    running = source(has("limit", "8000"), has("memory", "4096"))
    own = offer(*OWN.parameters, takes("memory", "4096"))
    assert adjustment(running, own, offer(takes("limit", "0", "0-1000"), takes("memory", "1", "1"))) is None


def test_another_model_is_no_obstacle_that_a_write_removes() -> None:
    assert adjustment(RUNNING, OWN, offer(takes("limit", "0", "0-1000"), model="other")) is None


def test_a_place_that_needs_no_change_comes_first_and_the_change_is_told() -> None:
    fits, narrow = offer(takes("limit", "0", "0-10000")), offer(takes("limit", "1000", "0-1000"))
    plan = rank_adjusting(RUNNING, OWN, [opening(narrow, "a"), opening(fits, "b")])
    assert [(c.opening.node, c.adjust) for c in plan.candidates] == [
        ("b", ()),
        ("a", (Write(parameter="limit", value="1000"),)),
    ]
    assert "after the running source is given limit=1000" in plan.candidates[1].why


@given(own_instances(), metadata(faults=False), st.booleans())
def test_after_the_change_it_is_compatible_and_nothing_else_was_changed(
    running_and_own: tuple[Source, Metadata], there: Metadata, may: bool
) -> None:
    running, own = running_and_own
    there = replace(there, model=own.model)
    own = replace(own, parameters=tuple(replace(p, runtime_writable=may, has_file=may) for p in own.parameters))
    writes = adjustment(running, own, there)
    if writes is None:
        return
    assert may or writes == ()
    values = {w.parameter: w.value for w in writes}
    assert compare(adjusted(running, values), there).verdict is Verdict.COMPATIBLE
    assert values.keys() <= {r.parameter for r in compare(running, there).reasons}
    assert len(values) == len(writes) and all(_differs(p, values) for p in running.parameters)


@st.composite
def adjustables(draw: st.DrawFn) -> tuple[Source, Metadata, Metadata]:
    """A source, its own metadata and a destination's, which mostly agree in types and off values."""
    running, there = draw(same_model_pairs())
    theirs, mine = {p.name: p for p in there.parameters}, []
    for parameter in running.parameters:
        assert parameter.type is not None
        mine.append(
            replace(
                theirs[parameter.name],
                off=parameter.off,
                allowed=draw(allowed_values(parameter.type)),
                runtime_writable=draw(st.booleans()),
            )
        )
    return running, Metadata(model="m", parameters=tuple(mine)), there


@settings(deadline=None)
@given(adjustables())
def test_it_is_found_if_there_is_one_and_no_smaller_one_would_do(case: tuple[Source, Metadata, Metadata]) -> None:
    running, own, there = case
    free = [(p, p.type) for p in own.parameters if p.runtime_writable and p.type is not None]
    choices = [[None, *(v for v in VALUES[kind] if allows(p.allowed, kind, v))] for p, kind in free]
    sizes = []
    for chosen in itertools.product(*choices):
        values = {p.name: value for (p, _), value in zip(free, chosen, strict=True) if value is not None}
        if compare(adjusted(running, values), there).verdict is Verdict.COMPATIBLE:
            sizes.append(len(values))
    writes = adjustment(running, own, there)
    if writes is not None:
        assert not sizes or len(writes) == min(sizes)
    else:
        # Of a str that may be anything on both sides nobody can name a value but the destination's init.
        named = all(p.type is not ValueType.STR or p.allowed is not None for p in (*own.parameters, *there.parameters))
        assert not sizes or not named


@given(adjustables(), st.data())
def test_no_order_of_definition_matters(case: tuple[Source, Metadata, Metadata], data: st.DataObject) -> None:
    running, own, there = (replace(c, parameters=tuple(data.draw(st.permutations(c.parameters)))) for c in case)
    before, after = adjustment(*case), adjustment(running, own, there)
    assert (before is None, set(before or ())) == (after is None, set(after or ()))


def _differs(parameter: SourceParameter, values: dict[str, str]) -> bool:
    return parameter.name not in values or values[parameter.name] != parameter.value
