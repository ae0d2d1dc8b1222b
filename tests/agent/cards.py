"""Cards with VFs in memory, and what tests do with them: a card of NVIDIA's, and one whose VFs vfio-pci's kin have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdev_api.kinds.node_reservations import State
from mdev_node_agent.memory.ledger import Ledger
from tests.agent.preparing import Bench, CutError, Lifeline, preparing
from tests.agent.reservations import value
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.vfio_functions import CARD, VfioFunctions
from tests.memkernel.vgpu import Vgpu

GPU = "0000:65:00.0"
FIRST, SECOND, THIRD, FOURTH = (f"0000:65:00.{n}" for n in (4, 5, 6, 7))
NIC_FIRST, NIC_SECOND = "0000:81:00.4", "0000:81:00.5"
EIGHT, TWO, WHOLE = "NVIDIA RTX6000-Ada-8Q", "NVIDIA RTX6000-Ada-2Q", "NVIDIA RTX6000-Ada-48Q"
NIC = "mlx5_vfio_pci"


def gpus(**of_driver: Any) -> tuple[MemoryKernel, Vgpu]:
    driver = Vgpu(**of_driver)
    return MemoryKernel(drivers=[driver]), driver


def nics(**of_driver: Any) -> tuple[MemoryKernel, VfioFunctions]:
    driver = VfioFunctions(**{"values": {"queues": "4", "mtu": "1500"}, **of_driver})
    return MemoryKernel(drivers=[driver]), driver


def claims(state_dir: Path, kernel: MemoryKernel) -> set[str]:
    return set(Ledger(state_dir, kernel.boot_id()).instances)


async def lives_on(kernel: MemoryKernel, state_dir: Path, lifeline: Lifeline, do: Callable[[Bench], Any]) -> bool:
    """Whether the process got through; it ends wherever its lifeline is cut."""
    try:
        async with preparing(kernel, state_dir, lifeline=lifeline) as one:
            await do(one)
    except CutError:
        return False
    return True


async def prepare(one: Bench) -> None:
    one.told(one.new(GPU, EIGHT))
    await one.settles(State.PREPARED)


async def take_back(one: Bench) -> None:
    one.told(one.new(GPU, EIGHT, intent="Undo"))
    await one.settles(State.UNDONE)


def nic(one: Bench, *, intent: str = "Hold", entry_id: str = "move-1", **values: str) -> dict[str, Any]:
    return one.new(CARD, NIC, entry_id, intent=intent, values=[value(name, text) for name, text in values.items()])
