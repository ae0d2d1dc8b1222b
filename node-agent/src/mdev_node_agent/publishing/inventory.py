"""From what was seen to what is published: the status of NodeDevices and the DeviceProfiles that it refers to.

Pure. What does not fit the API's schema is left out and told, in ``unreadable`` of its parent or in the condition
Healthy; it never makes an object that the API server refuses. An offer whose profile cannot be published is not shown:
nobody could say what it is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from mdev_api.hashing import canonical_json, profile_name
from mdev_api.kinds import node_devices as kinds
from mdev_api.kinds.common import dump
from mdev_api.kinds.device_profile import DeviceProfileSpec
from mdev_node_agent.kubelet.serving import Service
from mdev_node_agent.publishing import lasting
from mdev_node_agent.seeing.observation import Instance, Observation, Offer, Parent, Unreadable
from mdev_node_agent.seeing.sight import Sight

MAX_MESSAGE = 1024
MAX_PARENT_UNREADABLE = 32
MAX_INSTANCE_UNREADABLE = 64
MAX_ATTRIBUTES = 16
MAX_TEXT = 1024
MAX_NAME = 255
MAX_SERVING = 512
MAX_SLOTS = 64
MAX_SLOT_INSTANCES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """A DeviceProfile of an offer. ``fault``: a sentence why the schema does not admit it; no ``name`` then."""

    name: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """What is to be published. ``status`` without conditions; ``told``: what is wrong, as sentences for Healthy."""

    status: kinds.NodeDevicesStatus
    profiles: Mapping[str, Mapping[str, Any]]
    told: tuple[str, ...] = ()


def profile_of(offer: Offer) -> Profile:
    """The DeviceProfile of an offer: its name is the hash of its spec as it goes on the wire."""
    return _profile(canonical_json(offer.profile).decode())


@lru_cache(maxsize=1024)
def _profile(text: str) -> Profile:
    try:
        spec = dump(DeviceProfileSpec.model_validate(json.loads(text)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Profile(fault=f"its profile cannot be published: {where}: {first['msg']}")
    return Profile(name=profile_name(spec), spec=spec)


def instance_profile(observation: Observation, instance: Instance) -> Profile | None:
    """The profile of a device; None if its parent or type was not seen, or nothing says which of several it has."""
    offer = observation.offer_of(instance)
    return None if offer is None else profile_of(offer)


def take_stock(
    sight: Sight, *, managed: Collection[str] = frozenset(), refused: Mapping[str, str] | None = None
) -> Inventory:
    """The inventory. ``managed``: instances of the ledger; ``refused``: why a profile (by name) may not be used."""
    refused = refused or {}
    told: list[str] = [unreadable.message for unreadable in sight.observation.unreadable]
    profiles: dict[str, Mapping[str, Any]] = {}
    listed, left_out = lasting.listed(sight, managed)
    seen = [_with_room(parent, sight, managed, left_out) for parent in sight.observation.parents]
    parents = [_parent(parent, profiles, refused, told) for parent in seen]
    instances = []
    for instance in listed:
        shown = instance_view(sight, instance, managed=managed)
        if shown is None or shown.profile in refused:
            why = "; ".join(u.message for u in instance.unreadable if shown is None) or "no profile"
            told.append(f"device {instance.id} of type {instance.type} on {instance.parent} is not shown: {why}")
        else:
            instances.append(shown)
    if sight.service.fault is not None:
        told.append(sight.service.fault)
    shown_ids = {instance.id for instance in instances}
    status = kinds.NodeDevicesStatus(
        boot_id=sight.observation.boot_id,
        parents=tuple(parents),
        instances=tuple(instances),
        serving=_serving(sight.service, shown_ids, told),
        slots=_slots(sight.service, shown_ids, told),
    )
    return Inventory(status=status, profiles=profiles, told=tuple(told))


def instance_view(
    sight: Sight, instance: Instance, *, managed: Collection[str] = frozenset()
) -> kinds.NodeInstance | None:
    """One device as NodeDevices shows it; None if its type has no profile that can be published.

    The reading digest of a source is computed from this, so both sides see the same.
    """
    profile = instance_profile(sight.observation, instance)
    if profile is None or profile.fault is not None:
        return None
    published = profile.spec.get("published")
    unreadable = list(instance.unreadable)
    attributes: dict[str, str] = {}
    if published is None:
        attributes = _fitting(instance.attributes, unreadable)
    use = sight.use(instance.id)
    return kinds.NodeInstance(
        id=instance.id,
        parent=instance.parent,
        type=instance.type,
        profile=profile.name,
        values=_differing(instance.values, published or {}),
        attributes=attributes,
        unreadable=_unreadable(unreadable, MAX_INSTANCE_UNREADABLE),
        in_use=kinds.InUse(use.state),
        in_use_source=kinds.InUseSource(use.source),
        managed=instance.id in managed,
    )


def _serving(service: Service, shown: Collection[str], told: list[str]) -> tuple[kinds.Serving, ...]:
    serving = [
        kinds.Serving(
            instance=served.instance,
            resource=served.resource,
            pod_namespace=served.pod.namespace,
            pod_name=served.pod.name,
        )
        for served in service.serving
        if served.instance in shown
    ]
    if len(serving) > MAX_SERVING:
        told.append(f"{len(serving)} devices are served to pods: only the first {MAX_SERVING} are shown")
    return tuple(serving[:MAX_SERVING])


def _slots(service: Service, shown: Collection[str], told: list[str]) -> tuple[kinds.Slot, ...]:
    slots = []
    for free in service.slots:
        instances = tuple(instance for instance in free.instances if instance in shown)
        number = free.free - len(free.instances) + len(instances)
        named = instances[:MAX_SLOT_INSTANCES]
        slots.append(kinds.Slot(resource=free.resource, free=number, instances=named, types=free.types))
    if len(slots) > MAX_SLOTS:
        told.append(f"{len(slots)} resources are about devices of this node: only the first {MAX_SLOTS} are shown")
    return tuple(slots[:MAX_SLOTS])


def _with_room(parent: Parent, sight: Sight, managed: Collection[str], left_out: Sequence[str]) -> Parent:
    """The parent with what its lasting devices leave free, and the word about those that are not listed."""
    offers, unreadable = [], list(parent.unreadable)
    for offer in parent.offers:
        room, told = lasting.available(offer, sight, managed)
        offers.append(replace(offer, available=room))
        unreadable += [told] if told is not None else []
        unlisted = [place for place in left_out if offer.lasting and place in (offer.places or ())]
        unreadable += [lasting.told_of(unlisted)] if unlisted else []
    return replace(parent, offers=tuple(offers), unreadable=tuple(unreadable))


def _parent(
    parent: Parent, profiles: dict[str, Mapping[str, Any]], refused: Mapping[str, str], told: list[str]
) -> kinds.NodeParent:
    unreadable = list(parent.unreadable)
    offers = []
    for offer in parent.offers:
        unreadable += offer.unreadable
        profile = profile_of(offer)
        fault = profile.fault or refused.get(profile.name)
        if fault is not None:
            told.append(f"type {offer.type} of {parent.name} is not offered: {fault}")
            unreadable.append(Unreadable(path="", name=offer.type, errno="", message=fault))
            continue
        profiles[profile.name] = profile.spec
        offers.append(kinds.NodeOffer(type=offer.type, profile=profile.name, available=offer.available))
    return kinds.NodeParent(
        name=parent.name,
        driver=parent.driver[:MAX_NAME],
        numa_node=parent.numa_node,
        offers=tuple(offers),
        unreadable=_unreadable(unreadable, MAX_PARENT_UNREADABLE),
    )


def _differing(values: Mapping[str, str], published: Mapping[str, Any]) -> dict[str, str]:
    """Only what differs from the published init value."""
    init = {p["name"]: p.get("initValue") for p in published.get("parameters", ())}
    return {name: value for name, value in values.items() if name not in init or init[name] != value}


def _fitting(attributes: Mapping[str, str], unreadable: list[Unreadable]) -> dict[str, str]:
    fitting: dict[str, str] = {}
    for name, text in attributes.items():
        if len(text) <= MAX_TEXT and len(fitting) < MAX_ATTRIBUTES:
            fitting[name] = text
        else:
            message = f"{name} is not published: {len(text)} characters, or more than {MAX_ATTRIBUTES} attributes"
            unreadable.append(Unreadable(path=name, name=name, errno="", message=message))
    return fitting


def _unreadable(told: Iterable[Unreadable], limit: int) -> tuple[kinds.UnreadableParameter, ...]:
    listed = list(told)
    shown = [
        kinds.UnreadableParameter(name=t.name[:MAX_NAME], errno=t.errno or None, message=t.message[:MAX_MESSAGE])
        for t in listed[:limit]
    ]
    if len(listed) > limit:
        more = f"{len(listed) - limit + 1} more cannot be read either"
        shown[-1] = kinds.UnreadableParameter(name="...", message=more)
    return tuple(shown)
