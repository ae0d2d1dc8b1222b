"""Several devices together: all on one node, each in a place of its own, the best of all ways, beside brute force."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine.assignment import Assignments, assign
from mdev_api.engine.capacity import Pool, left_in
from mdev_api.engine.metadata import Answer, Metadata, Verdict, Write
from mdev_api.engine.openings import Candidate, Criteria, Opening, Plan, Rejection
from mdev_api.engine.plan import place, rank
from tests.unit.engine.build import has, offer, source, takes

RIGHT = Answer(verdict=Verdict.COMPATIBLE, reasons=(), parameter_list={}, desired={}, writes=())
NOTHING = Metadata(model="m")
NAMES = tuple(f"gpu{n}" for n in range(16))


def new(type_id: str, free: int = 1, node: str = "n", parent: str = "p", pool: Pool | None = None) -> Opening:
    return Opening(node=node, parent=parent, type=type_id, profile=type_id, metadata=NOTHING, free=free, pool=pool)


def idle(instance: str, node: str = "n", parent: str = "p") -> Opening:
    return replace(new("t", node=node, parent=parent), instance=instance, values={})


def candidate(opening: Opening, writes: int = 0) -> Candidate:
    answer = replace(RIGHT, writes=tuple(Write(parameter=f"w{n}", value="1") for n in range(writes)))
    criteria: Criteria = (0, 0, writes, opening.instance is None, (0, 1), 0, -opening.free)
    return Candidate(opening=opening, answer=answer, why="", criteria=criteria)


def plan(*candidates: Candidate, rejections: Sequence[Rejection] = ()) -> Plan:
    ordered = sorted(candidates, key=lambda c: (c.criteria, place(c.opening)))
    return Plan(candidates=tuple(ordered), rejections=tuple(rejections))


def put(*plans: Plan) -> Assignments:
    return assign(plans, NAMES[: len(plans)])


def places(found: Assignments) -> list[list[str]]:
    return [[c.opening.instance or c.opening.type for c in a.candidates] for a in found.assignments]


class TestAllOrNone:
    def test_one_idle_instance_is_given_to_one_device_only(self) -> None:
        both = plan(candidate(idle("i")), candidate(new("t")))
        assert places(put(both, both)) == [["i", "t"]]

    def test_the_device_that_gains_most_gets_the_instance_that_both_want(self) -> None:
        little = plan(candidate(idle("i")), candidate(new("t"), writes=1))
        much = plan(candidate(idle("i")), candidate(new("t"), writes=3))
        assert places(put(little, much)) == [["t", "i"]]

    def test_a_device_gives_way_to_one_that_has_nowhere_else_to_go(self) -> None:
        free = plan(candidate(idle("i")), candidate(new("t"), writes=5))
        bound = plan(candidate(idle("i"), writes=9))
        assert places(put(free, bound)) == [["t", "i"]]

    def test_a_free_device_of_a_resource_is_there_already_and_takes_nothing_from_its_parent(self) -> None:
        pool = Pool(said={"t": 1})
        served = replace(new("t", parent="p"), slot="s")
        bound, made = plan(candidate(served)), plan(candidate(new("t", parent="p", pool=pool)))
        assert [a.node for a in put(bound, made).assignments] == ["n"]

    def test_no_node_takes_only_some_of_them(self) -> None:
        one = plan(candidate(new("t")), candidate(new("t", node="m")))
        found = put(one, one)
        assert found.assignments == ()
        assert [(s.node, s.device, s.beside) for s in found.shortfalls] == [("m", 1, 1), ("n", 1, 1)]

    def test_devices_are_never_spread_over_nodes(self) -> None:
        here, there = plan(candidate(new("t"))), plan(candidate(new("t", node="m")))
        assert {(s.node, s.device) for s in put(here, there).shortfalls} == {("m", 0), ("n", 1)}

    def test_a_device_that_does_not_fit_alone_brings_its_own_reasons(self) -> None:
        refused = Rejection(opening=new("x"), reasons=(), no_capacity=True)
        (short,) = put(plan(candidate(new("t"))), plan(rejections=[refused])).shortfalls
        assert (short.device, short.rejections, short.beside) == (1, (refused,), None)

    @pytest.mark.parametrize(
        "openings",
        [
            [replace(new("t", free=2), alone="r")],
            [new(t, free=1, pool=Pool(said={"t": 1, "u": 1})) for t in ("t", "u")],
        ],
        ids=["one at a time", "a parent with room for one"],
    )
    def test_no_more_devices_are_said_to_find_room_than_do_together(self, openings: list[Opening]) -> None:
        alike = plan(*map(candidate, openings))
        [short] = put(alike, alike, alike).shortfalls
        assert (short.device, short.beside) == (1, 1)

    def test_what_stands_alone_takes_one_device_at_a_time(self) -> None:
        served = [replace(new(t, free=4), alone="r") for t in ("t", "u")]
        either = plan(*map(candidate, served))
        assert put(either, either).shortfalls[0].beside == 1


class TestSharedPools:
    CARD = Pool(said={"8GB": 2, "4GB": 4, "1GB": 16})

    def of(self, type_id: str) -> Plan:
        return plan(candidate(new(type_id, free=self.CARD.said[type_id], pool=self.CARD)))

    def test_types_of_one_parent_live_from_one_pool(self) -> None:
        big, small = self.of("8GB"), self.of("4GB")
        assert len(put(big, small, small).assignments) == 1
        assert len(put(big, small, *[self.of("1GB")] * 4).assignments) == 1
        assert put(big, small, small, self.of("1GB")).assignments == ()
        assert put(big, big, small).assignments == ()

    def test_what_was_promised_before_is_no_longer_there(self) -> None:
        pool = replace(self.CARD, promised=("8GB",))
        big = plan(candidate(new("8GB", free=left_in(pool)["8GB"], pool=pool)))
        assert len(put(big).assignments) == 1 and put(big, big).assignments == ()

    def test_the_second_parent_takes_what_the_first_cannot(self) -> None:
        card = Pool(said={"8GB": 1, "4GB": 2})
        openings = [new(t, card.said[t], parent=p, pool=card) for p in ("p", "q") for t in ("8GB", "4GB")]
        big = plan(*(candidate(o) for o in openings if o.type == "8GB"))
        small = plan(*(candidate(o) for o in openings if o.type == "4GB"))
        (found,) = put(small, big, small).assignments
        assert [c.opening.parent for c in found.candidates] in (["p", "q", "p"], ["q", "p", "q"])

    def test_models_of_one_type_share_its_instances(self) -> None:
        pool = Pool(said={"t": 1})
        one, other = (plan(candidate(replace(new("t", pool=pool), profile=p))) for p in ("a", "b"))
        assert not put(one, other).assignments

    def test_functions_of_one_driver_and_two_profiles_are_each_their_own(self) -> None:
        one, other = (plan(candidate(replace(new("t"), profile=p))) for p in ("a", "b"))
        assert places(put(one, other)) == [["t", "t"]]
        assert not put(one, one).assignments

    def test_a_function_that_is_there_anyway_takes_nothing_from_the_pool_of_its_parent(self) -> None:
        function, made = plan(candidate(new("vfio-pci"))), plan(candidate(new("t", pool=Pool(said={"t": 1}))))
        assert places(put(function, made)) == [["vfio-pci", "t"]]

    def test_an_idle_instance_takes_nothing_from_the_pool(self) -> None:
        pool = Pool(said={"t": 1})
        either = plan(candidate(idle("i")), candidate(new("t", pool=pool)))
        assert places(put(either, either)) == [["i", "t"]]


class TestRanking:
    def test_nodes_are_ranked_by_the_sum_and_say_what_puts_them_there(self) -> None:
        a, b = (plan(candidate(new("t", node="m", free=2), 2), candidate(new("t", free=2), w)) for w in (3, 0))
        first, second = put(a, b).assignments
        assert (first.node, second.node) == ("n", "m")
        said = "gpu0: a new t needs 3 writes (w0, w1, w2), gpu1: a new t has the right values already"
        assert (
            first.why == f"{said}; nothing ranks better, and the next one comes after it because it needs more writes"
        )
        assert second.why.endswith("it ranks after the one before it because it needs more writes")

    def test_equals_are_ranked_by_name_whatever_the_order(self) -> None:
        one = plan(*(candidate(new("t", free=2, node=node)) for node in "cab"))
        assert [a.node for a in put(one, one).assignments] == ["a", "b", "c"]

    def test_one_device_gets_of_each_node_what_the_single_ranking_puts_first(self) -> None:
        shape = offer(takes("x", "1"))
        openings = [replace(new(t, free=f, node=n), metadata=shape) for n in "ab" for t, f in (("t", 1), ("u", 2))]
        ranked = rank(source(has("x", "1")), openings)
        expected = [next(c for c in ranked.candidates if c.opening.node == node) for node in "ab"]
        assert [a.candidates[0] for a in put(ranked).assignments] == expected


@st.composite
def worlds(draw: st.DrawFn) -> list[Plan]:
    """Up to four devices with up to six openings on two parents of two nodes; some devices alike."""
    random = Random(draw(st.integers(0, 2**32)))
    pools = {
        (node, parent): Pool(
            said={t: random.randint(0, 4) for t in "tuv"}, promised=tuple(random.choices("tuv", k=random.randint(0, 1)))
        )
        for node in "ab"
        for parent in "pq"
    }
    openings = []
    for number in range(draw(st.integers(1, 7))):
        node, parent, type_id = random.choice("ab"), random.choice("pq"), random.choice("tuv")
        pool = pools[node, parent]
        kind = random.random()
        if kind < 0.3:
            openings.append(replace(idle(f"i{number}", node, parent), type=type_id))
        elif kind < 0.9:
            openings.append(new(type_id, left_in(pool)[type_id], node, parent, pool))
        elif not any(o.slot and o.node == node for o in openings):
            openings.append(replace(new(type_id, random.randint(1, 2), node), slot="s", parent=None))
    openings = list({place(o): replace(o, alone="r" if o.type == "v" else None) for o in openings if o.free}.values())
    plans: list[Plan] = []
    for _ in range(draw(st.integers(1, 4))):
        if plans and random.random() < 0.4:
            plans.append(random.choice(plans))
        else:
            chosen = [o for o in openings if random.random() < 0.8]
            plans.append(plan(*(candidate(o, random.randint(0, 3)) for o in chosen)))
    return plans


def goes(chosen: Sequence[Candidate]) -> bool:
    """Whether all these places can be had at once, said once more and naively."""
    openings = [c.opening for c in chosen]
    if len({o.node for o in openings}) != 1:
        return False
    if any(n > 1 for n in Counter(o.instance for o in openings if o.instance).values()):
        return False
    if any(n > 1 for n in Counter(o.alone for o in openings if o.alone).values()):
        return False
    slots = [o for o in openings if o.slot]
    if slots and len(slots) > min(o.free for o in slots):
        return False
    for parent in "pq":
        made = [o for o in openings if o.parent == parent and o.instance is None and o.slot is None]
        for one in made:
            pool = one.pool
            assert pool is not None
            gone = [pool.said[t] for t in (*pool.promised, *(o.type for o in made))]
            own = pool.said[one.type]
            taken = sum(Fraction(own, whole) if whole else 1 for whole in gone)
            if taken > own:
                return False
    return True


def total(chosen: Sequence[Candidate]) -> tuple[int, ...]:
    flat = [(*c.criteria[:4], *c.criteria[4], *c.criteria[5:]) for c in chosen]
    return tuple(map(sum, zip(*flat, strict=True)))


def brute(plans: Sequence[Plan]) -> dict[str, tuple[int, ...]]:
    """The least sum on each node that takes all."""
    least: dict[str, tuple[int, ...]] = {}
    for chosen in itertools.product(*(p.candidates for p in plans)):
        if goes(chosen):
            node = chosen[0].opening.node
            least[node] = min(least.get(node, total(chosen)), total(chosen))
    return least


@settings(max_examples=1500, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_the_search_finds_what_brute_force_finds(plans: list[Plan], random: Random) -> None:
    found = put(*plans)
    assert all(goes(a.candidates) and a.complete for a in found.assignments)
    assert all(c in p.candidates for a in found.assignments for c, p in zip(a.candidates, plans, strict=True))
    assert {a.node: total(a.candidates) for a in found.assignments} == brute(plans)
    assert [total(a.candidates) for a in found.assignments] == sorted(total(a.candidates) for a in found.assignments)
    nodes = {c.opening.node for p in plans for c in p.candidates}
    assert {s.node for s in found.shortfalls} == nodes - {a.node for a in found.assignments}


def test_a_search_that_would_take_for_ever_is_cut_short() -> None:
    """Sixteen devices, all different, on one parent where about thirteen have room: more orders than can be tried."""
    random = Random(1)
    pool = Pool(said={f"t{n}": 9 + n for n in range(8)})
    openings = [new(t, free, pool=pool) for t, free in pool.said.items()]
    plans = [plan(*(candidate(o, random.randint(0, 40)) for o in openings)) for _ in NAMES]
    began = time.process_time()
    (short,) = put(*plans).shortfalls
    assert time.process_time() - began < 10.0
    assert short.beside is not None and 9 < short.beside < 16
