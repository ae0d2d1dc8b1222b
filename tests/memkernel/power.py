"""``power/``: what every device has, and one file that answers EIO to whoever reads everything."""

from __future__ import annotations

import errno

from tests.memkernel.kstrto import fault
from tests.memkernel.tree import Dir, File, constant

_WRITABLE = {"async": "disabled", "control": "auto"}
_READABLE = {
    "runtime_active_kids": "0",
    "runtime_active_time": "0",
    "runtime_enabled": "disabled",
    "runtime_status": "unsupported",
    "runtime_suspended_time": "0",
    "runtime_usage": "0",
}


def power_directory(device: Dir) -> None:
    """Give a device its ``power/``."""
    power = device.directory("power")
    power.fill({name: constant(text) for name, text in _READABLE.items()})
    power.fill({name: File(show=f"{text}\n".encode, store=_refuse) for name, text in _WRITABLE.items()})
    power.fill({"autosuspend_delay_ms": File(show=_io_error, store=_refuse)})


def _io_error() -> bytes:
    raise fault(errno.EIO)


def _refuse(data: bytes) -> None:
    raise fault(errno.EINVAL)
