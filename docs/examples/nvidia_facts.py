#!/usr/bin/env python3
"""Fill a facts file of mdev-operator from what nvidia-smi prints about this node's GPUs.

    nvidia_facts.py /etc/mdev-operator/facts.d/nvidia.json
    nvidia-smi --query-gpu=... --format=csv,noheader | nvidia_facts.py --stdin FILE

Run it at each start of the node and after changes (a systemd timer will do): the agent reads the file at its next look.
It is an example to be copied: it needs Python 3 and nvidia-smi, nothing of mdev-operator. A file is replaced as a whole
and only by a whole one; when nvidia-smi says what is not understood, the old file stays and the exit status is 1.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

QUERY = ("pci.bus_id", "name", "ecc.mode.current", "driver_version", "vbios_version")
COMMAND = ("nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader")
ECC = {"Enabled": "on", "Disabled": "off", "[N/A]": "off", "N/A": "off", "[Not Supported]": "off"}
"""A board without ECC has none that is on."""
DEVICES = Path("/sys/bus/pci/devices")


class NotUnderstoodError(Exception):
    """What nvidia-smi says is not what this script knows."""


def facts(text: str, devices: Path = DEVICES) -> list[dict[str, object]]:
    """One statement for each GPU, about its physical function and the virtual functions that it has now."""
    statements: list[dict[str, object]] = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if not row:
            continue
        if len(row) != len(QUERY):
            raise NotUnderstoodError(f"{len(row)} fields instead of {len(QUERY)} in {','.join(row)!r}")
        said = dict(zip(QUERY, (field.strip() for field in row), strict=True))
        if said["ecc.mode.current"] not in ECC:
            raise NotUnderstoodError(f"the ECC mode {said['ecc.mode.current']!r} of {said['pci.bus_id']}")
        function = address(said["pci.bus_id"])
        known = {
            "gpu": said["name"],
            "ecc": ECC[said["ecc.mode.current"]],
            "host-driver": said["driver_version"],
            "vbios": said["vbios_version"],
        }
        statements.append({"parents": [function, *virtual_functions(devices / function)], "facts": known})
    if not statements:
        raise NotUnderstoodError("no GPU at all")
    return statements


def address(bus_id: str) -> str:
    """The address as sysfs has it: nvidia-smi writes a domain of eight digits, in capitals."""
    found = re.fullmatch(r"(?:0000)?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", bus_id.lower())
    if found is None:
        raise NotUnderstoodError(f"the PCI address {bus_id!r}")
    return found.group(1)


def virtual_functions(device: Path) -> list[str]:
    """Addresses of its virtual functions, in their order: mediated devices on SR-IOV cards have these as parents."""
    links = sorted(device.glob("virtfn*"), key=lambda link: int(link.name.removeprefix("virtfn")))
    return [link.resolve().name for link in links]


def write(path: Path, statements: list[dict[str, object]]) -> None:
    """Beside it first, then over it, so that no reader meets half a file."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(json.dumps(statements, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def main(arguments: list[str]) -> int:
    """Exit status: 0 written, 1 not."""
    from_stdin = arguments[:1] == ["--stdin"]
    rest = arguments[from_stdin:]
    if len(rest) != 1 or rest[0].startswith("-"):
        sys.stderr.write("usage: nvidia_facts.py [--stdin] FILE\n")
        return 1
    try:
        text = sys.stdin.read() if from_stdin else subprocess.run(COMMAND, check=True, stdout=-1, text=True).stdout
        write(Path(rest[0]), facts(text))
    except (NotUnderstoodError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"nvidia_facts.py: {rest[0]} stays as it is: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
