"""Several devices together, beside trying every way: all on one node or none, one to one, within what parents share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.engine.adjustment import rank_adjusting
from mdev_api.engine.assignment import Assignments, assign
from mdev_api.engine.capacity import Pool
from mdev_api.engine.openings import Opening, Plan
from mdev_api.engine.plan import rank
from tests.unit.oracle import naive_assignment, plain_places, plain_worlds, said, test_adjustment
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.naive_assignment import Fit
from tests.unit.oracle.tape import Tape, between, chance, from_tape, one_of, reached

Parents = dict[tuple[str, str], dict[str, Any]]
Case = tuple[list[dict[str, Any]], list[dict[str, Any]], Parents]

LENGTH = 320
NODES = ["node-a", "node-b", "node-c"]
NAMES = ["gpu-0", "gpu-1", "gpu-2"]


def case(tape: Tape) -> Case:
    """Two or three devices (some the same object: alike), places on up to three nodes, and what parents share."""
    source, own, there = test_adjustment.case(tape)
    profiles = [there, {**there, "strategy": "OffFirst"}, plain_worlds.destination(tape)]
    devices = [{"source": source, "own": own if chance(tape, 30) else None, "type": one_of(tape, [None, "s", "t"])}]
    for _ in range(between(tape, 1, 2)):
        near = plain_worlds.source_near(tape, one_of(tape, profiles))
        devices.append(one_of(tape, [devices[0], {"source": near, "own": None, "type": one_of(tape, ["s", "t"])}]))
    nodes = NODES[: between(tape, 1, 3)]
    places = plain_places.places(tape, nodes, profiles, source, 4)
    parents = {(n, p): parent(tape) for n in nodes for p in plain_places.PARENTS if chance(tape, 50)}
    for each in places:
        new = naive_assignment.is_new(each)
        each["alone"] = "r" if new and chance(tape, 15) else None
        if new and (each["node"], each["parent"]) in parents:
            room = naive_assignment.left(parents[each["node"], each["parent"]], each["type"], [])
            each["free"] = max(0, room.__floor__())
    return devices, places, parents


def parent(tape: Tape) -> dict[str, Any]:
    return {
        "said": {type_id: between(tape, 0, 4) for type_id in plain_places.TYPES},
        "promised": [one_of(tape, plain_places.TYPES)] if chance(tape, 20) else [],
    }


def put(devices: Sequence[dict[str, Any]], openings: Sequence[Opening]) -> Assignments:
    plans: dict[int, Plan] = {}
    for device in devices:
        if id(device) not in plans:
            plans[id(device)] = planned(device, openings)
    return assign([plans[id(device)] for device in devices], NAMES[: len(devices)])


def planned(device: dict[str, Any], openings: Sequence[Opening]) -> Plan:
    source = said.engine_source(device["source"])
    if device["own"] is None:
        return rank(source, openings, device["type"])
    return rank_adjusting(source, said.engine_metadata(device["own"]), openings, device["type"])


def openings_of(places: Sequence[dict[str, Any]], parents: Parents) -> list[Opening]:
    pools = {which: Pool(said=of["said"], promised=tuple(of["promised"])) for which, of in parents.items()}
    return plain_places.openings(places, pools)


def chosen_fits(fits: Sequence[list[Fit]], chosen: Sequence[Any]) -> list[Fit]:
    """The naive words for what was chosen, device by device; each must be a place that takes its device."""
    return [
        next(fit for fit in of if plain_places.key(fit[1]) == plain_places.key(candidate.opening))
        for of, candidate in zip(fits, chosen, strict=True)
    ]


cases = from_tape(case, LENGTH)


@at_most(350)
@given(cases)
def test_each_node_takes_all_in_the_best_way_that_there_is_or_none(made: Case) -> None:
    devices, places, parents = made
    fits = [naive_assignment.fits(device, places) for device in devices]
    found = put(devices, openings_of(places, parents)).assignments
    ways = {a.node: chosen_fits(fits, a.candidates) for a in found}
    for way in ways.values():
        assert naive_assignment.goes_together([place for _, place in way], parents)
    assert all(a.complete for a in found)
    assert {node: naive_assignment.total(way) for node, way in ways.items()} == naive_assignment.best(fits, parents)
    ranked = [(naive_assignment.total(way), node) for node, way in ways.items()]
    assert ranked == sorted(ranked), "the best node first, equals by name"


@at_most(250)
@given(cases)
def test_every_other_node_is_told_by_what_finds_no_place_there(made: Case) -> None:
    devices, places, parents = made
    fits = [naive_assignment.fits(device, places) for device in devices]
    found = put(devices, openings_of(places, parents))
    short = {place["node"] for place in places} - {a.node for a in found.assignments}
    assert {s.node for s in found.shortfalls} == short
    for node in short:
        homeless = {n for n, of in enumerate(fits) if not any(place["node"] == node for _, place in of)}
        told = {(s.device, s.beside) for s in found.shortfalls if s.node == node}
        if homeless:
            assert told == {(n, None) for n in homeless}
        else:
            [(device, beside)] = told
            assert beside and go_without(fits, device, beside, node, parents), "no more room is told than there is"


def go_without(fits: Sequence[list[Fit]], device: int, beside: int, node: str, parents: Parents) -> bool:
    """Do so many of the others go together there? That not all do is known already."""
    others = [of for n, of in enumerate(fits) if n != device]
    return any(naive_assignment.go_here(some, node, parents) for some in itertools.combinations(others, beside))


@at_most(150)
@given(cases, st.integers(0, 2**32))
def test_no_order_of_the_places_matters(made: Case, seed: int) -> None:
    devices, places, parents = made
    openings = openings_of(places, parents)
    assert put(devices, Random(seed).sample(openings, len(openings))) == put(devices, openings)


def alone_only(made: Case) -> bool:
    """A node takes each device, and not all of them."""
    devices, places, parents = made
    fits = [naive_assignment.fits(device, places) for device in devices]
    each = set.intersection(*({place["node"] for _, place in of} for of in fits))
    return bool(each - set(naive_assignment.best(fits, parents)))


def not_greedy(made: Case) -> bool:
    """A node takes all, and not when each device in turn takes the best that is left."""
    devices, places, parents = made
    fits = [naive_assignment.fits(device, places) for device in devices]
    for node in naive_assignment.best(fits, parents):
        taken: list[Any] = []
        for of in fits:
            here = sorted((fit for fit in of if fit[1]["node"] == node), key=lambda fit: fit[0])
            left = [place for _, place in here if naive_assignment.goes_together([*taken, place], parents)]
            taken += left[:1]
        if len(taken) < len(devices):
            return True
    return False


def several_nodes(made: Case) -> bool:
    fits = [naive_assignment.fits(device, made[1]) for device in made[0]]
    return len(naive_assignment.best(fits, made[2])) == len(NODES) and len(made[0]) == len(NAMES)


@pytest.mark.parametrize("what", [alone_only, not_greedy, several_nodes])
def test_what_makes_it_hard_is_among_what_is_tried(what: Any) -> None:
    assert reached(case, what, LENGTH)
