"""A Linux kernel with mdev, and with PCI functions behind VFIO, in memory, behind the agent's own port.

It answers as the real one was measured to answer: same trees, same errnos, same order of events. A test runs both
operation by operation (tests/kernel/test_twin.py). Tests and simulated nodes run the real agent on it, in as many
threads as they like: one lock guards everything, and whoever blocks in it (``remove`` of an open device, a write that
hangs) lets go of the lock meanwhile, as a blocked system call does not stop the machine.

    kernel = MemoryKernel(drivers=[Gfx(parents=2), Mtty()])
    observe(kernel, [MdevBackend()])
    kernel.open_device(uuid)        # as a virtual machine monitor does
    kernel.reboot()
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence

from mdev_node_agent.seeing.in_use import InUse, Source, Use
from mdev_node_agent.seeing.observation import Instance
from mdev_node_agent.sysfs.port import Directory, EventsLost, Uevent
from tests.memkernel.core import MdevCore
from tests.memkernel.directory import MemoryDirectory
from tests.memkernel.driver import Loadable, Module
from tests.memkernel.dump import dump
from tests.memkernel.kstrto import fault
from tests.memkernel.machine import Machine
from tests.memkernel.subscribers import Subscribers
from tests.memkernel.tree import constant
from tests.memkernel.vfio import Vfio, VfioDevice


class MemoryKernel:
    """One machine. ``boot_id`` None: a random one, as the kernel makes it."""

    def __init__(self, *, drivers: Sequence[Loadable], boot_id: str | None = None) -> None:
        self._drivers = list(drivers)
        self._subscribers = Subscribers()
        self._boot(boot_id or str(uuid.uuid4()))

    def open(self, path: str) -> Directory:
        """The port: open a directory below the root of sysfs; an empty path is the root."""
        directory: Directory = MemoryDirectory(self._machine.lock, self._machine.root)
        for name in path.split("/") if path else ():
            with directory:
                directory = directory.open(name)
        return directory

    def boot_id(self) -> str:
        """The port: identity of this boot."""
        return self._boot_id

    def events(self) -> AsyncIterator[Uevent | EventsLost]:
        """The port: subscribe now, in the running event loop."""
        with self._machine.lock:
            return self._subscribers.subscribe()

    def read(self, path: str) -> str:
        """Text of a file, less one trailing newline: what ``cat`` shows."""
        above, _, name = path.rpartition("/")
        with self.open(above) as directory:
            return directory.read(name).decode().removesuffix("\n")

    def write(self, path: str, text: str) -> None:
        """Write a file, as ``printf`` does: the text and nothing more."""
        above, _, name = path.rpartition("/")
        with self.open(above) as directory:
            directory.write(name, text.encode())

    def dump_tree(self) -> str:
        """Everything that sysfs says about mdevs, in the format of tests/kernel/trees."""
        with self._machine.lock:
            return "".join(f"{line}\n" for line in dump(self._machine.root))

    def devices(self) -> list[str]:
        """The mdevs that are on the bus."""
        with self.open("bus/mdev/devices") as directory:
            return directory.list()

    def open_device(self, device: str) -> None:
        """Open the VFIO device, as a virtual machine monitor does. ENOENT: no such device; EBUSY: it is open."""
        with self._machine.lock:
            self._vfio.open(self._vfio_device(device))

    def close_device(self, device: str) -> None:
        """Close it: a ``remove`` that waited for this goes on."""
        with self._machine.lock:
            self._vfio.close(self._vfio_device(device))

    def look(self, instances: Sequence[Instance]) -> Mapping[str, Use]:
        """The in-use question, answered as a look at all processes would answer it."""
        with self._machine.lock:
            held = {device.home.name for device in self._vfio.devices if device.open}
        states = {instance.id: InUse.YES if instance.id in held else InUse.NO for instance in instances}
        return {name: Use(state=state, source=Source.PROCESS) for name, state in states.items()}

    def lose_events(self) -> None:
        """Every subscriber hears that events were lost."""
        with self._machine.lock:
            for subscriber in self._subscribers.listening:
                subscriber.lose()

    def load(self, driver: Loadable) -> None:
        """insmod."""
        with self._machine.lock:
            self._insmod(driver)
            self._drivers.append(driver)

    def unload(self, driver: Module) -> None:
        """rmmod. EAGAIN while one of its devices is open; the others are removed."""
        with self._machine.lock:
            ours = [mdev for mdev in self._core.devices.values() if mdev.type.parent.driver is driver]
            if any(mdev.vfio is not None and mdev.vfio.open for mdev in ours):
                raise fault(errno.EAGAIN)
            for parent in [parent for parent in self._core.parents if parent.driver is driver]:
                self._core.unregister_parent(parent)
                path = parent.directory.path
                self._machine.root.directory(f"class/{driver.name}").drop(parent.directory.name)
                self._machine.root.directory(f"devices/virtual/{driver.name}").drop(parent.directory.name)
                self._machine.send("remove", path, driver.name)
            self._machine.root.directory("bus/mdev/drivers").drop(driver.name)
            self._machine.root.directory("class").drop(driver.name)
            self._machine.root.directory("module").drop(driver.name)
            self._drivers.remove(driver)

    def reboot(self, boot_id: str | None = None) -> None:
        """Another boot with the same drivers: all mdevs are gone, every opened directory too, and whoever waited."""
        self._machine.go_down()
        self._boot(boot_id or str(uuid.uuid4()))

    def _boot(self, boot_id: str) -> None:
        machine = Machine(subscribers=self._subscribers)
        self._vfio = Vfio(machine=machine)
        self._core = MdevCore(machine=machine, vfio=self._vfio)
        self._boot_id = boot_id
        self._machine = machine
        with machine.lock:
            for driver in self._drivers:
                self._insmod(driver)

    def _insmod(self, driver: Loadable) -> None:
        module = self._machine.root.directory(f"module/{driver.name}")
        if driver.version is not None:
            module.fill({"version": constant(driver.version)})
        driver.load(self._machine, self._core)

    def _vfio_device(self, device: str) -> VfioDevice:
        found = next((vfio for vfio in self._vfio.devices if vfio.home.name == device), None)
        if found is None:
            raise fault(errno.ENOENT)
        return found
