"""Places on a few nodes as plain data, for ranking and assignment, and the same as the engine's openings.

A *place* is ``{"node", "parent", "type", "profile", "free", "instance", "slot", "values", "suspect", "destination"}``:
an idle instance, free devices of a resource (a slot), or something to make a new instance from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdev_api.engine.capacity import Pool
from mdev_api.engine.metadata import Metadata
from mdev_api.engine.openings import Opening
from tests.unit.oracle import naive, plain_worlds, said
from tests.unit.oracle.tape import Tape, between, chance, one_of

TYPES = ["s", "t", "u"]
PARENTS = ["p", "q"]


def places(
    tape: Tape, nodes: Sequence[str], profiles: Sequence[dict[str, Any]], source: dict[str, Any], most: int
) -> list[dict[str, Any]]:
    """At most ``most`` on each node, all different."""
    made: dict[tuple[Any, ...], dict[str, Any]] = {}
    for node in nodes:
        for _ in range(between(tape, 1, most)):
            each = place(tape, node, between(tape, 0, len(profiles) - 1), profiles, source)
            made.setdefault(itself(each), each)
    return list(made.values())


def place(
    tape: Tape, node: str, profile: int, profiles: Sequence[dict[str, Any]], source: dict[str, Any]
) -> dict[str, Any]:
    there = profiles[profile]
    how = one_of(tape, ["new", "new", "idle", "idle", "slot"])
    wanted = {name: value for name, value in naive.desired(source, there).items() if value is not None}
    values = said.texts(plain_worlds.current_values(tape, there, wanted))
    if how == "slot" and chance(tape, 30):
        values = {name: value for name, value in values.items() if not chance(tape, 40)}
    return {
        "node": node,
        "parent": None if how == "slot" and chance(tape, 40) else one_of(tape, PARENTS),
        "type": one_of(tape, TYPES),
        "profile": f"profile-{profile}",
        "destination": there,
        "free": one_of(tape, [1, 1, 1, 0]) if how == "idle" else one_of(tape, [1, 2, 1, 3, 0]),
        "instance": one_of(tape, ["i", "j", "k"]) if how == "idle" else None,
        "slot": one_of(tape, ["x", "y"]) if how == "slot" else None,
        "values": None if how == "new" else values,
        "suspect": chance(tape, 10),
    }


def itself(each: dict[str, Any]) -> tuple[Any, ...]:
    """What is there once only: an instance and a resource are of one type and profile each."""
    if each["instance"] or each["slot"]:
        return (each["node"], each["instance"], each["slot"])
    return key(each)


def key(each: dict[str, Any] | Opening) -> tuple[Any, ...]:
    names = ("node", "parent", "type", "profile", "instance", "slot")
    return tuple(each[name] if isinstance(each, dict) else getattr(each, name) for name in names)


def openings(of: Sequence[dict[str, Any]], pools: dict[tuple[str, str], Pool] | None = None) -> list[Opening]:
    metadata: dict[str, Metadata] = {}
    return [
        Opening(
            metadata=metadata.setdefault(each["profile"], said.engine_metadata(each["destination"])),
            pool=pools.get((each["node"], each["parent"])) if pools is not None and each["slot"] is None else None,
            **{name: value for name, value in each.items() if name != "destination"},
        )
        for each in of
    ]
