"""The in-memory kernel and the real one, operation by operation, through the agent's own port.

What differs here is a lie in every test and every simulated node that runs on the in-memory kernel.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import pytest

from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.discover_command import as_document
from mdev_node_agent.seeing.discovery import observe
from tests.kernel import twin
from tests.kernel.conftest import BootGuest
from tests.kernel.guest.guest import Guest
from tests.kernel.guest.prepare import Images
from tests.kernel.twin import lines
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mbochs import Mbochs
from tests.memkernel.mdpy import Mdpy
from tests.memkernel.mtty import Mtty

CHECKOUT = Path(__file__).resolve().parents[2]
DEVICES = {
    twin.ONE: ("gfx0", "gfx-nic"),
    twin.TWO: ("gfx1", "gfx-varGB"),
    twin.THREE: ("mtty", "mtty-2"),
    twin.UUIDS[3]: ("mdpy", "mdpy-xga"),
}
LOOK = """
import json
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.seeing.in_use import ProcessSource
from mdev_node_agent.sysfs.host import HostPort
instances = MdevBackend().discover(HostPort()).instances
print(json.dumps({name: use.state for name, use in ProcessSource().look(instances).items()}))
"""


def memory_kernel() -> MemoryKernel:
    return MemoryKernel(drivers=[Gfx(parents=2), Mtty(), Mdpy(), Mbochs()])


@dataclass(kw_only=True, slots=True)
class MemoryMachine:
    """The in-memory kernel as the list of operations sees it."""

    port: MemoryKernel = field(default_factory=memory_kernel)

    def hold(self, uuid: str) -> None:
        self.port.open_device(uuid)

    def let_go(self, uuid: str) -> None:
        self.port.close_device(uuid)

    def tree(self) -> str:
        return self.port.dump_tree().rstrip("\n")


@pytest.fixture(scope="module")
def guest(boot_guest: BootGuest) -> Guest:
    return boot_guest("twin", twin.MODULES)


def test_both_kernels_answer_alike_operation_by_operation(guest: Guest, kernel: Images) -> None:
    program = ["env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "tests.kernel.twin", str(kernel.inside)]
    answered = guest.run(program, timeout=300)
    real = [tuple(line) for line in json.loads(answered.stdout)]
    assert len(real) > 200
    both = enumerate(zip_longest(real, lines(MemoryMachine())))
    assert [(number, theirs, ours) for number, (theirs, ours) in both if theirs != ours] == []


def test_processes_tell_which_device_is_open_and_which_is_not(guest: Guest) -> None:
    held, idle = twin.UUIDS[4:6]
    for uuid in (held, idle):
        guest.write("/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", uuid)
    holder = guest.hold(held)
    answered = guest.run([sys.executable, "-c", LOOK], timeout=120)
    holder.kill()
    states = json.loads(answered.stdout)
    for uuid in (held, idle):
        guest.write(f"/sys/bus/mdev/devices/{uuid}/remove", "1")
    assert states == {held: "Yes", idle: "No"}


def test_the_agent_sees_the_same_on_both(guest: Guest) -> None:
    memory = memory_kernel()
    for uuid, (parent, type_id) in DEVICES.items():
        create = f"class/mdev_bus/{parent}/mdev_supported_types/{type_id}/create"
        memory.write(create, uuid)
        guest.write(f"/sys/{create}", uuid)
    fault = "module/gfx/parameters/fail_read"
    memory.write(fault, "rx-mode\n")
    guest.write(f"/sys/{fault}", "rx-mode\n")
    shown = guest.run([sys.executable, "-m", "mdev_node_agent", "discover", "-o", "json"], timeout=120)
    real, ours = json.loads(shown.stdout), as_document(observe(memory, [MdevBackend()]))
    assert real.pop("bootID") == guest.read("/proc/sys/kernel/random/boot_id").strip()
    assert ours.pop("bootID") == memory.boot_id()
    assert ours == real
