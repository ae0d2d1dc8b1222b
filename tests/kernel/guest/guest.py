"""A guest: one emulated machine with Debian's kernel and real mediated devices, which stands for one node of a cluster.

Its root is the host's root, read-only, with the guest's own changes in its memory: the checkout, its ``.venv`` and the
cache are there at the same paths as on the host, as they were when the guest first looked (a file that the host changes
later may look stale). One directory, ``share``, is writable, at the same path on both sides and always current; what
must outlive the guest's power, such as a journal, belongs there. The host's loopback is at 10.0.2.2.

    with Guest.boot(directory, name="a", modules=["mtty", "gfx parents=2"]) as guest:
        guest.write("/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create", uuid)

Commands that are one string run in busybox's shell with its own tools, because starting anything else takes long here.
(Of those, wget crashes: a static program cannot look up names. Use nc.)
All methods may be called from any thread, and all have deadlines.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kernel.guest.doorbell import ANSWER_SECONDS, Call, Doorbell
from tests.kernel.guest.errors import CommandError, CommandTimeoutError, GuestError
from tests.kernel.guest.host import busybox
from tests.kernel.guest.prepare import Images, prepare
from tests.kernel.guest.process import Process, Result
from tests.kernel.guest.qemu import Machine, Qemu

BOOT_SECONDS = 240
"""A boot is 6 to 8 s of work; on a host whose two cores a dozen processes want, one took 75 s."""

DUMP = Path(__file__).resolve().parent.parent / "trees" / "dump.py"
HOST = "10.0.2.2"
"""The host's loopback as a guest sees it."""


class Guest:
    """See the module; made by :meth:`boot`."""

    def __init__(
        self, directory: Path, *, name: str, modules: Sequence[str], images: Images, memory: int, cards: int
    ) -> None:
        self.name = name
        self.modules = tuple(modules)
        self.directory = directory.absolute()
        self.share = self.directory / "share"
        self._files = self.share / ".guest"
        self._files.mkdir(parents=True, exist_ok=True)
        self._images = images
        console = self.directory / "console.log"
        self._machine = Machine(images=images, share=self.share, console=console, memory=memory, cards=cards)
        self._qemu: Qemu | None = None
        self._doorbell: Doorbell | None = None

    @classmethod
    def boot(
        cls,
        directory: Path,
        *,
        name: str,
        modules: Sequence[str] = (),
        images: Images | None = None,
        memory: int = 384,
        cards: int = 0,
    ) -> Self:
        """Boot a guest and load ``modules``, each a name and its parameters as for modprobe (``gfx parents=2``).

        ``directory`` gets the share and the console's log. ``memory`` is in MiB, ``cards`` the number of PCI devices
        with SR-IOV behind an IOMMU (0000:01:00.0 and so on). Raises GuestError if it does not come up, OSError if a
        module cannot be loaded.
        """
        made = images or prepare()
        guest = cls(directory, name=name, modules=modules, images=made, memory=memory, cards=cards)
        guest._start()
        return guest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_off()

    @property
    def guest_share(self) -> str:
        """Where the guest sees ``share``: at the same path."""
        return str(self.share)

    # Power and wires

    def _start(self) -> None:
        for leftover in self._files.iterdir():
            leftover.unlink()  # of an earlier boot, whose numbers begin again
        settings = {"share": self.guest_share, "inside": str(self._images.inside), "name": self.name}
        lines = "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items())
        (self._files / "boot.env").write_text(lines)
        qemu = self._qemu = Qemu(self._machine)
        doorbell = self._doorbell = Doorbell(qemu.doorbell, qemu.last_words)
        try:
            doorbell.hello.result(timeout=BOOT_SECONDS)
            self._set_clock()
            for spec in self.modules:
                self.modprobe(spec)
        except BaseException as error:
            words = qemu.last_words() if isinstance(error, TimeoutError) else ""
            self.power_off()
            if isinstance(error, TimeoutError):
                raise GuestError(f"guest {self.name} did not boot within {BOOT_SECONDS} s; {words}") from None
            raise

    def power_off(self) -> None:
        """Pull the plug: no process ends in order, nothing is flushed. Off already is no error."""
        if self._qemu is not None and self._doorbell is not None:
            self._doorbell.close(f"guest {self.name} is powered off")
            self._qemu.end()
            self._qemu = None

    def reboot(self) -> None:
        """Pull the plug and boot again: a new boot id, the modules given to :meth:`boot`, and the share's files."""
        self.power_off()
        self._start()

    def link(self, up: bool) -> None:
        """Pull or plug the network cable. Packets of open connections are lost meanwhile; the connections stay."""
        self._running().monitor("set_link", name="n0", up=up)

    def freeze(self) -> None:
        """Stop the guest's processor: nothing runs, no clock moves, until :meth:`thaw`."""
        self._running().monitor("stop")

    def thaw(self) -> None:
        """Let it go on. Its wall clock is set right, as a real machine's would be; its monotonic clock stood still."""
        self._running().monitor("cont")
        self._set_clock()

    def _set_clock(self) -> None:
        self._bell().do("clock", str(time.time_ns()))

    def _running(self) -> Qemu:
        if self._qemu is None:
            raise GuestError(f"guest {self.name} is powered off")
        return self._qemu

    def _bell(self) -> Doorbell:
        if self._qemu is None or self._doorbell is None:
            raise GuestError(f"guest {self.name} is powered off")
        return self._doorbell

    # Commands

    def run(self, command: str | Sequence[str], *, timeout: float = 60, check: bool = True) -> Result:
        """Run a command to its end, in the share's directory; see the module for which programs a string reaches.

        Raises CommandError for another status than 0 unless ``check`` is false, CommandTimeoutError after ``timeout``
        seconds (it is killed then), GuestError if the guest is gone or hangs.
        """
        bell, call = self._bell(), self._bell().reserve()
        out, err = f"{call.id}.out", f"{call.id}.err"
        bell.ask(call, "run", f".guest/{out}", f".guest/{err}", *_arguments(command))
        try:
            rc = self._finish(call, timeout, what=f"`{_shown(command)}`")
        finally:
            stdout, stderr = self._take(out), self._take(err)
        result = Result(rc=rc, stdout=_text(stdout), stderr=_text(stderr))
        if check and rc != 0:
            said = "\n".join(part for part in (result.stderr.strip(), result.stdout.strip()) if part)[-3000:]
            raise CommandError(f"guest {self.name}: `{_shown(command)}` ended with {rc}: {said or '(silent)'}")
        return result

    def start(self, command: str | Sequence[str], name: str) -> Process:
        """Start a command that stays; its log is ``<share>/<name>.log``, or ``<name>.<n>.log`` if that exists."""
        bell, call = self._bell(), self._bell().reserve()
        log = self._new_log(name)
        bell.ask(call, "run", log.name, log.name, *_arguments(command))
        pid = bell.wait(call.begun, ANSWER_SECONDS)
        return Process(name=name, pid=pid, log_file=log, call=call, doorbell=bell)

    def _new_log(self, name: str) -> Path:
        log, number = self.share / f"{name}.log", 1
        while True:
            try:
                log.touch(exist_ok=False)
            except FileExistsError:
                number += 1
                log = self.share / f"{name}.{number}.log"
            else:
                return log

    def hold(self, device: str) -> Process:
        """Open a VFIO device, by UUID or PCI address, as a virtual machine monitor does, until the process is killed.

        Returns when it is open. Raises CommandError with the failing call if it cannot be opened.
        """
        process = self.start([str(self._images.inside), "hold", device], f"hold-{device}")
        process.wait_for("open\n", timeout=20)
        return process

    def uevents(self) -> Process:
        """Listen to kernel uevents from now on; the log has a line for each: action, device path and all variables."""
        process = self.start([str(self._images.inside), "uevents"], "uevents")
        process.wait_for("listening\n", timeout=20)
        return process

    def dmesg(self) -> str:
        """The kernel's log."""
        return self.run("dmesg").stdout

    def dump_tree(self) -> str:
        """What the guest's sysfs says about mediated devices, by a script that knows nothing of our agent."""
        return self.run([sys.executable, "-I", "-S", "-B", str(DUMP)]).stdout

    def names(self, directory: str) -> list[str]:
        """What a directory holds, sorted. Nothing in it is looked at: `ls` fails where an entry goes meanwhile."""
        listed = self.run(f"cd {shlex.quote(directory)} && echo *").stdout.split()
        return [] if listed == ["*"] else listed

    # Files, one system call each

    def read(self, path: str, *, timeout: float = 20) -> str:
        """What the file holds. Raises OSError with the guest's errno."""
        bell, call = self._bell(), self._bell().reserve()
        out = f"{call.id}.out"
        bell.ask(call, "read", f".guest/{out}", path)
        try:
            number = self._finish(call, timeout, what=f"reading {path}")
        finally:
            data = self._take(out)
        self._refuse(number, path)
        return _text(data)

    def write(self, path: str, data: str | bytes, *, timeout: float = 20) -> None:
        """One write of the whole value into an existing file.

        Raises OSError with the guest's errno, CommandTimeoutError if it blocks.
        """
        bell, call = self._bell(), self._bell().reserve()
        bell.ask(call, "write", path, data if isinstance(data, bytes) else data.encode())
        self._refuse(self._finish(call, timeout, what=f"writing {path}"), path)

    def modprobe(self, spec: str) -> None:
        """Load a module: its name and parameters.

        Raises OSError with the guest's errno, ValueError for a name that there is not.
        """
        name, _, parameters = spec.strip().partition(" ")
        module = self._images.modules.get(name)
        if module is None:
            raise ValueError(f"there is no module {name!r} for guests, only {', '.join(self._images.modules)}")
        self._do("load", str(module), parameters, what=f"loading {spec}", path=name)

    def rmmod(self, name: str) -> None:
        """Unload a module. Raises OSError with the guest's errno (EAGAIN: in use)."""
        self._do("unload", name, what=f"unloading {name}", path=name)

    def _do(self, verb: str, *arguments: str, what: str, path: str) -> None:
        bell, call = self._bell(), self._bell().reserve()
        bell.ask(call, verb, *arguments)
        self._refuse(self._finish(call, 30, what=what), path)

    def _refuse(self, number: int, path: str) -> None:
        if number < 0:
            raise GuestError(f"guest {self.name}: the access to {path} was ended by {signal.Signals(-number).name}")
        if number:
            raise OSError(number, f"guest {self.name}: {os.strerror(number)}", path)

    def _finish(self, call: Call, timeout: float, *, what: str) -> int:
        bell = self._bell()
        pid = bell.wait(call.begun, ANSWER_SECONDS)
        try:
            return call.ended.result(timeout=timeout)
        except TimeoutError:
            bell.kill(pid, signal.SIGKILL)
            raise CommandTimeoutError(f"guest {self.name}: {what} took more than {timeout:g} s") from None

    def _take(self, name: str) -> bytes:
        file = self._files / name
        if not file.exists():
            return b""
        data = file.read_bytes()
        file.unlink()
        return data


def _arguments(command: str | Sequence[str]) -> list[str]:
    return [str(busybox()), "sh", "-c", command] if isinstance(command, str) else list(command)


def _shown(command: str | Sequence[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
