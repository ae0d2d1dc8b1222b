"""What goes wrong on request in the driver gfx, and its record of what happened: ``module/gfx/parameters``."""

from __future__ import annotations

import errno
from collections import deque
from dataclasses import dataclass, field

from tests.memkernel.gfx_catalogue import PARAMETERS
from tests.memkernel.kstrto import fault, kstrtobool, kstrtoul
from tests.memkernel.machine import Machine
from tests.memkernel.tree import File, reading

LOG_LINES = 40
LOG_VALUE = 24
MAX_ERRNO = 133


@dataclass(kw_only=True, eq=False)
class Faults:
    """One switch per fault; an empty name or 0 is no fault. ``epoch`` and ``killed`` tell waiters that it is over."""

    machine: Machine
    fail_create: int = 0
    fail_write: str = ""
    fail_write_errno: int = errno.EIO
    clamp_write: str = ""
    hang_write: str = ""
    hang_killable: bool = True
    fail_read: str = ""
    epoch: int = 0
    killed: int = 0

    def files(self) -> dict[str, File]:
        """The module parameters that set them."""
        return {
            "fail_create": self._number("fail_create", minimum=0),
            "fail_write": self._name("fail_write"),
            "fail_write_errno": self._number("fail_write_errno", minimum=1),
            "clamp_write": self._name("clamp_write"),
            "hang_write": File(show=lambda: f"{self.hang_write}\n".encode(), store=self._set_hang),
            "hang_killable": File(
                show=lambda: b"Y\n" if self.hang_killable else b"N\n",
                store=lambda data: setattr(self, "hang_killable", kstrtobool(data)),
            ),
            "fail_read": self._name("fail_read"),
        }

    def hang(self, parameter: str) -> None:
        """Wait while writes of this parameter hang; EINTR if the writer is killed meanwhile."""
        if self.hang_write != parameter:
            return
        epoch, killed, killable = self.epoch, self.killed, self.hang_killable
        self.machine.wait_until(lambda: self.epoch != epoch or (killable and self.killed != killed))
        if self.epoch == epoch:
            raise fault(errno.EINTR)

    def kill_writers(self) -> None:
        """SIGKILL to every program that waits in a write; those that began without ``hang_killable`` wait on."""
        self.killed += 1
        self.machine.lock.notify_all()

    def _set_hang(self, data: bytes) -> None:
        name = _parameter_name(data)
        if name != self.hang_write:
            self.hang_write = name
            self.epoch += 1
            self.machine.lock.notify_all()

    def _name(self, attribute: str) -> File:
        return File(
            show=lambda: f"{getattr(self, attribute)}\n".encode(),
            store=lambda data: setattr(self, attribute, _parameter_name(data)),
        )

    def _number(self, attribute: str, *, minimum: int) -> File:
        def store(data: bytes) -> None:
            number = kstrtoul(data, below=2**32)
            if not minimum <= number <= MAX_ERRNO:
                raise fault(errno.EINVAL)
            setattr(self, attribute, number)

        return File(show=lambda: f"{getattr(self, attribute)}\n".encode(), store=store)


@dataclass(kw_only=True, eq=False)
class Record:
    """Counters, and the log of the last events."""

    creates: int = 0
    writes: int = 0
    total: int = 0
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))

    def files(self) -> dict[str, File]:
        """The module parameters that show them."""
        return {
            "create_count": reading(lambda: str(self.creates)),
            "write_count": reading(lambda: str(self.writes)),
            "log": File(show=lambda: "".join(f"{line}\n" for line in self.lines).encode()),
        }

    def note(self, uuid: str, what: str, subject: str, result: int, value: bytes | None = None) -> None:
        """One line; ``result`` is 0 or minus the errno number."""
        self.total += 1
        shown = "" if value is None else f" {_printable(value[:LOG_VALUE])}"
        self.lines.append(f"{self.total} {uuid} {what} {subject} {result}{shown}")


def _printable(value: bytes) -> str:
    return "".join("?" if byte < 32 or byte == 127 else chr(byte) for byte in value)


def _parameter_name(data: bytes) -> str:
    text = data.split(b"\0", 1)[0].removesuffix(b"\n").decode("latin-1")
    if text and text not in PARAMETERS:
        raise fault(errno.EINVAL)
    return text
