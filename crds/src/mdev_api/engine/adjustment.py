"""What must be changed on a running source so that a destination fits (design section 4, point 6).

Only parameters that the source's own metadata declares runtime-writable, and that have a file, may be changed; and only
if after that nothing speaks against the destination any more. Each gets the value nearest to what it has: of an int the
largest below that both sides allow, else the smallest above; of a str the destination's init value, else the first by
name of those that a definition names. Off is a choice like any other, if it is off on both sides; a parameter that the
destination lacks must be off.

In a ranking, fewer changes to the running source come before everything else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mdev_api.engine.metadata import (
    Allowed,
    Code,
    Metadata,
    Parameter,
    Source,
    SourceParameter,
    ValueType,
    Verdict,
    Write,
)
from mdev_api.engine.openings import Candidate, Opening, Plan, Rejection
from mdev_api.engine.plan import claim, place, places_of, rank
from mdev_api.engine.verdict import compare
from mdev_api.values import allows, number

_CURABLE = frozenset(
    {
        Code.VALUE_NOT_ALLOWED,
        Code.UNKNOWN_PARAMETER,
        Code.CANNOT_DISABLE,
        Code.OFF_VALUE_NOT_ALLOWED,
        Code.OFF_VALUE_MISMATCH,
    }
)


def adjustment(source: Source, own: Metadata, there: Metadata) -> tuple[Write, ...] | None:
    """The writes to the source after which it is Compatible with ``there``; none if it is already, None if no change
    helps. ``own``: the metadata of the source's own profile.
    """
    reasons = compare(source, there).reasons
    if not all(reason.code in _CURABLE and reason.parameter is not None for reason in reasons):
        return None
    mine = {p.name: p for p in source.parameters}
    defined, theirs = {p.name: p for p in own.parameters}, {p.name: p for p in there.parameters}
    changed: dict[str, str] = {}
    for name in sorted({reason.parameter for reason in reasons if reason.parameter is not None}):
        value = _value_for(mine.get(name), defined.get(name), theirs.get(name))
        if value is None:
            return None
        changed[name] = value
    if compare(adjusted(source, changed), there).verdict is not Verdict.COMPATIBLE:
        return None
    return tuple(Write(parameter=p.name, value=changed[p.name]) for p in own.parameters if p.name in changed)


def rank_adjusting(source: Source, own: Metadata, openings: Iterable[Opening], source_type: str | None = None) -> Plan:
    """:func:`mdev_api.engine.plan.rank`, but openings that need a change of the source are candidates too
    (``Candidate.adjust``), after all those that need less of it.
    """
    groups: dict[tuple[Write, ...], list[Opening]] = defaultdict(list)
    known: dict[int, tuple[Write, ...]] = {}
    for opening in openings:
        key = id(opening.metadata)
        if key not in known:
            known[key] = adjustment(source, own, opening.metadata) or ()
        groups[known[key]].append(opening)
    candidates: list[Candidate] = []
    rejections: list[Rejection] = []
    for writes, places in groups.items():
        plan = rank(adjusted(source, {w.parameter: w.value for w in writes}), places, source_type)
        rejections += plan.rejections
        candidates += (replace(c, adjust=writes, criteria=(len(writes), *c.criteria[1:])) for c in plan.candidates)
    candidates.sort(key=lambda c: (c.criteria, place(c.opening)))
    rejections.sort(key=lambda rejection: place(rejection.opening))
    return Plan(candidates=_with_reasons(candidates), rejections=tuple(rejections))


def _with_reasons(ranked: Sequence[Candidate]) -> tuple[Candidate, ...]:
    reasons = places_of([c.criteria for c in ranked])
    return tuple(replace(c, why=claim_adjusting(c) + why) for c, why in zip(ranked, reasons, strict=True))


def claim_adjusting(candidate: Candidate) -> str:
    """What would be taken, what it still needs, and what is changed on the source first."""
    changes = ", ".join(f"{w.parameter}={w.value}" for w in candidate.adjust)
    first = f", after the running source is given {changes}" if changes else ""
    return claim(candidate.opening, candidate.answer) + first


def adjusted(source: Source, values: Mapping[str, str]) -> Source:
    """The source with other values of some parameters."""
    parameters = tuple(replace(p, value=values.get(p.name, p.value)) for p in source.parameters)
    return replace(source, parameters=parameters)


def _value_for(mine: SourceParameter | None, own: Parameter | None, there: Parameter | None) -> str | None:
    if mine is None or mine.value is None or own is None or own.type is None or own.fault is not None:
        return None
    if not (own.runtime_writable and own.has_file):
        return None
    off = own.off if own.off is not None and allows(own.allowed, own.type, own.off) else None
    if there is None:
        return off
    off_there = off is not None and off == there.off and allows(there.allowed, own.type, off)
    choices = {*_common(own, there, mine.value), *((off,) if off is not None and off_there else ())}
    choices -= {mine.value, *(() if off_there else (own.off,))}
    usable = [v for v in choices if v is not None]
    return min(usable, key=lambda v: _distance(own.type, v, mine.value or "", there.init), default=None)


def _common(own: Parameter, there: Parameter, current: str) -> Iterable[str]:
    """Values that both sides allow; of ranges those that matter: nearest to the current one, and what is beside."""
    assert own.type is not None
    if own.type is ValueType.BOOL:
        options: Iterable[str] = ("off", "on")
    elif own.type is ValueType.INT:
        options = _ints(own.allowed, there.allowed, number(current))
    else:
        named = {text for text in (own.init, there.init, there.off) if text is not None}
        options = {*_texts(own.allowed), *_texts(there.allowed), *named}
    return (v for v in options if allows(own.allowed, own.type, v) and allows(there.allowed, own.type, v))


def _texts(allowed: Allowed | None) -> frozenset[str]:
    return allowed.texts if allowed is not None else frozenset()


def _ints(own: Allowed | None, there: Allowed | None, current: int) -> Iterable[str]:
    """The nearest to ``current`` is an end of a span of one side, or beside ``current``, or beside one of these."""
    ends = {current}
    for allowed in (own, there):
        if allowed is not None:
            ends |= {number(text) for text in allowed.texts} | {end for span in allowed.ranges for end in span}
    return (str(end + step) for end in ends for step in (-1, 0, 1) if end + step >= 0)


def _distance(value_type: ValueType | None, value: str, current: str, init: str | None) -> tuple[bool, int, str]:
    if value_type is not ValueType.INT:
        return value != init, 0, value
    return number(value) > number(current), abs(number(value) - number(current)), value
