"""Which opening is best for a source? The choice order of design section 4, point 4.

From most to least weighty:

1. openings of a profile that refused a value lately (``suspect``) come after all others;
2. fewest writes; with equally many, an idle instance before a new one. So an idle instance that is right already wins,
   then a new one whose init values are right, then whatever needs least;
3. least flexible offer, so that ``gfx-varGB`` is kept for what only it can serve;
4. same type as the source;
5. spreading: most free instances;
6. node, parent, type, profile, instance, slot as text: the same answer every time.

*Flexibility* is the size of the space of values that an offer allows: the number of its parameters that may take any
value of an unbounded type (int or str without allowed values), then the number of combinations of all others. Offers
are compared by the first, then by the second, in exact integers, so that a huge range and no bound at all still differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from mdev_api.engine.metadata import Allowed, Answer, Metadata, Parameter, Source, ValueType, Verdict
from mdev_api.engine.openings import Candidate, Criteria, Opening, Plan, Rejection
from mdev_api.engine.verdict import compare
from mdev_api.engine.writing import writes_to
from mdev_api.values import number

_BECAUSE = (
    "the source would have to be changed more first",
    "its profile refused a value lately",
    "it needs more writes",
    "it would have to be made",
    "its offer is more flexible and better kept for others",
    "its type is not the source's",
    "its parent has less room",
)
_BY_NAME = "of its name alone"
_ONLY = "; nothing ranks better"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """What is the same for all openings that share a metadata."""

    answer: Answer
    flexibility: tuple[int, int]


def rank(source: Source, openings: Iterable[Opening], source_type: str | None = None) -> Plan:
    """Candidates best first, and the openings that cannot take the source with every reason.

    ``source_type``: the source's own type; None: it has none, and no type is preferred. Incompatible or Unknown
    openings are rejected with their findings; compatible ones without room with ``no_capacity``. An idle instance's
    ``values`` must be a full reading. What a slot's ``values`` lack counts as a write: it is one for some device.
    """
    readings = _Readings(source)
    ranked: list[tuple[Criteria, tuple[str, ...], Opening, Answer]] = []
    rejections: list[Rejection] = []
    for opening in openings:
        reading = readings.of(opening.metadata)
        if reading.answer.verdict is not Verdict.COMPATIBLE:
            rejections.append(Rejection(opening=opening, reasons=reading.answer.reasons))
        elif opening.free <= 0:
            rejections.append(Rejection(opening=opening, reasons=(), no_capacity=True))
        else:
            answer = _answer_for(reading.answer, opening)
            ranked.append((_criteria(opening, answer, reading, source_type), place(opening), opening, answer))
    ranked.sort(key=lambda entry: entry[:2])
    rejections.sort(key=lambda rejection: place(rejection.opening))
    reasons = places_of([entry[0] for entry in ranked])
    return Plan(
        candidates=tuple(
            Candidate(opening=opening, answer=answer, why=claim(opening, answer) + why, criteria=mine)
            for (mine, _, opening, answer), why in zip(ranked, reasons, strict=True)
        ),
        rejections=tuple(rejections),
    )


def flexibility(metadata: Metadata) -> tuple[int, int]:
    """(parameters without bound, combinations of the others): smaller is less flexible."""
    unbounded, combinations = 0, 1
    for parameter in metadata.parameters:
        size = _size(parameter)
        if size is None:
            unbounded += 1
        else:
            combinations *= size
    return unbounded, combinations


class _Readings:
    """One comparison per distinct metadata, however many openings share it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._by_identity: dict[int, tuple[Metadata, _Reading]] = {}
        self._by_content: dict[Metadata, _Reading] = {}

    def of(self, metadata: Metadata) -> _Reading:
        known = self._by_identity.get(id(metadata))
        if known is not None:
            return known[1]
        reading = self._by_content.get(metadata)
        if reading is None:
            reading = _Reading(answer=compare(self._source, metadata), flexibility=flexibility(metadata))
            self._by_content[metadata] = reading
        self._by_identity[id(metadata)] = (metadata, reading)
        return reading


def _answer_for(answer: Answer, opening: Opening) -> Answer:
    if _is_new(opening):
        return answer
    return replace(answer, writes=writes_to(opening.metadata, answer.desired, opening.values or {}))


def _criteria(opening: Opening, answer: Answer, reading: _Reading, source_type: str | None) -> Criteria:
    return (
        0,
        opening.suspect,
        len(answer.writes),
        _is_new(opening),
        reading.flexibility,
        opening.type != source_type,
        -opening.free,
    )


def _is_new(opening: Opening) -> bool:
    return opening.instance is None and opening.slot is None


def place(opening: Opening) -> tuple[str, ...]:
    """Where it is, as texts: what decides among equals."""
    where = (opening.node, opening.parent or "", opening.type, opening.profile)
    return (*where, opening.instance or "", opening.slot or "")


def claim(opening: Opening, answer: Answer) -> str:
    """What would be taken, and what it still needs."""
    what = f"a new {opening.type}"
    if opening.instance is not None:
        what = f"the idle {opening.type} {opening.instance}"
    elif opening.slot is not None:
        what = f"a free {opening.type} of {opening.slot}"
    names = ", ".join(write.parameter for write in answer.writes)
    if not answer.writes:
        return f"{what} has the right values already"
    return f"{what} needs {len(answer.writes)} write{'s' if len(answer.writes) > 1 else ''} ({names})"


def places_of(ranked: Sequence[Sequence[Any]]) -> list[str]:
    """Why each stands where it does, best first: by the first of its criteria (:data:`Criteria`) in which it differs
    from the one before it. The first is told what the next one lacks: that is why it is picked.
    """
    lacks = [
        next((why for why, this, that in zip(_BECAUSE, mine, before, strict=True) if this != that), _BY_NAME)
        for before, mine in pairwise(ranked)
    ]
    picked = f"; nothing ranks better, and the next one comes after it because {lacks[0]}" if lacks else _ONLY
    return [picked, *(f"; it ranks after the one before it because {why}" for why in lacks)][: len(ranked)]


def _size(parameter: Parameter) -> int | None:
    """How many values the parameter may take; None: no bound."""
    if parameter.allowed is None:
        return 2 if parameter.type is ValueType.BOOL else None
    if parameter.type is ValueType.INT:
        return _count_ints(parameter.allowed)
    return len(parameter.allowed.texts)


def _count_ints(allowed: Allowed) -> int:
    """Size of the union of single values and ranges, which may overlap; no range is expanded."""
    spans = sorted([*allowed.ranges, *((number(text), number(text)) for text in allowed.texts)])
    count, reached = 0, -1
    for low, high in spans:
        count += max(0, high - max(low, reached + 1) + 1)
        reached = max(reached, high)
    return count
