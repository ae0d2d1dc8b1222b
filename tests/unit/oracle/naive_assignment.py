"""Several devices together: every way is tried; design section 4, point 5, a second time; see :mod:`naive`.

A *device* is ``{"source", "own", "type"}`` (``own``: its own definitions if it may be changed while it runs, or None);
a *parent* is ``{"said": {type: how many more, says the kernel}, "promised": [type]}``, by (node, name); of a parent
that is not among them each place has its own free instances.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from tests.unit.oracle import naive, naive_adjustment, naive_writing
from tests.unit.oracle.naive import text

Parents = Mapping[tuple[str, str], Mapping[str, Any]]
Fit = tuple[tuple[Any, ...], Mapping[str, Any]]
"""What a place costs (less is better, entry by entry) and the place."""


def fits(device: Mapping[str, Any], places: Sequence[Mapping[str, Any]]) -> list[Fit]:
    """The places that take this device alone."""
    found = []
    for place in places:
        there = place["destination"]
        way = way_to(device, there)
        asked = naive_adjustment.adjusted(device["source"], way or {})
        if way is None or naive.findings(asked, there) or place["free"] < 1:
            continue
        wanted = {name: text(value) for name, value in naive.desired(asked, there).items()}
        held = place["values"]
        if held is None:
            held = {name: text(value) for name, value in naive.init_values(there).items()}
        found.append((cost(device, place, len(way), len(naive_writing.writes(there, wanted, held))), place))
    return found


def way_to(device: Mapping[str, Any], there: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return {} if device["own"] is None else naive_adjustment.adjustment(device["source"], device["own"], there)


def cost(device: Mapping[str, Any], place: Mapping[str, Any], changes: int, writes: int) -> tuple[Any, ...]:
    return (
        changes,
        int(place["suspect"]),
        writes,
        int(place["instance"] is None and place["slot"] is None),
        *naive.flexibility(place["destination"]),
        int(device["type"] is None or place["type"] != device["type"]),
        -place["free"],
    )


def goes_together(places: Sequence[Mapping[str, Any]], parents: Parents) -> bool:
    """An instance goes once, everything else as often as it is free, and a parent's types as long as it has room."""
    alone = Counter((place["node"], place["alone"]) for place in places if place["alone"])
    made: dict[tuple[str, str], list[str]] = {}
    for place in places:
        if is_new(place) and (place["node"], place["parent"]) in parents:
            made.setdefault((place["node"], place["parent"]), []).append(place["type"])
    own = [place for place in places if not (is_new(place) and (place["node"], place["parent"]) in parents)]
    return (
        all(count == 1 for count in alone.values())
        and all(sum(other is place for other in own) <= place["free"] for place in own)
        and all(left(parents[which], type_id, types) >= 0 for which, types in made.items() for type_id in types)
    )


def is_new(place: Mapping[str, Any]) -> bool:
    return place["instance"] is None and place["slot"] is None


def left(parent: Mapping[str, Any], type_id: str, taken: Sequence[str]) -> Fraction:
    """One of four is a quarter of everything; of what nobody said anything one is one."""
    said = parent["said"]
    of = Fraction(said.get(type_id, 0))
    return of - sum(of / said[gone] if said.get(gone) else 1 for gone in [*parent["promised"], *taken])


def best(devices: Sequence[list[Fit]], parents: Parents) -> dict[str, tuple[Any, ...]]:
    """The least sum of costs on each node that takes all of them."""
    ways: dict[str, list[tuple[Any, ...]]] = {}
    for chosen in itertools.product(*devices):
        nodes = sorted({place["node"] for _, place in chosen})
        if len(nodes) == 1 and goes_together([place for _, place in chosen], parents):
            ways.setdefault(nodes[0], []).append(total(chosen))
    return {node: min(totals) for node, totals in ways.items()}


def total(chosen: Sequence[Fit]) -> tuple[Any, ...]:
    return tuple(map(sum, zip(*(costs for costs, _ in chosen), strict=True)))


def go_here(devices: Sequence[list[Fit]], node: str, parents: Parents) -> bool:
    return node in best([[fit for fit in fits if fit[1]["node"] == node] for fits in devices], parents)
