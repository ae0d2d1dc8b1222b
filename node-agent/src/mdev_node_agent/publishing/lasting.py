"""Devices that are there whether or not anybody wants them (plain VFIO functions): which are free, which are listed.

A node may have hundreds of them, and NodeDevices must stay small (design section 8). So the free ones are a number in
their offer, and are listed one by one only while the node has few devices; those that somebody uses or has claimed,
that a device plugin offers, or of which it is not known always are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mdev_node_agent.seeing.in_use import InUse
from mdev_node_agent.seeing.observation import Instance, Offer, Unreadable
from mdev_node_agent.seeing.sight import Sight

MAX_LISTED = 64
"""Free ones are listed only up to this many devices of all kinds."""


def available(offer: Offer, sight: Sight, managed: Collection[str]) -> tuple[int | None, Unreadable | None]:
    """How many more the offer has, and what to tell of it. ``managed``: instances of the ledger."""
    if not offer.lasting:
        return offer.available, None
    unclaimed = [place for place in offer.places or () if place not in managed]
    states = [sight.use(place).state for place in unclaimed]
    unknown = states.count(InUse.UNKNOWN)
    if not unknown:
        return states.count(InUse.NO), None
    why = f"whether {unknown} of {len(unclaimed)} devices are in use is not known, so they are not offered"
    return states.count(InUse.NO), Unreadable(path="", name=offer.type, errno="", message=f"{offer.type}: {why}")


def listed(
    sight: Sight, managed: Collection[str], most: int = MAX_LISTED
) -> tuple[tuple[Instance, ...], tuple[str, ...]]:
    """The instances that are listed one by one, in their order, and the ids of the free ones that are not."""
    instances = sight.observation.instances
    places = {p for parent in sight.observation.parents for o in parent.offers if o.lasting for p in o.places or ()}
    free = [i.id for i in instances if i.id in places and _is_free(sight, i, managed)]
    room = max(0, most - (len(instances) - len(free)))
    left_out = frozenset(free[room:])
    return tuple(i for i in instances if i.id not in left_out), tuple(free[room:])


def told_of(left_out: Sequence[str]) -> Unreadable:
    """What stands with the parent of devices that are not listed."""
    message = f"{len(left_out)} free devices are counted and not listed one by one, the first of them {left_out[0]}"
    return Unreadable(path="", name="...", errno="", message=message)


def _is_free(sight: Sight, instance: Instance, managed: Collection[str]) -> bool:
    offered = instance.id in sight.service.offered
    return sight.use(instance.id).state is InUse.NO and instance.id not in managed and not offered
