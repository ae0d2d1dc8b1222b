"""NVIDIA's vendor-specific VFIO: cards whose VFs are configured to vGPU types (``nvidia/`` on each VF).

As the facts have it, and as tests/kernel/vgpu_driver answers in a real kernel: what is creatable shrinks as VFs are
configured, a VF that is configured lists nothing, numbers are a card's own, what is configured is lost with SR-IOV.
Nothing here prints its content: it leads to the whole tree, and a failing test would print that for ever.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.memkernel.core import MdevCore
from tests.memkernel.kstrto import fault
from tests.memkernel.machine import Machine
from tests.memkernel.pci import add_function, drop_function, vf_address
from tests.memkernel.tree import Dir, File
from tests.memkernel.vfio import VfioDevice

HEADER = "ID    : vGPU Name"
RTX6000_ADA = {
    **{940 + n: (f"NVIDIA RTX6000-Ada-{gb}Q", gb) for n, gb in enumerate((1, 2, 3, 4, 6, 8, 12, 16, 24, 48), start=1)},
    1961: ("NVIDIA RTX6000-Ada: 24C", 24),
}
"""Number -> (name, GB) as an RTX 6000 Ada lists them, and one name with the list's separator."""
CARD_GB = 48
_IDS = {"vendor": "0x10de", "device": "0x26b1", "subsystem_vendor": "0x10de", "subsystem_device": "0x16a1"}


@dataclass(kw_only=True, eq=False, repr=False)
class Vf:
    """A virtual function. ``type``: its number, 0 for none."""

    card: Card
    home: Dir
    vfio: VfioDevice
    type: int = 0


@dataclass(kw_only=True, eq=False, repr=False)
class Card:
    """A physical function with its VFs. Numbers are ``offset`` higher than those of the catalogue."""

    home: Dir
    offset: int
    vfs: list[Vf] = field(default_factory=list)


@dataclass(kw_only=True, eq=False, repr=False)
class Vgpu:
    """The driver. ``mixed``: different types on one card; ``header``: the list has its first line; ``lingering``: the
    program behind a closed device has not ended, so clearing is EBUSY. ``before_write``: called with the VF's address
    and what is to be written, before anything is decided, as somebody else who is faster.
    """

    cards: int = 1
    vfs: int = 4
    mixed: bool = True
    header: bool = True
    lingering: bool = False
    rfc: bool = False
    name: str = field(default="nvidia", init=False)
    version: str | None = "550.90.05"
    found: list[Card] = field(default_factory=list, init=False)
    writes: list[tuple[str, str]] = field(default_factory=list, init=False)
    before_write: Callable[[str, str], None] = field(default=lambda address, text: None)

    def load(self, machine: Machine, core: MdevCore) -> None:
        """insmod, and SR-IOV is switched on."""
        self._machine, self._vfio = machine, core.vfio
        self.found = []
        for number in range(self.cards):
            address = f"0000:{0x65 + number:02x}:00.0"
            home = add_function(machine, address, driver="nvidia", ids=_IDS)
            self.found.append(Card(home=home, offset=1000 * number))
            self.sriov(number, on=True)

    def sriov(self, number: int, *, on: bool) -> None:
        """Switch the VFs of a card on or off."""
        card = self.found[number]
        with self._machine.lock:
            for vf in card.vfs:
                self._vfio.unregister(vf.vfio)
                drop_function(self._machine, vf.home)
            card.vfs = [self._add(card, n) for n in range(self.vfs)] if on else []

    def vf(self, address: str) -> Vf:
        """The VF at this address."""
        return next(vf for card in self.found for vf in card.vfs if vf.home.name == address)

    def configured(self) -> dict[str, str]:
        """Name of the type by address, of each VF that has one."""
        vfs = [vf for card in self.found for vf in card.vfs if vf.type]
        return {vf.home.name: RTX6000_ADA[vf.type - vf.card.offset][0] for vf in vfs}

    def configure(self, address: str, name: str) -> None:
        """Somebody else configures a VF."""
        vf = self.vf(address)
        number = next(n for n, (known, _) in RTX6000_ADA.items() if known == name) + vf.card.offset
        self._configure(vf, number)

    def clear(self, address: str) -> None:
        """Somebody else clears a VF."""
        self._configure(self.vf(address), 0)

    def _add(self, card: Card, number: int) -> Vf:
        address = vf_address(card.home.name, number)
        home = add_function(self._machine, address, driver="nvidia", ids=_IDS, card=card.home, number=number)
        vf = Vf(card=card, home=home, vfio=self._vfio.register(home))
        home.directory("nvidia").fill(
            {
                "creatable_vgpu_types": File(show=lambda: self._list(vf).encode()),
                "current_vgpu_type": File(show=lambda: f"{vf.type}\n".encode(), store=lambda d: self._store(vf, d)),
            }
        )
        return vf

    def _list(self, vf: Vf) -> str:
        types = {n + vf.card.offset: name for n, (name, _) in RTX6000_ADA.items() if self._has_room(vf.card, n)}
        lines = [f"{n:<5} : {name}\n" for n, name in types.items()] if not vf.type else []
        header = self.header and not (self.rfc and _set(vf.card))
        return "".join(([f"{HEADER}\n"] if header else []) + lines)

    def _suits(self, card: Card, number: int) -> bool:
        return self.mixed or not _set(card) or _set(card)[0] == number

    def _has_room(self, card: Card, number: int) -> bool:
        used = sum(RTX6000_ADA[n][1] for n in _set(card))
        return self._suits(card, number) and used + RTX6000_ADA[number][1] <= CARD_GB

    def _store(self, vf: Vf, data: bytes) -> None:
        text = data.decode().removesuffix("\n")
        self.before_write(vf.home.name, text)
        if not (text.isascii() and text.isdigit()):
            raise fault(errno.EINVAL)
        if int(text) >= 2**63:
            raise fault(errno.ERANGE)
        self.writes.append((vf.home.name, text))
        self._configure(vf, int(text))

    def _configure(self, vf: Vf, number: int) -> None:
        known = number - vf.card.offset in RTX6000_ADA
        if self.rfc:
            self._configure_as_proposed(vf, number, known)
        elif vf.vfio.open or bool(number) == bool(vf.type):
            raise fault(errno.EPERM)
        elif not number and self.lingering:
            raise fault(errno.EBUSY)
        elif number and not (known and self._has_room(vf.card, number - vf.card.offset)):
            raise fault(errno.EIO)
        vf.type = number

    def _configure_as_proposed(self, vf: Vf, number: int, known: bool) -> None:
        """The errnos of the driver that is proposed for the kernel itself."""
        if vf.vfio.open:
            raise fault(errno.EBUSY)
        if number and not known:
            raise fault(errno.ENODEV)
        if number and vf.type:
            raise fault(errno.EBUSY)
        if number and not self._suits(vf.card, number - vf.card.offset):
            raise fault(errno.EINVAL)
        if number and not self._has_room(vf.card, number - vf.card.offset):
            raise fault(errno.ENOSPC)


def _set(card: Card) -> list[int]:
    """Numbers of what is configured, less the card's offset."""
    return [vf.type - card.offset for vf in card.vfs if vf.type]
