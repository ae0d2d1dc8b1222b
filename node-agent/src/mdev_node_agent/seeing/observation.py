"""What the agent saw of its node at one time: the only thing that flows from the back-ends to the rest.

Texts are raw, less one trailing newline. Nothing here is interpreted beyond what the driver itself publishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """An attribute that could not be read, or whose text is not of the declared type (``errno`` empty then).

    ``path`` is below the root of sysfs; ``name`` is a parameter's name, or that of the attribute.
    """

    path: str
    name: str
    errno: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """One type of a parent. ``profile`` is the spec of its DeviceProfile (api.md), ``available`` as the kernel says.

    ``available`` None: unreadable, told in ``unreadable``. ``places``: ids of the devices that can become one now, in a
    stable order (VF addresses); None: the id is free to choose (an mdev's UUID). ``lasting``: its devices are there
    before and after, so to make one is to claim it, and to release it ends the claim; then ``places`` has all of them,
    and which of them are free is a question of use and of claims.
    """

    type: str
    profile: Mapping[str, Any]
    available: int | None
    places: tuple[str, ...] | None = None
    lasting: bool = False
    unreadable: tuple[Unreadable, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """A device that offers types."""

    name: str
    driver: str
    numa_node: int | None = None
    offers: tuple[Offer, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """A device: ``values`` has every published parameter that could be read (canonical text).

    ``profile``: spec of its DeviceProfile where its type has several, one of the type's offers has it; None: the type
    has only one, or nothing says which.
    """

    id: str
    parent: str
    type: str
    values: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()
    profile: Mapping[str, Any] | None = None
    vfio_group: str | None = None
    vfio_device: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """Everything seen on this node. ``unreadable``: what belongs to no parent or instance, and what was cut off."""

    boot_id: str
    parents: tuple[Parent, ...] = ()
    instances: tuple[Instance, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    def instance(self, instance_id: str) -> Instance | None:
        """The instance of this id, if it was seen."""
        return next((i for i in self.instances if i.id == instance_id), None)

    def offers(self, parent: str, type_id: str) -> tuple[Offer, ...]:
        """The offers of this type on this parent: one for each of its models, all of the same free instances."""
        return tuple(o for p in self.parents if p.name == parent for o in p.offers if o.type == type_id)

    def offer(self, parent: str, type_id: str) -> Offer | None:
        """The first of them, if any was seen: enough for whatever does not depend on the model."""
        return next(iter(self.offers(parent, type_id)), None)

    def offer_of(self, instance: Instance) -> Offer | None:
        """The offer that has the device's profile; None: it was not seen, or nothing says which of several it is."""
        offers = self.offers(instance.parent, instance.type)
        if instance.profile is not None:
            return next((offer for offer in offers if offer.profile == instance.profile), None)
        return offers[0] if len(offers) == 1 else None
