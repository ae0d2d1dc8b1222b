"""What is really there: read from a dump of sysfs alone, without any of the project's own code.

A dump has one line for each file: ``path mode 'content'``, ``path -> target`` for a link (tests/kernel/trees). An
instance is what ``/sys/bus/mdev/devices`` links to; its type is where its ``mdev_type`` link points.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """An mdev as sysfs shows it."""

    uuid: str
    type: str
    values: dict[str, str] = field(default_factory=dict)


_LISTED = re.compile(r"^/sys/bus/mdev/devices/(\S+) -> (\S+)$", re.MULTILINE)


def devices(dump: str) -> dict[str, Device]:
    """All instances of one node, by UUID."""
    found = {}
    for uuid, target in _LISTED.findall(dump):
        home = "/sys/" + target.removeprefix("../../../")
        link = re.search(rf"^{re.escape(home)}/mdev_type -> \S*/(\S+)$", dump, re.MULTILINE)
        values = re.findall(rf"^{re.escape(home)}/migration/(\S+) \d+ ('.*')$", dump, re.MULTILINE)
        found[uuid] = Device(
            uuid=uuid,
            type=link.group(1) if link else "(no type)",
            values={name: str(ast.literal_eval(text)).rstrip("\n") for name, text in values},
        )
    return found


def differences(node: str, dump: str, expected: list[Device]) -> list[str]:
    """One sentence for each device that is missing, too many, or not as expected."""
    found = devices(dump)
    wanted = {device.uuid: device for device in expected}
    wrong = [
        f"{node}: {uuid} ({device.type}) is there and should not be"
        for uuid, device in found.items()
        if uuid not in wanted
    ]
    for uuid, device in wanted.items():
        if uuid not in found:
            wrong.append(f"{node}: {device.type} {uuid} should be there and is not")
        elif found[uuid] != device:
            wrong.append(f"{node}: {uuid} is {found[uuid]}, and should be {device}")
    return wrong
