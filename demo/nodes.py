"""What the demo needs of a node, whatever it runs on: the real agent, a program that opens a device, the sysfs tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A driver that a node has loaded, in terms of the sample driver's module parameters."""

    driver: str
    types: tuple[str, ...] = ()
    memory_allowed: tuple[int, ...] = ()


CARDS: dict[str, tuple[Card, ...]] = {
    "node-a": (Card(driver="gfx", types=("8GB",)), Card(driver="mtty")),
    "node-b": (Card(driver="gfx", types=("4GB", "8GB", "varGB")), Card(driver="mtty")),
    "node-c": (Card(driver="gfx", memory_allowed=(4096,)), Card(driver="mtty")),
}
"""A has 8 GB cards, B all three types, C an older driver; each has a serial card whose driver publishes nothing."""


RESCAN_SECONDS = 5.0
"""Opening a device sends no event: in use shows at the next rescan, by default each 60 s, here to be watched sooner."""


class Node(Protocol):
    """One node of the demo."""

    name: str

    def run_agent(self, *, lying: bool) -> None:
        """Start the real agent; ``lying``: one that says Prepared and does nothing."""

    def hold(self, instance: str) -> Callable[[], None]:
        """Open the device as a virtual machine monitor does; call the answer to close it."""

    def dump_tree(self) -> str:
        """The sysfs tree as the kernel shows it, not as the agent saw it."""

    def agent_log(self) -> str:
        """The end of what the agent said, for when the demo fails."""
