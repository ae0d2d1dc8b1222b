"""How a plan is carried out where no sysfs file is written: the arguments that a program is started with.

vfio-user (RFC v3): ``--m-<parameter>=<value>`` for every parameter of the destination, the source's value if it is in
the list, else the destination's off value. All of them are named, also those that a new device has anyway, because a
program may start with other values than it printed.
"""

from __future__ import annotations

import shlex
from enum import StrEnum

from mdev_api.engine.metadata import Answer


class ArgumentForm(StrEnum):
    """Whose arguments."""

    VFIO_USER = "vfio-user"


def arguments_of(answer: Answer, form: ArgumentForm) -> tuple[str, ...]:
    """One text for each argument, in the destination's order; none unless Compatible."""
    assert form is ArgumentForm.VFIO_USER
    return tuple(f"--m-{name}={value}" for name, value in answer.desired.items())


def for_the_shell(arguments: tuple[str, ...]) -> str:
    """The arguments on one line that any POSIX shell reads back as they are, in printable ASCII whatever they hold."""
    return " ".join(_quoted(argument) for argument in arguments)


def _quoted(argument: str) -> str:
    if argument.isascii() and argument.isprintable():
        return shlex.quote(argument)
    return f"\"$(printf '{''.join(_octal(byte) for byte in argument.encode())}')\""


def _octal(byte: int) -> str:
    """One byte in the format of printf, within single quotes; a hyphen is no option."""
    if byte in b"%":
        return "%%"
    return chr(byte) if 32 <= byte < 127 and byte not in b"\\'-" else f"\\{byte:03o}"
