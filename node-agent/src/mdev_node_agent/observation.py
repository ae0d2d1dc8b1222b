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

    ``available`` None: unreadable, told in ``unreadable``.
    """

    type: str
    profile: Mapping[str, Any]
    available: int | None
    unreadable: tuple[Unreadable, ...] = ()


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
    """A device: ``values`` has every published parameter that could be read (canonical text)."""

    id: str
    parent: str
    type: str
    values: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()
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

    def offer(self, parent: str, type_id: str) -> Offer | None:
        """The offer of this type on this parent, if it was seen."""
        for p in self.parents:
            if p.name == parent:
                return next((o for o in p.offers if o.type == type_id), None)
        return None
