"""The sample driver as tests see it: its files in a guest by name (`driver/README.md` says what each means)."""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.kernel.guest.guest import Guest
from tests.kernel.guest.process import Process

MODULE_PARAMETERS = "/sys/module/gfx/parameters"
DEVICES = "/sys/bus/mdev/devices"
UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(1, 10)]
COMPLAINTS = re.compile(r"WARNING:|BUG:|Oops|Call Trace|refcount_t|cut here|kobject.*(tried|cannot)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gfx:
    """The loaded driver. Types are named as in sysfs (`gfx-4GB`). All methods raise OSError with the guest's errno."""

    guest: Guest

    def parent_path(self, parent: str = "gfx0") -> str:
        return f"/sys/class/mdev_bus/{parent}"

    def type_path(self, type_name: str, parent: str = "gfx0") -> str:
        return f"{self.parent_path(parent)}/mdev_supported_types/{type_name}"

    def value_path(self, uuid: str, parameter: str) -> str:
        return f"{DEVICES}/{uuid}/migration/{parameter}"

    def create(self, type_name: str, uuid: str, parent: str = "gfx0") -> str:
        """Make an instance and return its UUID."""
        self.guest.write(f"{self.type_path(type_name, parent)}/create", uuid)
        return uuid

    def remove(self, uuid: str) -> None:
        self.guest.write(f"{DEVICES}/{uuid}/remove", "1")

    def available(self, type_name: str, parent: str = "gfx0") -> int:
        return int(self.guest.read(f"{self.type_path(type_name, parent)}/available_instances"))

    def types(self, parent: str = "gfx0") -> set[str]:
        return self._names(f"{self.parent_path(parent)}/mdev_supported_types")

    def instances(self) -> set[str]:
        """What the mdev bus shows; an instance whose removal waits is not among them."""
        return self._names(DEVICES)

    def write(self, uuid: str, parameter: str, text: str) -> None:
        self.guest.write(self.value_path(uuid, parameter), text)

    def read(self, uuid: str, parameter: str) -> str:
        """The value as it stands there, newline included."""
        return self.guest.read(self.value_path(uuid, parameter))

    def start_writing(self, uuid: str, parameter: str, text: str) -> Process:
        """A process that makes one write and ends with it, for writes that wait."""
        return self._write_apart(self.value_path(uuid, parameter), text)

    def start_removing(self, uuid: str) -> Process:
        return self._write_apart(f"{DEVICES}/{uuid}/remove", "1")

    def put(self, parameter: str, text: str | int) -> None:
        """Write a module parameter: begin a fault, or with an empty text or 0 end it."""
        self.guest.write(f"{MODULE_PARAMETERS}/{parameter}", f"{text}\n")

    def get(self, parameter: str) -> str:
        return self.guest.read(f"{MODULE_PARAMETERS}/{parameter}").rstrip("\n")

    def log(self) -> list[str]:
        return self.get("log").splitlines()

    def _write_apart(self, path: str, text: str) -> Process:
        return self.guest.start(f"echo {shlex.quote(text)} > {path}", "writer")

    def _names(self, directory: str) -> set[str]:
        return set(self.guest.names(directory))


Load = Callable[[str], Gfx]
"""``load(parameters)`` loads the driver."""


@contextmanager
def loading(guest: Guest) -> Iterator[Load]:
    """Loads the driver at most once, unloads it at the end, and then the kernel must have nothing to complain of."""
    loaded: list[str] = []

    def load(parameters: str) -> Gfx:
        guest.modprobe(f"gfx {parameters}")
        loaded.append(parameters)
        return Gfx(guest=guest)

    guest.run("dmesg -c")
    try:
        yield load
    finally:
        if loaded:
            Gfx(guest=guest).put("hang_write", "")  # unloading would wait for a write that a failed test left behind
            guest.rmmod("gfx")
    assert [line for line in guest.dmesg().splitlines() if COMPLAINTS.search(line)] == []


@contextmanager
def held(guest: Guest, uuid: str) -> Iterator[Process]:
    """The device is open inside, and closed again after it, whatever happens there."""
    holder = guest.hold(uuid)
    try:
        yield holder
    finally:
        holder.kill()
        holder.wait(timeout=10)


@contextmanager
def refused(number: int) -> Iterator[None]:
    """What is inside must fail with this errno."""
    with pytest.raises(OSError) as caught:
        yield
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number]
