"""How much of each offer of a parent is left: what its agent counted, less what is promised. Pure.

A reservation counts against its parent until its instance shows in NodeDevices (api.md). What it takes from which offer
is one of two things:

* Types that the parent *makes instances of* live from the parent's one pool, as far as anybody knows; what is left of
  the others then is :mod:`mdev_api.engine.capacity`'s estimate. Several models of one type are several offers, with one
  profile each, of the very same free instances (design section 1), so they count by their type.
* Devices that *are there anyway* (plain VFIO functions) are each of one profile for good: the free ones of a profile
  are its own, and share with nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mdev_api.engine.capacity import Pool, left_in
from mdev_api.kinds.node_devices import NodeDevicesStatus, NodeOffer, NodeParent
from mdev_api.kinds.node_reservations import Create, Role, State
from mdev_operator.inventory.cluster import Held, ProfileView, instance_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What is left of one offer. ``pool``: what it shares with others of its parent; None: it shares with none."""

    offer: NodeOffer
    free: int
    pool: Pool | None


def room_of(
    profiles: Mapping[str, ProfileView], parent: NodeParent, held: Sequence[Held], counted: Collection[str]
) -> tuple[Room, ...]:
    """The room of each offer of a parent, in their order. ``counted``: see :func:`counted_in`."""
    promised = [c for h in held if (c := _promised(h, parent.name, counted)) is not None]
    shared = [offer for offer in parent.offers if not _there_anyway(profiles, offer.profile)]
    pool = Pool(
        said={offer.type: offer.available or 0 for offer in shared},
        promised=tuple(create.type for create in promised if not _there_anyway(profiles, create.profile)),
    )
    left = left_in(pool)
    return tuple(
        Room(offer=offer, free=left[offer.type], pool=pool) if offer in shared else _own(offer, promised)
        for offer in parent.offers
    )


def counted_in(status: NodeDevicesStatus) -> frozenset[str]:
    """Instances that are less in their parent's count already.

    A plain VFIO function is shown before anybody has claimed it, and is less only when it is managed; what an agent
    made is managed as soon as it is shown.
    """
    return frozenset(instance.id for instance in status.instances if instance.managed)


def _own(offer: NodeOffer, promised: Sequence[Create]) -> Room:
    taken = sum((create.type, create.profile) == (offer.type, offer.profile) for create in promised)
    return Room(offer=offer, free=max(0, (offer.available or 0) - taken), pool=None)


def _there_anyway(profiles: Mapping[str, ProfileView], profile: str) -> bool:
    """What is made is made of a type. An unknown profile counts against the pool: less is offered then, never more."""
    view = profiles.get(profile)
    return view is not None and view.profile.spec.type is None


def _promised(held: Held, parent: str, counted: Collection[str]) -> Create | None:
    """What a reservation will take of this parent that the agent's count does not know yet."""
    create = held.entry.device.create
    if held.entry.role is not Role.DESTINATION or create is None or create.parent != parent:
        return None
    if instance_of(held) in counted:
        return None
    promised = held.answer is None or held.answer.state in (State.PENDING, State.PREPARED, State.HANDED_OVER)
    return create if promised else None
