"""One run: nodes, proxies, operator and conductor on a control plane, and everything taken away afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.resources import NODE_DEVICES
from tests.chaos.account import Account
from tests.chaos.api_faults import ApiTroubles
from tests.chaos.conductor import Conductor
from tests.chaos.killed_operator import KilledOperator
from tests.chaos.life import Snares
from tests.chaos.node import ChaosNode
from tests.chaos.plan import NODES, PARENTS, TYPES, Plan
from tests.chaos.result import Result
from tests.chaos.stories import Register, Vm
from tests.chaos.wired import wired
from tests.controlplane.control_plane import ControlPlane
from tests.faults.proxy import FaultProxy
from tests.memkernel.gfx import Gfx
from tests.simulated.cluster import AGENT_NAMESPACE, SimulatedCluster, ensure_namespaces


async def run_plan(plan: Plan, plane: ControlPlane, directory: Path) -> Result:
    """Carry a plan out on this control plane; ``directory`` keeps the agents' files and the operator's log."""
    account, snares, register = Account(plan.kinds), Snares(), Register()
    namespace = f"chaos-{plan.seed}"
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(load(plane.kubeconfig)))
        await ensure_namespaces(client, AGENT_NAMESPACE, namespace)
        proxies = {name: stack.enter_context(FaultProxy(plane, name)) for name in ("operator", "agents")}
        paths = {
            name: plane.kubeconfig_for(name, ["system:masters"], server=proxy.server) for name, proxy in proxies.items()
        }
        log = directory / "operator.log"
        operator = KilledOperator(client, proxies["operator"], paths["operator"], log, namespace, account)
        cluster = SimulatedCluster(
            client=client, kubeconfig=plane.kubeconfig, directory=directory, operator_log=operator.log
        )
        stack.push_async_callback(cluster.clear)
        stack.enter_context(wired())
        nodes = await stack.enter_async_context(_nodes(cluster, paths["agents"], snares, account, register))
        await stack.enter_async_context(_kept_running(operator))
        return await Conductor(
            plan,
            cluster=cluster,
            nodes=nodes,
            operator=operator,
            api=ApiTroubles(proxies, account),
            snares=snares,
            account=account,
            register=register,
        ).run()


@asynccontextmanager
async def _nodes(
    cluster: SimulatedCluster, kubeconfig: Path, snares: Snares, account: Account, register: Register
) -> AsyncIterator[dict[str, ChaosNode]]:
    """Nodes with agents, and on each a machine that runs on a device which this project did not make."""
    nodes = {}
    for name in NODES:
        full = cluster.full(name)
        driver = Gfx(parents=PARENTS[name], types=TYPES[name])
        nodes[name] = ChaosNode(
            full, driver, kubeconfig=kubeconfig, state_dir=cluster.directory / full, snares=snares, account=account
        )
        await cluster.mark(name)
    try:
        for node in nodes.values():
            node.start()
        for node in nodes.values():
            await cluster.until(NODE_DEVICES, node.name, "published", lambda o: (o.get("status") or {}).get("parents"))
            device = node.make("gfx0", "gfx-varGB", hold=True)
            assert device is not None
            register.vms.append(Vm(node=node, device=device, boot=node.boots))
        yield nodes
    finally:
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in nodes.values()))


@asynccontextmanager
async def _kept_running(operator: KilledOperator) -> AsyncIterator[None]:
    task = asyncio.create_task(operator.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
