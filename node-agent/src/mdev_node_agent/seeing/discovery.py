"""One look at the whole node: what every back-end sees, with bounds, and never an exception for one bad attribute.

The bounds are those of NodeDevices: far above any node that exists (design section 8 reckons with 8 parents of 20
types), but a driver that counts wrong must not make an object that the API server refuses. What is cut off is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from mdev_node_agent.backends.backend import Backend
from mdev_node_agent.seeing.facts import Facts, with_facts
from mdev_node_agent.seeing.observation import Observation, Parent, Unreadable
from mdev_node_agent.sysfs.attribute import errno_name, reason
from mdev_node_agent.sysfs.port import Port

MAX_PARENTS = 64
MAX_OFFERS = 64
MAX_INSTANCES = 512

_T = TypeVar("_T")


def observe(port: Port, backends: Sequence[Backend], facts: Facts | None = None) -> Observation:
    """What is there now. A back-end that sees nothing at all is told, and the others still count.

    ``facts``: what the node's facts files say now; None: there are none.

    Raises OSError only if the kernel does not say which boot this is: without it nothing may be concluded.
    """
    boot_id = port.boot_id()
    told: list[Unreadable] = []
    found = []
    for backend in backends:
        try:
            found.append(backend.discover(port))
        except OSError as error:
            message = f"back-end {backend.name} sees nothing: {reason(error)}"
            told.append(Unreadable(path="", name=backend.name, errno=errno_name(error), message=message))
    parents = [_bounded(parent) for parent in _merged(parent for findings in found for parent in findings.parents)]
    instances = [instance for findings in found for instance in findings.instances]
    told += [unreadable for findings in found for unreadable in findings.unreadable]
    seen = Observation(
        boot_id=boot_id,
        parents=_cut(parents, MAX_PARENTS, "parents", told),
        instances=_cut(instances, MAX_INSTANCES, "instances", told),
        unreadable=tuple(told),
    )
    return seen if facts is None else with_facts(seen, facts())


def _merged(parents: Iterable[Parent]) -> list[Parent]:
    """One parent for each name: of one card, one back-end may see some functions and another one the others."""
    merged: dict[str, Parent] = {}
    for parent in parents:
        known = merged.get(parent.name)
        if known is not None:
            offers, unreadable = (*known.offers, *parent.offers), (*known.unreadable, *parent.unreadable)
            parent = replace(known, offers=offers, unreadable=unreadable)
        merged[parent.name] = parent
    return list(merged.values())


def _bounded(parent: Parent) -> Parent:
    told = list(parent.unreadable)
    offers = _cut(parent.offers, MAX_OFFERS, f"types of {parent.name}", told)
    return replace(parent, offers=offers, unreadable=tuple(told))


def _cut(items: Sequence[_T], limit: int, what: str, told: list[Unreadable]) -> tuple[_T, ...]:
    if len(items) > limit:
        message = f"{len(items)} {what}: only the first {limit} are shown"
        told.append(Unreadable(path="", name=what, errno="", message=message))
    return tuple(items[:limit])
