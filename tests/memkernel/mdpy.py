"""The kernel's sample driver mdpy: displays, four in all, which the mdev core counts; no metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.memkernel.core import Device, Kind, MdevCore, MdevType
from tests.memkernel.driver import add_parent
from tests.memkernel.machine import Machine
from tests.memkernel.tree import File, constant

_RESOLUTIONS = {"vga": "640x480", "xga": "1024x768", "hd": "1920x1080"}


@dataclass(kw_only=True, eq=False)
class Mdpy:
    """The module."""

    name: str = field(default="mdpy", init=False)
    version: str | None = field(default=None, init=False)
    max_instances: int | None = field(default=4, init=False)

    def load(self, machine: Machine, core: MdevCore) -> None:
        """insmod."""
        core.register_driver(self)
        core.register_parent(self, add_parent(machine, "mdpy", "mdpy"), [_kind(*kind) for kind in _RESOLUTIONS.items()])

    def available(self, mdev_type: MdevType) -> int:
        """Never asked: the core counts."""
        return mdev_type.parent.left

    def probe(self, device: Device) -> None:
        """Nothing can be lacking."""

    def group(self, device: Device) -> tuple[str, Mapping[str, File]]:
        """``vendor/resolution``."""
        return "vendor", {"resolution": constant(str(device.type.kind.about))}

    def remove(self, device: Device) -> None:
        """Nothing to give back."""


def _kind(name: str, resolution: str) -> Kind:
    description = f"virtual display, {resolution} framebuffer"
    return Kind(name=name, pretty=f"mdpy-{name}", description=description, about=resolution)
