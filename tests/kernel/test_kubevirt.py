"""A VM's migration between three guests: the gate policy, operator, agents, node hook, kernels and devices are real.

The API server and the scheduler are real too. Played are KubeVirt's programs, and the kubelet's PodResources in each
guest. The devices are made by hand, as virt-handler makes them: the agents may write to one, and may remove none.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdev_api.kube.client import Client
from mdev_api.kube.requests import list_page
from mdev_api.kube.resources import NODE_RESERVATIONS
from tests.agent.node import NodeObjects, ensure_namespace
from tests.controlplane.control_plane import ControlPlane
from tests.kernel.conftest import BootGuest
from tests.kernel.gfx import UUIDS, Gfx
from tests.kernel.guest.guest import Guest
from tests.kernel.guest.process import Process
from tests.kubevirt.cluster import RESOURCE, VirtualCluster, abolish, administrator, establish, virtual_cluster
from tests.kubevirt.operator import operator
from tests.kubevirt.test_migrations import kubevirt
from tests.waiting import eventually, wait_until

Object = dict[str, Any]

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOY = CHECKOUT / "deploy"
SPACE = "test-kubevirt-kernel"
CARDS = {"a": "gfx", "b": "gfx", "c": "gfx memory_allowed=4096"}
"""Drivers of the nodes; C has an older one."""
DEVICES = {"a": ("gfx-8GB", UUIDS[0]), "b": ("gfx-varGB", UUIDS[1]), "c": ("gfx-4GB", UUIDS[2])}
KUBELET = Path("/run/kubelet")
HOOK = Path("/run/hook.sock")
START_SECONDS = 300
"""An emulated machine imports slowly, and six programs start at once: at a load of 19 on two cores it took 165 s."""
ANSWER_SECONDS = 60


@dataclass(kw_only=True)
class Machine:
    """One guest as a node of KubeVirt, with its one device."""

    guest: Guest
    node: NodeObjects
    device: str
    programs: list[Process] = field(default_factory=list)
    holder: tuple[str, str] | None = None
    """Namespace and name of the pod that has the device."""
    _commanded: int = 0

    @property
    def gfx(self) -> Gfx:
        return Gfx(guest=self.guest)

    def memory(self) -> int:
        """What the kernel says."""
        return int(self.gfx.read(self.device, "memory"))

    def kernel(self) -> tuple[set[str], int, str, str]:
        """What the kernel says: devices, the one's memory, how many were ever made, how often one was written."""
        return self.gfx.instances(), self.memory(), self.gfx.get("create_count"), self.gfx.get("write_count")

    def start(self, plane: ControlPlane) -> None:
        """Start the kubelet, which offers the device, and the agent."""
        (self.guest.share / "commands").touch()
        (self.guest.share / "answers").touch()
        credentials = plane.kubeconfig_for(f"agent-{self.guest.name}", ["system:masters"], server=plane.guest_server)
        kubeconfig = self.guest.share / "kubeconfig"
        kubeconfig.write_bytes(credentials.read_bytes())
        python = f"PYTHONPATH={CHECKOUT} {sys.executable}"
        played = f"{python} -m tests.kernel.played_node {self.guest.guest_share} {KUBELET} {HOOK}"
        self.programs.append(self.guest.start(played, "played-node"))
        options = f"--node-name {self.node.name} --kubeconfig {kubeconfig} --state-dir {self.guest.guest_share}/state"
        options += f" --kubelet-dir {KUBELET} --hook-socket {HOOK} --rescan-seconds 3600 --log-format console"
        self.programs.append(self.guest.start(f"{python} -m mdev_node_agent run {options}", "agent"))
        self.command("offer", RESOURCE, self.device, seconds=START_SECONDS)

    def command(self, *words: Any, seconds: float = ANSWER_SECONDS) -> Any:
        """Have the guest's kubelet or virt-handler do something; its answer. One at a time."""
        answers = self.guest.share / "answers"
        with (self.guest.share / "commands").open("a") as commands:
            commands.write(json.dumps(words) + "\n")
        number = self._commanded
        self._commanded += 1

        def lines() -> list[str]:
            if not all(program.alive() for program in self.programs):
                raise AssertionError(f"a program has ended in guest {self.guest.name}: {self.said()}")
            return answers.read_text().split("\n")[:-1]

        wait_until(lambda: len(lines()) > number, timeout=seconds, what=f"guest {self.guest.name} to do {words[0]}")
        return json.loads(lines()[number])

    def said(self) -> str:
        """The end of the programs' logs."""
        return "\n".join(f"--- {p.name} of {self.node.name}\n{p.log()[-3000:]}" for p in self.programs)


@dataclass(kw_only=True)
class Machines:
    """The three nodes behind one cluster; what KubeVirt's player asks the nodes is asked in the guests."""

    cluster: VirtualCluster
    by_name: dict[str, Machine] = field(default_factory=dict)
    at_hook: list[tuple[int, str | None, int]] = field(default_factory=list)
    """Of each call: the device's memory before, what the hook said, the memory after."""

    def of(self, name: str) -> Machine:
        """By the short name."""
        return next(machine for machine in self.by_name.values() if machine.guest.name == name)

    async def admit(self, pod: Object) -> bool:
        """As the kubelet: the pod gets the device, if it is free."""
        machine, meta = self.by_name[pod["spec"]["nodeName"]], pod["metadata"]
        if machine.holder is not None:
            return False
        machine.holder = (meta["namespace"], meta["name"])
        await asyncio.to_thread(machine.command, "give", *machine.holder, RESOURCE, machine.device)
        return True

    async def hook(self, vm: Object) -> str | None:
        """As virt-handler of the target node."""
        machine = self.by_name[vm["status"]["migrationState"]["targetNode"]]
        before = await asyncio.to_thread(machine.memory)
        said: str | None = await asyncio.to_thread(machine.command, "hook", vm)
        self.at_hook.append((before, said, await asyncio.to_thread(machine.memory)))
        return said

    async def publishes(self, name: str, *, free: int, pods: int, seconds: float = ANSWER_SECONDS) -> None:
        """Wait until the agent says that so many devices are free, and so many pods have one."""
        machine = self.of(name)

        async def look() -> bool:
            status = await machine.node.status()
            slots = [slot["free"] for slot in status.get("slots", ()) if slot["resource"] == RESOURCE]
            return slots == [free] and len(status.get("serving", ())) == pods

        try:
            await eventually(look, timeout=seconds, what=f"{name} to publish {free} free, {pods} given", interval=0.3)
        except TimeoutError as error:
            raise AssertionError(f"{error}; {await machine.node.status()}\n{machine.said()}") from None

    async def nothing_is_held(self) -> None:
        """Wait until every reservation on these nodes was answered and removed."""

        async def look() -> bool:
            listed = (await self.cluster.client.send(list_page(NODE_RESERVATIONS)))["items"]
            here = [o for o in listed if o["metadata"]["name"] in self.by_name]
            return not any((o.get("spec") or {}).get("reservations") for o in here)

        await eventually(look, timeout=ANSWER_SECONDS, what="no reservation to be left", interval=0.3)


@pytest.fixture(scope="module")
def booting(boot_guest: BootGuest) -> Iterator[dict[str, Future[Guest]]]:
    """The guests, that come up while the operator starts."""
    with ThreadPoolExecutor() as pool:
        yield {name: pool.submit(boot_guest, name, [card]) for name, card in CARDS.items()}


@pytest.fixture(scope="module")
def plane(
    control_plane: ControlPlane, booting: dict[str, Future[Guest]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """KubeVirt's kinds and configuration, the gate policy for the resource of this test, and the operator."""
    configuration = yaml.safe_dump({**kubevirt(), "metadata": {"name": "kubevirt", "namespace": SPACE}})
    policy = (DEPLOY / "gate-policy.yaml").read_text(encoding="utf-8").replace("nvidia.com/GRID_T4-2Q", RESOURCE)
    establish(control_plane)
    control_plane.kubectl("create", "namespace", SPACE)
    control_plane.kubectl("apply", "--server-side", "--filename=-", input=policy)
    control_plane.kubectl("apply", "--server-side", f"--filename={DEPLOY / 'plugin.yaml'}")
    control_plane.kubectl("apply", "--server-side", "--filename=-", input=configuration)
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with operator(control_plane.kubeconfig, log, SPACE) as said:
        yield control_plane
        print(said())
    for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
        control_plane.kubectl("delete", kind, "mdev-operator-gate")
    abolish(control_plane)


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[Client]:
    async with administrator(plane) as client:
        await ensure_namespace(client)
        yield client


@pytest.fixture
async def machines(plane: ControlPlane, admin: Client, booting: dict[str, Future[Guest]]) -> AsyncIterator[Machines]:
    """Every node publishes its one device, which is free."""
    async with virtual_cluster(admin, gated=False) as cluster:
        made = Machines(cluster=cluster)
        cluster.player.admit, cluster.player.hook = made.admit, made.hook

        async def add(name: str) -> None:
            full = await cluster.add_node(name, devices=1)
            guest = await asyncio.wrap_future(booting[name])
            type_name, device = DEVICES[name]
            machine = Machine(guest=guest, node=NodeObjects(name=full, client=admin), device=device)
            await asyncio.to_thread(machine.gfx.create, type_name, device)
            made.by_name[full] = machine
            await asyncio.to_thread(machine.start, plane)
            await made.publishes(name, free=1, pods=0, seconds=START_SECONDS)

        await asyncio.gather(*(add(name) for name in CARDS))
        yield made
        print("\n".join(machine.said() for machine in made.by_name.values()))


async def test_a_vm_moves_to_the_guest_that_can_take_its_device_and_the_kernel_has_what_the_source_had(
    machines: Machines,
) -> None:
    cluster, a, b = machines.cluster, machines.of("a"), machines.of("b")
    await cluster.player.start_vm("vm", a.node.name, RESOURCE)
    await machines.publishes("a", free=0, pods=1)

    vmim = await cluster.player.submit("move", "vm")
    await cluster.phase("move", "Succeeded", timeout=100)
    done = await cluster.finished(vmim, "Succeeded")
    await machines.nothing_is_held()

    assert (done["spec"]["binding"], done["status"]["node"]) == ("Late", b.node.name)
    (pod,) = await cluster.target_pods()
    assert pod["spec"]["nodeName"] == await cluster.where("vm") == b.node.name
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    bound = [{"key": "metadata.name", "operator": "In", "values": [b.node.name]}]
    # The API server lets nobody write this on a pod that has no gate: the pod waited for the operator.
    assert [term.get("matchFields") for term in required["nodeSelectorTerms"]] == [bound]
    assert machines.at_hook[-1] == (1024, None, 8192)
    kernels = {name: machines.of(name).kernel() for name in CARDS}
    assert kernels == {
        "a": ({a.device}, 8192, "1", "0"),
        "b": ({b.device}, 8192, "1", "1"),
        "c": ({machines.of("c").device}, 4096, "1", "0"),
    }
