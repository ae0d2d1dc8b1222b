"""NodeDevices of nodes with many functions: what is counted, what is listed, and how large it gets."""

from __future__ import annotations

import json
from collections.abc import Collection

from mdev_api.kinds.common import dump
from mdev_api.kinds.node_devices import NodeDevicesStatus
from mdev_node_agent.backends.every import every_backend
from mdev_node_agent.kubelet.serving import FreeSlots, Service
from mdev_node_agent.publishing.inventory import take_stock
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.in_use import NoSource
from mdev_node_agent.seeing.sight import Sight
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.vfio_functions import CARD, VfioFunctions, vf_address
from tests.memkernel.vgpu import Vgpu

FIRST, SECOND = "0000:81:00.4", "0000:81:00.5"


def sight(kernel: MemoryKernel, service: Service | None = None) -> Sight:
    seen = observe(kernel, every_backend())
    return Sight(observation=seen, uses=kernel.look(seen.instances), service=service or Service())


def stock(kernel: MemoryKernel, managed: Collection[str] = ()) -> NodeDevicesStatus:
    return take_stock(sight(kernel), managed=managed).status


def size(status: NodeDevicesStatus) -> int:
    return len(json.dumps(dump(status), separators=(",", ":")).encode())


def test_what_is_in_use_or_claimed_is_not_available() -> None:
    kernel = MemoryKernel(drivers=[VfioFunctions()])
    kernel.open_device(FIRST)
    (offer,) = stock(kernel, managed={SECOND}).parents[0].offers
    assert offer.available == 2


def test_what_may_be_in_use_is_not_available_and_that_is_told() -> None:
    seen = observe(MemoryKernel(drivers=[VfioFunctions()]), every_backend())
    (parent,) = take_stock(Sight(observation=seen, uses=NoSource().look(seen.instances))).status.parents
    assert parent.offers[0].available == 0
    assert "whether 4 of 4 devices are in use is not known" in parent.unreadable[0].message


def test_of_few_functions_every_one_is_listed() -> None:
    assert len(stock(MemoryKernel(drivers=[VfioFunctions(vfs=64)])).instances) == 64


def test_of_many_functions_those_that_matter_are_listed_and_the_others_counted() -> None:
    kernel = MemoryKernel(drivers=[VfioFunctions(vfs=200)])
    used, claimed = vf_address(CARD, 190), vf_address(CARD, 195)
    kernel.open_device(used)
    status = stock(kernel, managed={claimed})
    assert len(status.instances) == 64 and {used, claimed} <= {i.id for i in status.instances}
    (parent,) = status.parents
    assert parent.offers[0].available == 198
    assert "136 free devices are counted and not listed" in parent.unreadable[0].message


def test_a_function_that_a_device_plugin_offers_is_always_listed() -> None:
    kernel = MemoryKernel(drivers=[VfioFunctions(vfs=200)])
    last = vf_address(CARD, 199)
    service = Service(slots=(FreeSlots(resource="v/nic", instances=(last,)),), offered=frozenset({last}), current=True)
    status = take_stock(sight(kernel, service)).status
    assert last in {i.id for i in status.instances}
    assert status.slots[0].instances == (last,)


def test_hundreds_of_free_functions_leave_the_object_small() -> None:
    assert size(stock(MemoryKernel(drivers=[VfioFunctions(vfs=250)]))) < 16_000


def test_eight_cards_of_many_types_on_hundreds_of_free_functions_leave_the_object_small() -> None:
    status = stock(MemoryKernel(drivers=[Vgpu(cards=8, vfs=32)]))
    assert (len(status.parents), status.instances) == (8, ())
    assert size(status) < 16_000


def test_more_functions_than_can_be_seen_at_once_are_not_taken_for_free_ones() -> None:
    kernel = MemoryKernel(drivers=[VfioFunctions(vfs=600)])
    (offer,) = stock(kernel).parents[0].offers
    assert offer.available == 512
