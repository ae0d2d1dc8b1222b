"""One list of operations for two kernels: the real one in a guest, and the one in memory.

    python -m tests.kernel.twin PROGRAM        in a guest with the modules of MODULES; prints one JSON list

Everything goes through the agent's own port, so this also compares the two ports. Each operation gives one line: what
was done, and its result or the name of its errno. ``PROGRAM`` holds VFIO devices open (tests/kernel/guest/inside).
"""

from __future__ import annotations

import asyncio
import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mdev_node_agent.sysfs.host import HostPort
from mdev_node_agent.sysfs.port import Port, Uevent
from tests.kernel.trees.dump import dump
from tests.waiting import wait_until

MODULES = ("gfx parents=2", "mtty", "mdpy", "mbochs")
UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(1, 66)]
ONE, TWO, THREE = UUIDS[:3]
MTTY = "class/mdev_bus/mtty/mdev_supported_types"
GFX = "class/mdev_bus/gfx0/mdev_supported_types"
DEVICES = "bus/mdev/devices"
FAULTS = "module/gfx/parameters"

Line = tuple[str, str]


class Machine(Protocol):
    """What the list needs of a machine beside its port."""

    port: Port

    def hold(self, uuid: str) -> None:
        """Open the VFIO device; OSError with the errno of the open."""

    def let_go(self, uuid: str) -> None:
        """Close it."""

    def tree(self) -> str:
        """All that sysfs says about mdevs."""


def lines(machine: Machine) -> Iterator[Line]:
    """Do everything, in order; each part leaves the machine as it found it."""
    yield "tree with nothing made", machine.tree()
    for part in (
        _create,
        _room,
        _remove,
        _values,
        _pool,
        _faults,
        _record,
        _pinned,
        _blocked,
        _hanging,
        _races,
        _events,
    ):
        yield from part(machine)
        yield f"tree after {part.__name__.strip('_')}", machine.tree()


def answer(operation: Callable[[], object]) -> str:
    """What it returns, or the name of the errno."""
    try:
        result = operation()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "OK" if result is None else repr(result)


def _at(port: Port, path: str) -> tuple[str, str]:
    above, _, name = path.rpartition("/")
    return above, name


def read(machine: Machine, path: str) -> bytes:
    """One attribute."""
    above, name = _at(machine.port, path)
    with machine.port.open(above) as directory:
        return directory.read(name)


def write(machine: Machine, path: str, data: bytes | str) -> None:
    """One write call."""
    above, name = _at(machine.port, path)
    with machine.port.open(above) as directory:
        directory.write(name, data if isinstance(data, bytes) else data.encode())


def listing(machine: Machine, path: str) -> list[str]:
    """Names in a directory."""
    with machine.port.open(path) as directory:
        return directory.list()


def _wrote(machine: Machine, path: str, *texts: bytes | str) -> Iterator[Line]:
    for text in texts:
        yield f"write {path} <- {text!r}", answer(lambda text=text: write(machine, path, text))  # type: ignore[misc]


def _looked(machine: Machine, *paths: str) -> Iterator[Line]:
    for path in paths:
        yield f"read {path}", answer(lambda path=path: read(machine, path))  # type: ignore[misc]


def _removed(machine: Machine, *uuids: str) -> Iterator[Line]:
    for uuid in uuids:
        yield from _wrote(machine, f"{DEVICES}/{uuid}/remove", "1\n")


def _create(machine: Machine) -> Iterator[Line]:
    upper = "ABCDEFAB-509F-382F-3C1E-E6BFE0FA0005"
    yield from _wrote(machine, f"{MTTY}/mtty-2/create", f"{ONE}\n", ONE, f"{TWO}x", f"{THREE}\0", "", upper)
    yield from _wrote(machine, f"{MTTY}/mtty-1/create", ONE, upper.lower())
    yield from _wrote(machine, "class/mdev_bus/mdpy/mdev_supported_types/mdpy-hd/create", ONE)
    bad = [ONE[:-1], ONE.replace("-", ""), f"{ONE}xx", f" {ONE}", f"{{{ONE[:-2]}}}", ONE.replace("8000", "80g0"), "\n"]
    yield from _wrote(machine, f"{MTTY}/mtty-1/create", *bad, ONE.replace("8000", "80\0" + "0"))
    yield "devices", str(listing(machine, DEVICES))
    yield "tree with mtty devices", machine.tree()
    yield from _removed(machine, ONE, TWO, THREE, upper.lower(), ONE)
    yield from _looked(machine, f"{MTTY}/mtty-1/create", f"{MTTY}/absent/name", "class/mdev_bus/mtty/power/control")
    yield from _looked(machine, "class/mdev_bus/mtty/power/autosuspend_delay_ms", "class/mdev_bus/mtty/power")
    yield from _wrote(machine, f"{MTTY}/mtty-1/name", "x")
    yield from _wrote(machine, f"{MTTY}/mtty-1/available_instances", "1")
    yield "open a file", answer(lambda: machine.port.open(f"{MTTY}/mtty-1/name"))
    yield "link of a file", answer(lambda: machine.port.open(f"{MTTY}/mtty-1").link("name"))
    yield "link of nothing", answer(lambda: machine.port.open(f"{MTTY}/mtty-1").link("absent"))
    yield "link of a parent", answer(lambda: machine.port.open("class/mdev_bus").link("mtty"))


def _room(machine: Machine) -> Iterator[Line]:
    for type_id, more in (("mtty-1", 25), ("mdpy-vga", 5), ("mbochs-large", 5), ("mbochs-small", 65), ("mtty-2", 13)):
        home = f"class/mdev_bus/{type_id.partition('-')[0]}/mdev_supported_types/{type_id}"
        yield from _looked(machine, f"{home}/available_instances", f"{home}/description", f"{home}/name")
        made = []
        for uuid in UUIDS[:more]:
            outcome = answer(lambda home=home, uuid=uuid: write(machine, f"{home}/create", uuid))  # type: ignore[misc]
            made.append(outcome)
        yield f"fill {type_id}", str([f"{made.count(word)} {word}" for word in dict.fromkeys(made)])
        yield from _looked(machine, f"{home}/available_instances")
        for uuid in listing(machine, DEVICES):
            write(machine, f"{DEVICES}/{uuid}/remove", "1")
    for driver in ("gfx", "mtty", "mdpy", "mbochs"):
        yield from _looked(machine, f"module/{driver}/version")


def _remove(machine: Machine) -> Iterator[Line]:
    path = f"{DEVICES}/{ONE}/remove"
    for text in ("0", "x", "-1", "", "1x", " 1", "0x", "08", "2\n", "0x10", "+1", "010", "99999999999999999999"):
        yield from _wrote(machine, f"{MTTY}/mtty-1/create", ONE)
        yield from _wrote(machine, path, text)
        yield f"devices after {text!r}", str(listing(machine, DEVICES))
        if listing(machine, DEVICES):
            write(machine, path, "1")


def _values(machine: Machine) -> Iterator[Line]:
    yield from _wrote(machine, f"{GFX}/gfx-nic/create", ONE)
    yield from _wrote(machine, f"{GFX}/gfx-varGB/create", TWO)
    yield "tree with gfx devices", machine.tree()
    here = f"{DEVICES}/{ONE}/migration"
    wrong = ("", "\n", "\0")
    for name, texts in {
        "new-feature": ("off", "on\n", "off\n\n", "0", "yes", "ON", *wrong),
        "num-queues": ("64", "1", "007\n", "0", "65", "+4", "-4", " 4", "4 ", "0x4", "4\0", "4294967300", "٤", *wrong),
        "rx-mode": ("promiscuous", "all multicast\n", "all", "normal ", "NORMAL", *wrong),
        "rx-limit": ("99", "100", "10000", "10001", "0", *wrong),
    }.items():
        for text in texts:
            yield from _wrote(machine, f"{here}/{name}", text)
            yield from _looked(machine, f"{here}/{name}")
    yield from _wrote(machine, f"{here}/memory", "1024")
    yield from _wrote(machine, f"{GFX}/gfx-nic/migration/model", "x")
    machine.hold(ONE)
    yield "hold again", answer(lambda: machine.hold(ONE))
    for name, texts in {"num-queues": ("4", "many"), "rx-limit": ("200", "99"), "new-feature": ("off",)}.items():
        yield from _wrote(machine, f"{here}/{name}", *texts)
    machine.let_go(ONE)
    yield from _wrote(machine, f"{here}/num-queues", "5")
    yield from _removed(machine, ONE, TWO)


def _pool(machine: Machine) -> Iterator[Line]:
    for uuid, name in zip(UUIDS, ("8GB", "varGB", "4GB"), strict=False):
        yield from _wrote(machine, f"{GFX}/gfx-{name}/create", uuid)
    yield from _wrote(machine, f"{DEVICES}/{TWO}/migration/memory", "8192", "4096", "2048", "3000")
    yield from _wrote(machine, f"{GFX}/gfx-8GB/create", UUIDS[4])
    for name in ("4GB", "8GB", "varGB", "nic"):
        yield from _looked(machine, f"{GFX}/gfx-{name}/available_instances")
    yield from _removed(machine, ONE, TWO, THREE)


def _faults(machine: Machine) -> Iterator[Line]:
    for name, texts in {
        "fail_create": ("134", "-1", "x", "0x1c\n", "12\n"),
        "fail_write": ("nothing", "num-queues", "num-queues\n"),
        "fail_write_errno": ("0", "134", "110\n"),
        "clamp_write": ("rx-limit\n",),
        "fail_read": ("rx-mode\n",),
        "hang_killable": ("x", "1x", "off", "N\n", "Y\n"),
        "metadata": ("x", "N\n", "Y\n"),
        "create_count": ("1",),
    }.items():
        yield from _wrote(machine, f"{FAULTS}/{name}", *texts)
        if name != "create_count":
            yield from _looked(machine, f"{FAULTS}/{name}")
    yield from _wrote(machine, f"{GFX}/gfx-nic/create", ONE)
    yield from _wrote(machine, f"{FAULTS}/fail_create", "0\n")
    yield from _wrote(machine, f"{GFX}/gfx-nic/create", ONE)
    here = f"{DEVICES}/{ONE}/migration"
    yield from _wrote(machine, f"{here}/num-queues", "8", "many")
    for name, texts in {"rx-limit": ("0", "100", "5000", "5"), "rx-mode": ("promiscuous",)}.items():
        for text in texts:
            yield from _wrote(machine, f"{here}/{name}", text)
            yield from _looked(machine, f"{here}/{name}")
    for name in ("fail_write", "clamp_write", "fail_read"):
        yield from _wrote(machine, f"{FAULTS}/{name}", "\n")
    yield from _wrote(machine, f"{FAULTS}/fail_write_errno", "5\n")
    yield from _looked(machine, f"{here}/rx-mode")
    yield from _removed(machine, ONE)


def _record(machine: Machine) -> Iterator[Line]:
    yield from _looked(machine, *(f"{FAULTS}/{name}" for name in listing(machine, FAULTS)))


def _pinned(machine: Machine) -> Iterator[Line]:
    """A handle that was opened before the device went away, and after a device of the same name came."""
    write(machine, f"{GFX}/gfx-varGB/create", ONE)
    with machine.port.open(f"{DEVICES}/{ONE}") as device, device.open("migration") as group:
        yield "name of a device", device.name
        yield "pinned, alive", answer(lambda: group.read("memory"))
        write(machine, f"{DEVICES}/{ONE}/remove", "1")
        for when in ("gone", "made anew"):
            yield f"pinned, {when}: read", answer(lambda: group.read("memory"))
            yield f"pinned, {when}: write", answer(lambda: group.write("memory", b"2048"))
            yield f"pinned, {when}: open", answer(lambda: device.open("migration"))
            yield f"pinned, {when}: link", answer(lambda: device.link("mdev_type"))
            yield f"pinned, {when}: list", answer(device.list)
            if when == "gone":
                write(machine, f"{GFX}/gfx-varGB/create", ONE)
    yield from _removed(machine, ONE)


def _blocked(machine: Machine) -> Iterator[Line]:
    """``remove`` of a device that is open."""
    write(machine, f"{MTTY}/mtty-2/create", ONE)
    machine.hold(ONE)
    with ThreadPoolExecutor() as threads:
        removal = threads.submit(answer, lambda: write(machine, f"{DEVICES}/{ONE}/remove", "1"))
        _gone_from_bus(machine)
        yield "remove waits", str(not removal.done())
        yield "what is left", str(listing(machine, f"class/mdev_bus/mtty/{ONE}"))
        yield from _removed(machine, ONE)
        yield from _wrote(machine, f"{MTTY}/mtty-1/create", ONE)
        yield from _looked(machine, f"{MTTY}/mtty-1/available_instances")
        yield "devices of the type", str(listing(machine, f"{MTTY}/mtty-2/devices"))
        machine.let_go(ONE)
        yield "remove", removal.result(timeout=30)


def _hanging(machine: Machine) -> Iterator[Line]:
    """A write that hangs, and a removal that waits for it."""
    write(machine, f"{GFX}/gfx-nic/create", ONE)
    write(machine, f"{GFX}/gfx-nic/create", TWO)
    write(machine, f"{FAULTS}/hang_write", "num-queues")
    begun = int(read(machine, f"{FAULTS}/write_count"))
    with ThreadPoolExecutor() as threads:
        hanging = threads.submit(answer, lambda: write(machine, f"{DEVICES}/{ONE}/migration/num-queues", "8"))
        wait_until(lambda: int(read(machine, f"{FAULTS}/write_count")) > begun, timeout=30, what="the write to begin")
        yield "the write hangs", str(not hanging.done())
        yield from _looked(machine, f"{DEVICES}/{ONE}/migration/num-queues")
        yield from _wrote(machine, f"{DEVICES}/{ONE}/migration/rx-limit", "300")
        yield from _removed(machine, TWO)
        removal = threads.submit(answer, lambda: write(machine, f"{DEVICES}/{ONE}/remove", "1"))
        _gone_from_bus(machine)
        yield "the removal waits", str(not removal.done())
        write(machine, f"{FAULTS}/hang_write", "\n")
        yield "the write", hanging.result(timeout=30)
        yield "the removal", removal.result(timeout=30)
    yield from _looked(machine, f"{FAULTS}/log")


def _races(machine: Machine) -> Iterator[Line]:
    def counted(answers: Iterator[str]) -> str:
        words = sorted(answers)
        return str([f"{words.count(word)} {word}" for word in dict.fromkeys(words)])

    def make(uuid: str) -> str:
        return answer(lambda: write(machine, f"{MTTY}/mtty-1/create", uuid))

    def remove(uuid: str) -> str:
        return answer(lambda: write(machine, f"{DEVICES}/{uuid}/remove", "1"))

    with ThreadPoolExecutor(8) as threads:
        yield "eight make one", counted(threads.map(make, [ONE] * 8))
    with ThreadPoolExecutor(40) as threads:
        yield "forty make as many as fit", counted(threads.map(make, UUIDS[1:41]))
        yield "each is removed", counted(threads.map(remove, listing(machine, DEVICES)))


def _events(machine: Machine) -> Iterator[Line]:
    async def listen() -> list[str]:
        events = machine.port.events()
        await asyncio.to_thread(write, machine, f"{MTTY}/mtty-1/create", ONE)
        await asyncio.to_thread(write, machine, f"{DEVICES}/{ONE}/remove", "1")
        heard: list[str] = []
        async with asyncio.timeout(30):
            async for event in events:
                if isinstance(event, Uevent) and event.subsystem in ("mdev", "vfio", "vfio-dev"):
                    heard.append(f"{event.action} {event.subsystem} {event.devpath}")
                if heard and heard[-1].startswith("remove mdev"):
                    break
        return heard

    yield "events", str(asyncio.run(listen()))


def _gone_from_bus(machine: Machine) -> None:
    wait_until(lambda: not listing(machine, DEVICES), timeout=30, what="the device to leave the bus")


@dataclass(kw_only=True, slots=True)
class RealMachine:
    """The kernel that this runs on."""

    program: str
    port: Port = field(default_factory=HostPort)
    holders: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def hold(self, uuid: str) -> None:
        """Open it in a process of its own."""
        holder = subprocess.Popen(
            [self.program, "hold", uuid], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert holder.stdout is not None
        said = holder.stdout.readline()
        if said == "open\n":
            self.holders[uuid] = holder
            return
        with holder:
            rest = said + holder.stdout.read()
        number = next((n for n, name in errno.errorcode.items() if name in rest), errno.EBUSY if "busy" in rest else 0)
        raise OSError(number, rest)

    def let_go(self, uuid: str) -> None:
        """End that process."""
        with self.holders.pop(uuid) as holder:
            holder.kill()

    def tree(self) -> str:
        """By the script that knows nothing of the agent."""
        return "\n".join(dump(Path("/sys")))


if __name__ == "__main__":
    print(json.dumps(list(lines(RealMachine(program=sys.argv[1])))))
