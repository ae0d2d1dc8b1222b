"""One qemu process: its command line, its life, and its monitor.

Always emulated (``-accel tcg``): /dev/kvm may be there and yet hang a stock kernel. Doorbell and monitor are socket
pairs that qemu inherits, so no socket has a name, and two guests never meet.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kernel.guest.errors import GuestError
from tests.kernel.guest.prepare import Images

# The parent-death signal comes when the *thread* that started qemu ends. This thread lasts as long as this process.
_launcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qemu-launcher")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """``memory`` in MiB; ``share`` is the one host directory that it can write to; ``console`` is the kernel's.

    ``cards`` is how many PCI devices with SR-IOV it has, behind an IOMMU: 0000:01:00.0, 0000:02:00.0 and so on.
    """

    images: Images
    share: Path
    console: Path
    memory: int
    cards: int = 0


FUNCTIONS = 4
"""Of one card: ``sriov_totalvfs``."""


def _board(cards: int) -> list[str]:
    """A plain PC, or a newer one that has PCI Express and an IOMMU; qemu's only device with SR-IOV is its nvme."""
    if not cards:
        return ["-M", "pc"]
    board = ["-M", "q35", "-device", "intel-iommu"]
    queues = f"sriov_vq_flexible={2 * FUNCTIONS},sriov_vi_flexible={FUNCTIONS},max_ioqpairs=12,msix_qsize=9"
    for n in range(1, cards + 1):
        card = f"nvme,serial=card{n},bus=port{n},subsys=sub{n},sriov_max_vfs={FUNCTIONS},{queues}"
        for device in (f"pcie-root-port,id=port{n},chassis={n}", f"nvme-subsys,id=sub{n}", card):
            board += ["-device", device]
    return board


def command_line(machine: Machine, *, doorbell: int, monitor: int) -> list[str]:
    """The qemu command for ``machine`` with two inherited descriptors."""

    def path(value: Path) -> str:
        return str(value).replace(",", ",,")  # qemu's escape inside an option

    iommu = " intel_iommu=on" if machine.cards else ""
    return [
        *["setpriv", "--pdeathsig", "KILL", "--"],
        *[
            "qemu-system-x86_64",
            *_board(machine.cards),
            "-accel",
            "tcg,tb-size=64",
            "-cpu",
            "max",
            "-smp",
            "1",
            "-m",
            str(machine.memory),
        ],
        *["-display", "none", "-nodefaults", "-no-reboot", "-no-user-config"],
        *["-kernel", str(machine.images.kernel), "-initrd", str(machine.images.initrd)],
        *["-append", f"console=ttyS0 quiet panic=-1 oops=panic{iommu}"],
        *["-chardev", f"file,id=console,path={path(machine.console)},append=on", "-serial", "chardev:console"],
        *["-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"],
        *["-device", "virtio-serial-pci", "-chardev", f"socket,id=bell,fd={doorbell}"],
        *["-device", "virtserialport,chardev=bell,name=doorbell"],
        *["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="],
        *["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"],
        *["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"],
        *["-fsdev", f"local,id=share,path={path(machine.share)},security_model=none,multidevs=remap"],
        *["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"],
    ]


def _start(arguments: list[str], descriptors: tuple[int, int], console: Path) -> subprocess.Popen[bytes]:
    """Start qemu; what it says itself goes to the console's file too."""
    with console.open("ab") as log:
        return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=descriptors)


class Qemu:
    """A running machine. It ends with this process, however that ends.

    The parent-death signal sees to it; in the instant before that is set, the guest: without its doorbell it panics.
    """

    def __init__(self, machine: Machine) -> None:
        self._console = machine.console
        self.doorbell, bell = socket.socketpair()
        self._monitor, monitor = socket.socketpair()
        with bell, monitor:
            arguments = command_line(machine, doorbell=bell.fileno(), monitor=monitor.fileno())
            descriptors = (bell.fileno(), monitor.fileno())
            self._process = _launcher.submit(_start, arguments, descriptors, machine.console).result()
        self._monitor.settimeout(20)
        self._answers = self._monitor.makefile("rb")
        self._lock = threading.Lock()
        self._greeted = False

    @property
    def pid(self) -> int:
        """Of the process on the host."""
        return self._process.pid

    def monitor(self, command: str, **arguments: Any) -> None:
        """Carry out one monitor command. Raises GuestError if qemu is gone or refuses it."""
        with self._lock:
            try:
                if not self._greeted:
                    self._answers.readline()
                    self._greeted = True
                    self._exchange("qmp_capabilities", {})
                self._exchange(command, arguments)
            except (OSError, ValueError) as error:
                raise GuestError(f"qemu does not answer `{command}` ({error}); {self.last_words()}") from error

    def _exchange(self, command: str, arguments: dict[str, Any]) -> None:
        self._monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self._answers.readline())
            if "error" in answer:
                raise GuestError(f"qemu refuses `{command}` with {arguments}: {answer['error']['desc']}")
            if "return" in answer:
                return

    def end(self) -> None:
        """Pull the plug: nothing in the guest gets a chance to react."""
        self._process.kill()
        self._process.wait()
        self.doorbell.close()
        self._answers.close()
        self._monitor.close()

    def last_words(self) -> str:
        """Whether qemu still runs, and the end of the guest's console."""
        try:
            state = f"qemu ended with status {self._process.wait(timeout=2)}"
        except subprocess.TimeoutExpired:
            state = "qemu still runs"
        tail = self._console.read_bytes()[-3000:].decode("utf-8", "replace").strip()
        return f"{state}; the console ({self._console}) ends:\n{tail or '(nothing)'}"
