"""The sample driver gfx: it publishes metadata, and its devices have parameters (tests/kernel/driver/README.md).

Values live in the instance, the pool in the parent. A write goes through the eight steps of the README in their order.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.memkernel.core import Device, Kind, MdevCore, MdevType, Parent
from tests.memkernel.driver import add_parent
from tests.memkernel.gfx_catalogue import Model, Parameter, narrowed
from tests.memkernel.gfx_faults import Faults, Record
from tests.memkernel.kstrto import fault, kstrtobool
from tests.memkernel.machine import Machine
from tests.memkernel.tree import Dir, File, constant


@dataclass(kw_only=True, eq=False)
class Card:
    """What the instances of one parent share. ``used_mb``: the sum of their current ``memory``."""

    pool_mb: int
    nics: int
    used_mb: int = 0
    used_nics: int = 0

    @property
    def free_mb(self) -> int:
        """What is left of the pool."""
        return self.pool_mb - self.used_mb


@dataclass(kw_only=True, eq=False)
class Gfx:
    """The module and its parameters.

    ``locked`` is no parameter, and the sample driver has nothing like it: as in many drivers, one mutex per device that
    both store and show take, so that nothing of a device can be read while a write of it hangs.
    """

    parents: int = 1
    pool_mb: int = 16384
    nics: int = 8
    types: Sequence[str] | None = None
    memory_allowed: Sequence[int] | None = None
    rx_limit_max: int = 10000
    metadata: bool = True
    locked: bool = False
    name: str = field(default="gfx", init=False)
    version: str | None = field(default=None, init=False)
    max_instances: int | None = field(default=None, init=False)

    def load(self, machine: Machine, core: MdevCore) -> None:
        """insmod. EINVAL as the README says."""
        if not 1 <= self.parents <= 4:
            raise fault(errno.EINVAL)
        models = narrowed(self.types, self.memory_allowed, self.rx_limit_max)
        self.published = self.metadata
        self.faults = Faults(machine=machine)
        self.record = Record()
        self.storing: set[str] = set()
        machine.root.directory("module/gfx/parameters").fill(
            {**self._load_parameters(), **self.faults.files(), **self.record.files()}
        )
        kinds = [Kind(name=m.name, pretty=m.pretty, description=m.description, about=m) for m in models]
        self.core = core
        core.register_driver(self)
        self.cards: list[Parent] = []
        for number in range(self.parents):
            directory = add_parent(machine, "gfx", f"gfx{number}")
            card = Card(pool_mb=self.pool_mb, nics=self.nics)
            self.cards.append(core.register_parent(self, directory, kinds, about=card))
            if self.published:
                _publish(self.cards[-1])
                core.announce(self.cards[-1], "registered")

    def kill_writers(self) -> None:
        """SIGKILL to every program that waits in a write."""
        with self.faults.machine.lock:
            self.faults.kill_writers()

    def available(self, mdev_type: MdevType) -> int:
        """Room in the pool, or NICs left."""
        model, card = _model(mdev_type), _card(mdev_type)
        return card.free_mb // model.parameters[0].init if model.is_gpu else card.nics - card.used_nics

    def probe(self, device: Device) -> None:
        """Give the device its init values and its share; ENOSPC if there is none."""
        self.record.creates += 1
        result = self._take_share(device)
        self.record.note(device.uuid, "create", device.type.id, -result)
        if result:
            raise fault(result)

    def group(self, device: Device) -> tuple[str, Mapping[str, File]]:
        """``migration/`` with a file for each parameter."""
        return "migration", {p.name: self._file(device, p) for p in _model(device.type).parameters}

    def remove(self, device: Device) -> None:
        """Give the share back."""
        card = _card(device.type)
        if _model(device.type).is_gpu:
            card.used_mb -= device.about["memory"]
        else:
            card.used_nics -= 1
        self.record.note(device.uuid, "remove", device.type.id, 0)

    def _load_parameters(self) -> dict[str, File]:
        lists = {"types": self.types, "memory_allowed": self.memory_allowed}
        numbers = {"parents": self.parents, "pool_mb": self.pool_mb, "nics": self.nics}
        numbers["rx_limit_max"] = self.rx_limit_max
        shown = {name: ",".join(map(str, values)) if values is not None else None for name, values in lists.items()}
        return {
            "metadata": File(show=lambda: b"Y\n" if self.published else b"N\n", store=self._set_metadata),
            **{name: constant(str(number)) for name, number in numbers.items()},
            **{name: File(show=bytes) if text is None else constant(text) for name, text in shown.items()},
        }

    def _set_metadata(self, data: bytes) -> None:
        wanted = kstrtobool(data)
        if self.published and not wanted:
            raise fault(errno.EINVAL)
        if wanted and not self.published:
            for card in self.cards:
                _publish(card)
                self.core.machine.send("change", card.directory.path, self.name)
        self.published = wanted

    def _take_share(self, device: Device) -> int:
        model, card = _model(device.type), _card(device.type)
        device.about = {parameter.name: parameter.init for parameter in model.parameters}
        if self.faults.fail_create:
            return self.faults.fail_create
        if model.is_gpu:
            if card.free_mb < device.about["memory"]:
                return errno.ENOSPC
            card.used_mb += device.about["memory"]
        else:
            if card.used_nics == card.nics:
                return errno.ENOSPC
            card.used_nics += 1
        return 0

    def _file(self, device: Device, parameter: Parameter) -> File:
        def show() -> bytes:
            if self.locked:
                self.core.machine.wait_until(lambda: device.uuid not in self.storing)
            if self.faults.fail_read == parameter.name:
                raise fault(errno.EIO)
            return f"{parameter.text(device.about[parameter.name])}\n".encode()

        def store(data: bytes) -> None:
            text = data.removesuffix(b"\n")
            self.record.writes += 1
            if self.locked:
                self.core.machine.wait_until(lambda: device.uuid not in self.storing)
            self.storing.add(device.uuid)
            try:
                self._write(device, parameter, text)
            except OSError as error:
                self.record.note(device.uuid, "write", parameter.name, -(error.errno or 0), text)
                raise
            finally:
                self.storing.discard(device.uuid)
                self.core.machine.lock.notify_all()
            self.record.note(device.uuid, "write", parameter.name, 0, text)

        return File(show=show, store=store)

    def _write(self, device: Device, parameter: Parameter, text: bytes) -> None:
        """Steps 2 to 8."""
        self.faults.hang(parameter.name)
        if self.faults.fail_write == parameter.name:
            raise fault(self.faults.fail_write_errno)
        value = parameter.parse(text)
        if self.faults.clamp_write == parameter.name:
            value = parameter.other(value)
        if device.vfio is not None and device.vfio.open and not parameter.runtime:
            raise fault(errno.EBUSY)
        if parameter.name == "memory":
            card, own = _card(device.type), device.about["memory"]
            if card.free_mb + own < value:
                raise fault(errno.ENOSPC)
            card.used_mb += value - own
        device.about[parameter.name] = value


def _model(mdev_type: MdevType) -> Model:
    model = mdev_type.kind.about
    assert isinstance(model, Model)
    return model


def _card(mdev_type: MdevType) -> Card:
    card = mdev_type.parent.about
    assert isinstance(card, Card)
    return card


def _publish(card: Parent) -> None:
    """All its types get their metadata."""
    for mdev_type in card.types:
        _publish_type(mdev_type.directory, _model(mdev_type))


def _publish_type(home: Dir, model: Model) -> None:
    home.directory("migration").fill({"model": constant(model.model)})
    params = home.directory("migration/params")
    for parameter in model.parameters:
        files = {
            "type": constant(parameter.type),
            "init_value": constant(parameter.text(parameter.init)),
            "allowed_values": constant(parameter.allowed_text()),
            "description": constant(parameter.description),
        }
        if parameter.off is not None:
            files["off_value"] = constant(parameter.text(parameter.off))
        if parameter.runtime is not None:
            files["runtime_writable"] = constant("on" if parameter.runtime else "off")
        params.directory(parameter.name).fill(files)
