"""Several devices that move together: all to one node, each to a place of its own, all or none (design section 4.5).

A node's best assignment is the one with the least lexicographic sum of the single-device criteria
(:data:`mdev_api.engine.openings.Criteria`): first the fewest changes to running sources, then the fewest places whose
profile refused a value lately, then the fewest writes together, and so on down to the room of the parents.
Nodes are ranked by the same sums, equals by the names of the places.

What one device takes, no other can have: an idle instance, one of the free devices of a resource, and of a parent's
pool what :mod:`mdev_api.engine.capacity` estimates. The search is exact, a branch and bound over the devices in the
order of the single-device rankings. The lower bound is the sum of what each device that is left could still get, and
devices with one and the same plan are interchangeable, so almost always the first descent is the proof. After
:data:`MOST_STEPS` the best assignment found so far counts: bounded, and no longer surely the best.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mdev_api.engine.adjustment import claim_adjusting
from mdev_api.engine.capacity import Shares, shares_of
from mdev_api.engine.openings import Candidate, Criteria, Opening, Plan, Rejection
from mdev_api.engine.plan import place, places_of

MOST_STEPS = 5000
"""Places that the search of one node tries at most."""

_NOTHING: Criteria = (0, 0, 0, 0, (0, 0), 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One node that can take all devices: ``candidates`` in the order of the devices, and why it stands where it does.

    ``criteria``: the sums that it is ranked by; ``complete`` False: the search was cut short, a better one may exist.
    """

    node: str
    candidates: tuple[Candidate, ...]
    criteria: Criteria
    why: str
    complete: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortfall:
    """A device (its position) that finds no place on a node.

    ``rejections``: why none of the node's openings takes it, whatever the other devices get. ``beside``: how many of
    the devices do find one there together (at least: other choices may leave room for more, never for all); then each
    would fit alone and only room is missing (NoCapacity). None: it does not fit alone.
    """

    node: str
    device: int
    rejections: tuple[Rejection, ...] = ()
    beside: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignments:
    """Nodes that can take all devices, best first, and for every other node what finds no place there."""

    assignments: tuple[Assignment, ...]
    shortfalls: tuple[Shortfall, ...]


def assign(plans: Sequence[Plan], names: Sequence[str]) -> Assignments:
    """Put devices together. ``plans``: of each device alone (:func:`mdev_api.engine.plan.rank`), over the same
    openings; devices that are alike should have the same object. ``names``: of the devices, for people.
    """
    candidates, rejections = _by_node(plans)
    found: list[Assignment] = []
    short: list[Shortfall] = []
    for node in sorted(candidates.keys() | rejections.keys()):
        options = [candidates[node].get(id(plan), []) for plan in plans]
        lacking = [device for device, own in enumerate(options) if not own]
        short += (
            Shortfall(node=node, device=d, rejections=tuple(rejections[node].get(id(plans[d]), ()))) for d in lacking
        )
        if lacking:
            continue
        outcome = _Search(options).run()
        if isinstance(outcome, _DeadEnd):
            short.append(Shortfall(node=node, device=outcome.device, beside=outcome.beside))
        else:
            found.append(_assignment(node, outcome, names))
    found.sort(key=lambda a: (a.criteria, [place(c.opening) for c in a.candidates]))
    return Assignments(assignments=_with_reasons(found), shortfalls=tuple(short))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chosen:
    candidates: tuple[Candidate, ...]
    criteria: Criteria
    complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _DeadEnd:
    device: int
    beside: int


class _Room:
    """What the devices that have a place already leave of a node."""

    def __init__(self) -> None:
        self._taken: Counter[tuple[str, ...]] = Counter()
        self._made: dict[str | None, list[str]] = defaultdict(list)
        self._shares: dict[str | None, Shares] = {}
        self._alone: Counter[str] = Counter()

    def has(self, opening: Opening) -> bool:
        if opening.alone is not None and self._alone[opening.alone]:
            return False
        if opening.pool is not None and opening.instance is None:
            if opening.parent not in self._shares:
                self._shares[opening.parent] = shares_of(opening.pool)
            return self._shares[opening.parent].has_room([*self._made[opening.parent], opening.type])
        return self._taken[_key(opening)] < opening.free

    def take(self, opening: Opening) -> None:
        self._taken[_key(opening)] += 1
        if opening.pool is not None and opening.instance is None:
            self._made[opening.parent].append(opening.type)
        if opening.alone is not None:
            self._alone[opening.alone] += 1

    def give_back(self, opening: Opening) -> None:
        self._taken[_key(opening)] -= 1
        if opening.pool is not None and opening.instance is None:
            self._made[opening.parent].remove(opening.type)
        if opening.alone is not None:
            self._alone[opening.alone] -= 1


class _Search:
    """One node. ``options`` of each device, best first; of devices that are alike the very same list."""

    def __init__(self, options: Sequence[list[Candidate]]) -> None:
        first = {id(own): device for device, own in reversed(list(enumerate(options)))}
        # Those that are alike stand side by side, so that only one of their orders need be tried.
        self._order = sorted(range(len(options)), key=lambda device: (first[id(options[device])], device))
        self._options = [options[device] for device in self._order]
        self._room = _Room()
        self._chosen: list[int] = []
        self._best: tuple[Criteria, list[int]] | None = None
        self._dead_end: _DeadEnd | None = None
        self._steps = 0

    def run(self) -> _Chosen | _DeadEnd:
        self._descend(_NOTHING, 0)
        if self._best is None:
            assert self._dead_end is not None
            return self._dead_end
        criteria, indexes = self._best
        placed = {d: own[index] for d, own, index in zip(self._order, self._options, indexes, strict=True)}
        candidates = tuple(placed[device] for device in sorted(placed))
        return _Chosen(candidates=candidates, criteria=criteria, complete=self._steps <= MOST_STEPS)

    def _descend(self, spent: Criteria, start: int) -> None:
        """Place the next device; ``start``: where its options begin that are not tried in another order."""
        position = len(self._chosen)
        if position == len(self._options):
            self._best = (spent, list(self._chosen))
            return
        rest = self._least_of_rest(position, start)
        if rest is None:
            return
        own = self._options[position]
        for index in range(start, len(own)):
            candidate = own[index]
            here = _sum(spent, candidate.criteria)
            if self._best is not None and _sum(here, rest) >= self._best[0]:
                return
            if not self._room.has(candidate.opening):
                continue
            self._steps += 1
            if self._steps > MOST_STEPS:
                return
            alike = position + 1 < len(self._options) and self._options[position + 1] is own
            self._room.take(candidate.opening)
            self._chosen.append(index)
            self._descend(here, index if alike else 0)
            self._chosen.pop()
            self._room.give_back(candidate.opening)

    def _least_of_rest(self, position: int, start: int) -> Criteria | None:
        """The sum of the best that each device after this one could still get; None: one of all these gets none."""
        least = _NOTHING
        for later in range(position, len(self._options)):
            own = self._options[later]
            begin = start if own is self._options[position] else 0
            best = next((c for c in own[begin:] if self._room.has(c.opening)), None)
            if best is None:
                self._note_dead_end(position, later)
                return None
            if later > position:
                least = _sum(least, best.criteria)
        return least

    def _note_dead_end(self, position: int, later: int) -> None:
        """Keep the furthest; at the first ask whether there is any sense in going on."""
        if self._dead_end is None and self._best is None and self._is_hopeless():
            self._steps = MOST_STEPS
            self._dead_end = self._filled()
            return
        if self._dead_end is None or (self._steps < MOST_STEPS and position > self._dead_end.beside):
            self._dead_end = _DeadEnd(device=self._order[later], beside=position)

    def _filled(self) -> _DeadEnd:
        """The first device without a place when each takes the best that is left, and how many get one.

        Not from :meth:`_is_hopeless`: there more go than really share a parent.
        """
        room, without = _Room(), []
        for device, own in zip(self._order, self._options, strict=True):
            opening = next((c.opening for c in own if room.has(c.opening)), None)
            if opening is None:
                without.append(device)
            else:
                room.take(opening)
        return _DeadEnd(device=without[0], beside=len(self._order) - len(without))

    def _is_hopeless(self) -> bool:
        """A device gets no place even if types of a parent shared nothing (augmenting paths): nothing to try."""
        holders: dict[tuple[str, ...], list[int]] = defaultdict(list)

        def place_one(position: int, seen: set[tuple[str, ...]]) -> bool:
            for candidate in self._options[position]:
                key = _key(candidate.opening)
                if key in seen:
                    continue
                seen.add(key)
                for holder in (None, *holders[key]) if len(holders[key]) < candidate.opening.free else holders[key]:
                    if holder is None or place_one(holder, seen):
                        if holder is not None:
                            holders[key].remove(holder)
                        holders[key].append(position)
                        return True
            return False

        return not all(place_one(position, set()) for position in range(len(self._order)))


def _by_node(
    plans: Sequence[Plan],
) -> tuple[dict[str, dict[int, list[Candidate]]], dict[str, dict[int, list[Rejection]]]]:
    """By node, then by the plan's identity, in the plan's order."""
    candidates: dict[str, dict[int, list[Candidate]]] = defaultdict(dict)
    rejections: dict[str, dict[int, list[Rejection]]] = defaultdict(dict)
    for plan in {id(plan): plan for plan in plans}.values():
        for candidate in plan.candidates:
            candidates[candidate.opening.node].setdefault(id(plan), []).append(candidate)
        for rejection in plan.rejections:
            rejections[rejection.opening.node].setdefault(id(plan), []).append(rejection)
    return candidates, rejections


def _key(opening: Opening) -> tuple[str, ...]:
    """What an opening's ``free`` counts: of a pool the instances of a type, whatever their profiles, else its own."""
    if opening.instance is not None:
        return ("instance", opening.instance)
    if opening.slot is not None:
        return ("slot", opening.slot)
    own = opening.profile if opening.pool is None else ""
    return ("type", opening.parent or "", opening.type, own)


def _sum(a: Criteria, b: Criteria) -> Criteria:
    """One by one; so an order by the first that differs is kept when the same is added to both."""
    flexibility = (a[4][0] + b[4][0], a[4][1] + b[4][1])
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], flexibility, a[5] + b[5], a[6] + b[6])


def _assignment(node: str, chosen: _Chosen, names: Sequence[str]) -> Assignment:
    claims = (f"{n}: {claim_adjusting(c)}" for n, c in zip(names, chosen.candidates, strict=True))
    return Assignment(
        node=node,
        candidates=chosen.candidates,
        criteria=chosen.criteria,
        why=", ".join(claims),
        complete=chosen.complete,
    )


def _with_reasons(ranked: Sequence[Assignment]) -> tuple[Assignment, ...]:
    """Add to each what puts it after the one before it."""
    told = []
    for mine, stands in zip(ranked, places_of([assignment.criteria for assignment in ranked]), strict=True):
        cut = "" if mine.complete else f"; the search ended after {MOST_STEPS} steps, so a better one may exist"
        told.append(replace(mine, why=mine.why + stands + cut))
    return tuple(told)
