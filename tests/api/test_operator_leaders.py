"""Operators that are stopped, killed, cut off or told to end, on the real API server."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.requests import create, delete, get, merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS, LEASES, NAMESPACES, NODE_DEVICES, NODE_RESERVATIONS
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.cuttable import Cuttable
from tests.memkernel.gfx import Gfx
from tests.simulated.cluster import SimulatedCluster, ensure_namespaces, gpu, instance
from tests.simulated.operator_process import OperatorProcess

SHORT = ("--lease-duration=4", "--renew-deadline=3", "--retry-period=0.5")

Start = Callable[..., OperatorProcess]


@pytest.fixture
async def space(client: Client) -> AsyncIterator[str]:
    """The namespace of the Lease of this test's operators."""
    name = f"test-leaders-{uuid.uuid4().hex[:6]}"
    await ensure_namespaces(client, name, "mdev-node-agent")
    yield name
    await client.send(delete(NAMESPACES, name))


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    """The logs of this test's operators, in the order of their start."""
    return []


@pytest.fixture
async def start(control_plane: ControlPlane, space: str, tmp_path: Path, logs: list[Path]) -> AsyncIterator[Start]:
    """Starts an operator with a short Lease; all are ended at the end."""
    running: list[OperatorProcess] = []

    def start(*options: str, kubeconfig: Path = control_plane.kubeconfig, namespace: str = space) -> OperatorProcess:
        logs.append(tmp_path / f"operator-{len(logs)}.log")
        running.append(OperatorProcess(kubeconfig, logs[-1], *(options or SHORT), namespace=namespace))
        return running[-1]

    yield start
    for process in running:
        process.signal(signal.SIGCONT)
        with process:
            pass


@pytest.fixture
async def cluster(
    client: Client, control_plane: ControlPlane, start: Start, tmp_path: Path, logs: list[Path]
) -> AsyncIterator[SimulatedCluster]:
    def told() -> str:
        return "\n--- the next one\n".join(log.read_text(encoding="utf-8")[-3000:] for log in logs)

    made = SimulatedCluster(client=client, kubeconfig=control_plane.kubeconfig, directory=tmp_path, operator_log=told)
    yield made
    await made.clear()


async def lease(client: Client, space: str) -> dict[str, Any]:
    spec: dict[str, Any] = (await client.send(get(LEASES, "mdev-operator", space)))["spec"]
    return spec


async def release(client: Client, space: str) -> None:
    """Give back the Lease of an operator that was killed, so that its successor need not wait."""
    body = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
    await client.send(merge_patch(LEASES, "mdev-operator", body, space))


async def test_a_leader_that_was_stopped_beyond_its_lease_writes_nothing_more_until_it_leads_again(
    cluster: SimulatedCluster, start: Start, client: Client, space: str
) -> None:
    await cluster.add_node("a", Gfx())
    first = start()
    first.wait_leading()
    await cluster.migrate("before", gpu(8192))
    before = await cluster.ready("before")
    fence = (await client.send(get(NODE_RESERVATIONS, cluster.full("a"))))["spec"]["fence"]
    second = start()

    first.signal(signal.SIGSTOP)
    await asyncio.to_thread(second.wait_leading)
    raised = await client.send(get(NODE_RESERVATIONS, cluster.full("a")))
    assert raised["spec"]["fence"] > fence
    assert raised["spec"]["reservations"][0]["intent"] == "Hold"
    await cluster.migrate("after", gpu(4096))
    await cluster.ready("after")
    acted = await client.send(get(NODE_RESERVATIONS, cluster.full("a")))

    # What the first one missed waits in its sockets, so it has something to do at once.
    first.signal(signal.SIGCONT)
    await asyncio.to_thread(first.wait_said, "standing by again")
    assert "not leading any more" in first.log() or "another operator leads" in first.log()
    assert "Traceback" not in first.log()
    now = await client.send(get(NODE_RESERVATIONS, cluster.full("a")))
    assert now["spec"] == acted["spec"] and now["metadata"]["generation"] == acted["metadata"]["generation"]
    assert instance(await cluster.ready("before")) == instance(before)

    second.kill()
    await release(client, space)
    await asyncio.to_thread(first.wait_said, "fence raised", times=2)
    await cluster.tell("before", outcome="Failed")
    await cluster.shows("before", "Finished", "True", "Failed")
    await cluster.migrate("anew", gpu(8192))
    await cluster.ready("anew")
    first.signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait_ended, seconds=30) == 0
    assert "Traceback" not in first.log()


async def test_killed_between_any_two_steps_the_operator_goes_on_from_the_objects(
    cluster: SimulatedCluster, start: Start, client: Client, space: str
) -> None:
    a, b = await asyncio.gather(cluster.add_node("a", Gfx()), cluster.add_node("b", Gfx()))
    source = str(uuid.uuid4())
    a.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-8GB/create", source)
    b.write("module/gfx/parameters/hang_write", "memory\n")

    async def another(process: OperatorProcess) -> OperatorProcess:
        process.kill()
        await release(client, space)
        return start()

    operator = start()
    await cluster.migrate("move", cluster.of_node("a", source), sourcePolicy="Remove")
    await cluster.until(NODE_RESERVATIONS, cluster.full("b"), "with an entry", lambda o: o["spec"].get("reservations"))
    operator = await another(operator)
    made = instance(await cluster.ready("move"))
    operator = await another(operator)
    await cluster.tell("move", started=True)
    operator.wait_leading()
    operator = await another(operator)
    await cluster.tell("move", outcome="Succeeded")
    await cluster.shows("move", "Finished", "True", "Succeeded")
    operator = await another(operator)
    await asyncio.gather(cluster.no_entries("a"), cluster.no_entries("b"))
    assert b.devices() == [made] and a.devices() == [source], "made by hand: never removed"
    assert b.read("module/gfx/parameters/create_count") == "1"


async def test_an_object_deleted_while_the_watch_was_cut_is_gone_from_the_plan(
    cluster: SimulatedCluster, start: Start, control_plane: ControlPlane, client: Client
) -> None:
    await asyncio.gather(cluster.add_node("a", Gfx()), cluster.add_node("b", Gfx()))
    with Cuttable(control_plane.port) as line:
        kubeconfig = control_plane.kubeconfig_for("operator", ["system:masters"], server=line.server)
        # It must go on leading while it is cut off, or it would list everything because it starts anew.
        operator = start("--lease-duration=60", "--renew-deadline=50", kubeconfig=kubeconfig)
        operator.wait_leading()
        await cluster.migrate("plan", gpu(8192), mode="Plan")
        planned = await cluster.shows("plan", "Planned", "True")
        assert _nodes(planned) == {cluster.full("a"), cluster.full("b")}
        line.cut()
        await asyncio.to_thread(cluster.nodes["b"].stop)
        await client.send(delete(NODE_DEVICES, cluster.full("b")))
        line.mend()
        await cluster.until(
            DEVICE_MIGRATIONS,
            cluster.full("plan"),
            "planned without the node that has no devices any more",
            lambda o: _nodes(o) == {cluster.full("a")},
            namespace="default",
            timeout=60,
        )
        assert operator.log().count("fence raised") == 1
        operator.kill()


async def test_told_to_end_the_operator_gives_its_lease_back_and_ends_well(
    cluster: SimulatedCluster, start: Start, client: Client, space: str
) -> None:
    first = start("--lease-duration=60", "--renew-deadline=40")
    first.wait_leading()
    await cluster.migrate("seen", {"vm": {"name": "any"}})
    await cluster.shows("seen", "Planned", "False", "SourceNotFound")
    second = start("--lease-duration=60", "--renew-deadline=40", "--retry-period=0.5")
    first.signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait_ended, seconds=30) == 0
    assert "Traceback" not in first.log()
    await asyncio.to_thread(second.wait_leading)
    second.signal(signal.SIGINT)
    assert await asyncio.to_thread(second.wait_ended, seconds=30) == 0
    assert (await lease(client, space))["holderIdentity"] == ""


async def test_an_operator_without_its_namespace_or_rights_says_so_and_waits(
    start: Start, client: Client, control_plane: ControlPlane
) -> None:
    absent = f"absent-{uuid.uuid4().hex[:6]}"
    without_space = start(namespace=absent)
    nobody = start(kubeconfig=control_plane.kubeconfig_for("nobody"))
    without_space.wait_said(f'namespaces "{absent}" not found')
    nobody.wait_said("forbidden")
    await client.send(create(NAMESPACES, {"metadata": {"name": absent}}))
    without_space.wait_leading()
    for process in (without_space, nobody):
        process.signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait_ended, seconds=30) == 0
        assert "Traceback" not in process.log()
    await client.send(delete(NAMESPACES, absent))


def _nodes(migration: dict[str, Any]) -> set[str]:
    return {c["node"] for c in migration.get("status", {}).get("candidates", ())}
