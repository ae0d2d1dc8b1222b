"""From what was seen to what is published."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from mdev_api.hashing import profile_name
from mdev_api.kinds.common import dump
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.kubelet.serving import FreeSlots, Pod, Served, Service
from mdev_node_agent.publishing.inventory import take_stock
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.observation import Instance, Observation, Offer, Parent, Unreadable
from mdev_node_agent.seeing.sight import Sight
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel

PROFILE: dict[str, Any] = {
    "backend": "mdev",
    "driver": {"name": "d"},
    "type": {"id": "d-1"},
    "published": {"model": "m", "parameters": [{"name": "memory", "type": "int", "initValue": "1024"}]},
}


def seen(instance: Instance | None = None, *, profile: dict[str, Any] = PROFILE, offers: int = 1) -> Sight:
    offered = tuple(Offer(type=f"d-{n}", profile=profile, available=3) for n in range(1, offers + 1))
    parents = (Parent(name="p", driver="d", offers=offered),)
    instances = () if instance is None else (instance,)
    return Sight(observation=Observation(boot_id="boot-1", parents=parents, instances=instances))


DEVICE = Instance(id="i-1", parent="p", type="d-1", values={"memory": "1024"})


def test_a_profile_is_named_by_its_content() -> None:
    stock = take_stock(seen())
    assert stock.profiles == {profile_name(PROFILE): PROFILE}
    assert stock.status.parents[0].offers[0].profile == profile_name(PROFILE)


def test_only_values_that_differ_from_the_init_value_are_published() -> None:
    changed = replace(DEVICE, values={"memory": "4096"})
    assert take_stock(seen(DEVICE)).status.instances[0].values == {}
    assert take_stock(seen(changed)).status.instances[0].values == {"memory": "4096"}


def test_attributes_are_published_only_where_the_driver_publishes_nothing() -> None:
    device = replace(DEVICE, attributes={"vendor/ports": "2"}, values={})
    silent = {key: value for key, value in PROFILE.items() if key != "published"}
    assert take_stock(seen(device)).status.instances[0].attributes == {}
    assert take_stock(seen(device, profile=silent)).status.instances[0].attributes == {"vendor/ports": "2"}


def test_an_offer_whose_profile_does_not_fit_the_schema_is_not_shown_and_told() -> None:
    stock = take_stock(seen(DEVICE, profile={**PROFILE, "driver": {"name": "d" * 300}}))
    assert stock.status.parents[0].offers == ()
    assert stock.status.instances == ()
    assert stock.profiles == {}
    assert "driver.name" in stock.told[0]
    assert "driver.name" in stock.status.parents[0].unreadable[0].message


def test_an_offer_whose_profile_was_refused_is_not_shown_and_told() -> None:
    stock = take_stock(seen(DEVICE), refused={profile_name(PROFILE): "ProfileRefused: other content"})
    assert (stock.status.parents[0].offers, stock.status.instances) == ((), ())
    assert "ProfileRefused" in stock.told[0]


def test_what_cannot_be_read_is_cut_to_what_the_object_may_hold() -> None:
    many = tuple(Unreadable(path="p", name=f"a-{n}", errno="EIO", message="x" * 2000) for n in range(100))
    parent = Parent(name="p", driver="d", unreadable=many)
    told = take_stock(Sight(observation=Observation(boot_id="b", parents=(parent,)))).status.parents[0].unreadable
    assert len(told) == 32 and "69 more" in told[-1].message
    assert max(len(t.message) for t in told) == 1024


def test_what_the_ledger_lists_is_managed() -> None:
    assert take_stock(seen(DEVICE), managed={"i-1"}).status.instances[0].managed is True
    assert take_stock(seen(DEVICE)).status.instances[0].managed is False


def test_an_inventory_of_a_node_full_of_devices_stays_small() -> None:
    """Design section 8: at most 30 kB with 64 instances, managedFields included, so far less without."""
    kernel = MemoryKernel(drivers=[Gfx(parents=4, pool_mb=65536, nics=64)])
    for number in range(64):
        path = f"class/mdev_bus/gfx{number % 4}/mdev_supported_types/gfx-varGB/create"
        kernel.write(path, f"00000000-0000-4000-8000-{number:012}")
    observation = observe(kernel, [MdevBackend()])
    status = take_stock(Sight(observation=observation, uses=kernel.look(observation.instances))).status
    assert len(status.instances) == 64
    assert len(json.dumps(dump(status)).encode()) < 24_000


def served(*instances: str, free: tuple[str, ...] = (), fault: str | None = None) -> Sight:
    """A node whose devices of one type are served to pods, or free."""
    offers = (Offer(type="d-1", profile=PROFILE, available=0),)
    seen_instances = tuple(Instance(id=i, parent="p", type="d-1") for i in (*instances, *free))
    observation = Observation(
        boot_id="boot-1", parents=(Parent(name="p", driver="d", offers=offers),), instances=seen_instances
    )
    pods = tuple(Served(instance=i, resource="v/gpu", pod=Pod(namespace="ns", name=f"pod-{i}")) for i in instances)
    slots = (FreeSlots(resource="v/gpu", instances=free),)
    return Sight(observation=observation, service=Service(serving=pods, slots=slots, current=True, fault=fault))


def test_whom_the_kubelet_gave_a_device_and_what_is_free_is_published() -> None:
    status = dump(take_stock(served("i-1", free=("i-2",))).status)
    assert status["serving"] == [{"instance": "i-1", "resource": "v/gpu", "podNamespace": "ns", "podName": "pod-i-1"}]
    assert status["slots"] == [{"resource": "v/gpu", "free": 1, "instances": ["i-2"]}]


def test_of_many_free_devices_all_are_counted_and_64_named() -> None:
    [slot] = take_stock(served(free=tuple(f"i-{n:03}" for n in range(100)))).status.slots
    assert slot.free == 100 and len(slot.instances) == 64


def test_a_silent_kubelet_is_told() -> None:
    assert take_stock(served(fault="the kubelet does not answer")).told == ("the kubelet does not answer",)
