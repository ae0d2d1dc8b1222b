"""Two guests as nodes of a cluster, with the real operator and agents: what tests of whole migrations start from.

``a`` is where devices are, ``b`` where they go. Both have the drivers gfx and mtty and cards whose functions vgpu
configures; b's NIC is older (a lower receive limit), and its one card in use is its second, so that numbers differ.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.objects import Cluster, migration
from tests.controlplane.control_plane import ControlPlane
from tests.kernel.conftest import BootGuest
from tests.kernel.gfx import DEVICES, Gfx
from tests.kernel.guest.guest import Guest
from tests.kernel.guest.process import Process
from tests.kernel.guest.qemu import FUNCTIONS
from tests.kernel.vgpu import MODULES, Vgpu, function_address
from tests.simulated.operator_process import OperatorProcess

CHECKOUT = Path(__file__).resolve().parents[2]
SPACE = "test-migrations-kernel"
AGENT_SPACE = "mdev-node-agent"
RESCAN_SECONDS = 5
"""Opening a device and configuring a function send no event."""

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two nodes. ``card`` is the card whose functions are switched on."""

    name: str
    guest: Guest
    card: int
    agent: Process

    @property
    def gfx(self) -> Gfx:
        return Gfx(guest=self.guest)

    @property
    def vgpu(self) -> Vgpu:
        return Vgpu(guest=self.guest)

    def make(self, parent: str, type_name: str) -> str:
        """An mdev made by hand; its UUID."""
        device = str(uuid.uuid4())
        self.guest.write(f"/sys/class/mdev_bus/{parent}/mdev_supported_types/{type_name}/create", device)
        return device

    def function(self, number: int) -> str:
        """Address of a virtual function of the card."""
        return function_address(number, self.card)

    def remove(self, *devices: str) -> None:
        """Remove mdevs by hand."""
        for device in devices:
            self.guest.write(f"{DEVICES}/{device}/remove", "1")

    def listed(self) -> set[str]:
        """All mdevs."""
        return self.gfx.instances()

    def type_of(self, device: str) -> str:
        """The mdev's type, from sysfs."""
        return self.guest.run(f"basename $(readlink {DEVICES}/{device}/mdev_type)").stdout.strip()

    def written(self, device: str) -> list[tuple[str, str, str]]:
        """What gfx logged of writes to a device: parameter, result, value, in order."""
        lines = [line.split(" ", 5) for line in self.gfx.log()]
        return [(line[3], line[4], line[5]) for line in lines if line[1:3] == [device, "write"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Both nodes and their cluster."""

    cluster: Cluster
    a: Side
    b: Side

    def submit(self, device: str, **spec: Any) -> str:
        """A migration of a device of a to b; its name."""
        name = f"move-{uuid.uuid4().hex[:8]}"
        source = {"node": {"name": self.a.name, "devices": [device]}}
        self.cluster.apply(migration(name, source, nodeName=self.b.name, **spec))
        return name

    def place(self, explicit: Object) -> str:
        """A device on b that nobody had before, handed over; its id."""
        name = f"place-{uuid.uuid4().hex[:8]}"
        self.cluster.apply(migration(name, {"explicit": [explicit]}, nodeName=self.b.name))
        (device,) = self.ready(name)["devices"]
        self.end(name, "Succeeded")
        placed: str = device["instance"]
        return placed

    def ready(self, name: str) -> Object:
        """Its status when it is Ready."""
        status: Object = self.cluster.condition(name, "Ready")["status"]
        return status

    def refused(self, name: str) -> dict[str, Object]:
        """The first example of each reason, when there is no destination."""
        found: Object = self.cluster.until("devicemigration", name, "refused", _refused)
        return {reason["code"]: reason["examples"][0] for reason in found["rejected"]}

    def end(self, name: str, outcome: str) -> None:
        """Tell the outcome, and wait until both agents have answered and nothing is reserved any more."""
        self.cluster.tell(name, started=True)
        self.cluster.tell(name, outcome=outcome)
        self.cluster.condition(name, "Finished")
        self.nothing_reserved()

    def let_go(self) -> None:
        """Delete all migrations, without waiting for what they hold."""
        self.cluster.delete("devicemigration", "--all", "--wait=false")

    def nothing_reserved(self) -> None:
        """Wait until no reservation is left on either node."""
        names = {self.a.name, self.b.name}

        def none(found: Object) -> bool:
            here = [o for o in found["items"] if o["metadata"]["name"] in names]
            return not any(o["spec"].get("reservations") for o in here)

        self.cluster.until("nodereservations", "", "empty", none)

    def delete(self, name: str) -> None:
        """Delete a migration that was not started: what was prepared is undone."""
        self.cluster.delete("devicemigration", name)
        self.nothing_reserved()


def _refused(found: Object) -> Object | None:
    status: Object = found.get("status", {})
    planned = next((c for c in status.get("conditions", ()) if c["type"] == "Planned"), None)
    return status if planned is not None and planned.get("reason") == "NoDestination" else None


@contextmanager
def pair(boot_guest: BootGuest, plane: ControlPlane, log: Path) -> Iterator[Pair]:
    """Both nodes published and read, with the operator leading."""
    cluster = Cluster(plane)
    for name in (SPACE, AGENT_SPACE):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    with ThreadPoolExecutor() as pool:
        a = pool.submit(_side, boot_guest, plane, cluster, "proof-a", "gfx", 1)
        b = pool.submit(_side, boot_guest, plane, cluster, "proof-b", "gfx rx_limit_max=1000", 2)
        with OperatorProcess(plane.kubeconfig, log, namespace=SPACE) as operator:
            both = Pair(cluster=cluster, a=a.result(), b=b.result())
            operator.wait_leading()
            try:
                for side in (both.a, both.b):
                    cluster.until("nodedevices", side.name, "published", lambda o: o.get("status", {}).get("parents"))
                yield both
            finally:
                print(operator.log()[-6000:], *(f"--- {s.name}\n{s.agent.log()[-4000:]}" for s in (both.a, both.b)))


def _side(boot_guest: BootGuest, plane: ControlPlane, cluster: Cluster, name: str, gfx: str, card: int) -> Side:
    guest = boot_guest(name, [gfx, "mtty", *MODULES, "vgpu"], cards=card)
    Vgpu(guest=guest).switch(FUNCTIONS, card)
    cluster.mark_ready(name)
    kubeconfig = guest.share / "kubeconfig"
    kubeconfig.write_bytes(plane.kubeconfig_for(name, ["system:masters"], server=plane.guest_server).read_bytes())
    facts = guest.share / "facts.d"
    facts.mkdir()
    (facts / "card.json").write_text(json.dumps({"parents": {"driver": "nvidia"}, "facts": {"ecc": "on"}}))
    options = f"--node-name {name} --kubeconfig {kubeconfig} --state-dir {guest.guest_share}/state"
    options += f" --rescan-seconds {RESCAN_SECONDS} --facts-dir {facts} --log-format console"
    agent = guest.start(f"{sys.executable} -m mdev_node_agent run {options}", "agent")
    return Side(name=name, guest=guest, card=card, agent=agent)
