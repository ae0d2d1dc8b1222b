"""How things end when nobody says so: Nodes that are gone, devices that stay stuck, and what people are told of it.

On the real API server with the real operator; its long times are set short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mdev_api.hashing import profile_name
from mdev_api.kube.requests import apply_status, create, delete, get, list_page
from mdev_api.kube.resources import DEVICE_PROFILES, EVENTS, NODE_DEVICES, NODE_RESERVATIONS, NODES
from tests.controlplane.control_plane import ControlPlane
from tests.memkernel.gfx import Gfx
from tests.simulated.cluster import Object, SimulatedCluster, condition, gpu, instance, message_of, rejections
from tests.simulated.operator_process import OperatorProcess
from tests.waiting import eventually

GONE_AFTER = 3.0
"""Seconds for which a Node has to be gone, and a profile to be unused."""

AGENT = "mdev-node-agent"


@pytest.fixture(scope="module")
def operator(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    control_plane.kubectl("create", "namespace", "test-operator-endings")
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    options = (f"--node-gone-after={GONE_AFTER}", f"--keep-profiles={GONE_AFTER}")
    with OperatorProcess(control_plane.kubeconfig, log, *options, namespace="test-operator-endings") as process:
        process.wait_leading()
        yield process


async def told(cluster: SimulatedCluster, name: str, reason: str, namespace: str = "default") -> Object:
    """Wait for an Event of an object with this full name."""

    async def look() -> Object | None:
        found = await cluster.client.send(list_page(EVENTS, namespace=namespace))
        about = [e for e in found["items"] if e["regarding"]["name"] == name and e["reason"] == reason]
        return about[0] if about else None

    return await eventually(look, timeout=20, what=f"an Event {reason} of {name}", interval=0.2)


async def answer(cluster: SimulatedCluster, node: str, **change: Any) -> None:
    """Answer the node's only entry in place of its agent, which was ended before."""
    full = cluster.full(node)
    status = (await cluster.client.send(get(NODE_RESERVATIONS, full)))["status"]
    (before,) = status["reservations"]
    changed = {**status, "reservations": [{**before, **change}]}
    await cluster.client.send(apply_status(NODE_RESERVATIONS, full, changed, AGENT))


async def ready_without_agent(cluster: SimulatedCluster, **spec: Any) -> str:
    """A migration that is Ready on a node whose agent has ended since; its device."""
    await cluster.add_node("a", Gfx())
    await cluster.migrate("move", gpu(8192), nodeName=cluster.full("a"), **spec)
    made = instance(await cluster.ready("move"))
    await asyncio.to_thread(cluster.nodes["a"].stop)
    return made


async def intent(cluster: SimulatedCluster, node: str, wanted: str) -> None:
    await cluster.until(
        NODE_RESERVATIONS,
        cluster.full(node),
        f"told {wanted}",
        lambda o: [e["intent"] for e in o["spec"]["reservations"]] == [wanted],
    )


async def there(cluster: SimulatedCluster, resource: Any, name: str) -> bool:
    found = await cluster.client.send(list_page(resource, field_selector=f"metadata.name={name}"))
    return bool(found["items"])


async def test_a_node_that_is_gone_for_good_ends_the_migration_and_both_its_objects_go(
    cluster: SimulatedCluster,
) -> None:
    await ready_without_agent(cluster)
    await cluster.tell("move", started=True)
    await cluster.client.send(delete(NODES, cluster.full("a")))

    finished = await cluster.shows("move", "Finished", "True", "NodeGone")

    assert cluster.full("a") in message_of(finished, "Finished")
    await cluster.gone(cluster.full("a"), NODE_RESERVATIONS, None)
    await cluster.gone(cluster.full("a"), NODE_DEVICES, None)
    event = await told(cluster, cluster.full("move"), "NodeGone")
    assert cluster.full("a") in event["note"] and event["type"] == "Warning"


async def test_a_node_that_comes_back_earlier_keeps_its_reservation_on_hold_until_its_agent_answers(
    cluster: SimulatedCluster, operator: OperatorProcess
) -> None:
    await cluster.add_node("later", Gfx())
    made = await ready_without_agent(cluster)
    await cluster.tell("move", started=True)
    kernel = cluster.nodes["a"].kernel
    await cluster.client.send(delete(NODES, cluster.full("a")))
    await cluster.holds("the operator to miss the Node", lambda: _missed(operator, cluster.full("a")))
    await cluster.mark("a")
    # Another one that is gone from now on: when its time is over, that of the first would have been long before.
    await asyncio.to_thread(cluster.nodes["later"].stop)
    await cluster.client.send(delete(NODES, cluster.full("later")))
    await cluster.gone(cluster.full("later"), NODE_DEVICES, None)

    assert [e["intent"] for e in await cluster.entries("a")] == ["Hold"]
    await asyncio.to_thread(cluster.nodes["a"].start)
    await cluster.tell("move", outcome="Succeeded")
    await cluster.shows("move", "Finished", "True", "Succeeded")
    await cluster.no_entries("a")
    assert kernel.devices() == [made]


def _missed(operator: OperatorProcess, node: str) -> bool:
    return any("a Node is missing" in line and node in line for line in operator.log().splitlines())


async def test_an_expired_device_of_which_nobody_knows_whether_it_is_used_is_held_and_told(
    cluster: SimulatedCluster, control_plane: ControlPlane
) -> None:
    await ready_without_agent(cluster, preparedTTLSeconds=5)
    soon = await told(cluster, cluster.full("move"), "ExpiresSoon")
    assert "preparedTTLSeconds" in soon["note"]
    await cluster.shows("move", "Finished", "True", "Expired")
    await intent(cluster, "a", "UndoIfUnused")
    await told(cluster, cluster.full("move"), "Expired")

    await answer(cluster, "a", waiting="InUseUnknown")
    overdue = await cluster.shows("move", "Overdue", "True", "InUseUnknown")
    assert "nobody can tell" in message_of(overdue, "Overdue")
    await told(cluster, cluster.full("move"), "OverdueInUseUnknown")
    shown = control_plane.kubectl("get", "devicemigration", cluster.full("move"), "--namespace=default").stdout
    assert dict(zip(*[line.split() for line in shown.splitlines()], strict=False))["OVERDUE"] == "True"

    await asyncio.to_thread(cluster.nodes["a"].start)
    await cluster.shows("move", "Overdue", "False", "Ended")
    await cluster.no_entries("a")
    assert cluster.nodes["a"].kernel.devices() == []


async def test_a_failed_undo_is_told_on_the_migration_and_in_the_lists(
    cluster: SimulatedCluster, control_plane: ControlPlane
) -> None:
    made = await ready_without_agent(cluster)
    await cluster.tell("move", started=True)
    await cluster.tell("move", outcome="Failed")
    await intent(cluster, "a", "Undo")
    failure = {"reason": "Refused", "step": "Undo", "errno": "EIO", "message": "the kernel refused to write it back"}
    await answer(cluster, "a", state="Tainted", failure=failure)

    overdue = await cluster.shows("move", "Overdue", "True", "Tainted")
    assert made in message_of(overdue, "Overdue") and "write it back" in message_of(overdue, "Overdue")
    assert "write it back" in (await told(cluster, cluster.full("move"), "Tainted"))["note"]
    (entry,) = await cluster.entries("a")
    shown = control_plane.kubectl("get", "nodereservations", cluster.full("a")).stdout.splitlines()
    assert shown[0].split()[4] == "TAINTED" and entry["id"] in shown[1]


async def test_where_no_migration_is_left_a_failed_undo_is_told_on_the_node(cluster: SimulatedCluster) -> None:
    made = await ready_without_agent(cluster)
    await cluster.forget("move")
    await cluster.gone("move")
    await intent(cluster, "a", "UndoIfUnused")
    failure = {"reason": "Refused", "step": "Remove", "errno": "EIO", "message": "the kernel refused to remove it"}
    await answer(cluster, "a", state="Tainted", failure=failure)

    event = await told(cluster, cluster.full("a"), "Tainted")

    assert event["regarding"]["kind"] == "Node" and made in event["note"] and cluster.full("move") in event["note"]


async def test_a_device_that_vanishes_is_told_as_lost(cluster: SimulatedCluster) -> None:
    a, b = await asyncio.gather(cluster.add_node("a", Gfx()), cluster.add_node("b", Gfx()))
    await cluster.migrate("move", gpu(8192))
    ready = await cluster.ready("move")
    lost = a if ready["status"]["node"] == cluster.full("a") else b
    lost.write(f"bus/mdev/devices/{instance(ready)}/remove", "1")
    event = await told(cluster, cluster.full("move"), "ReservationLost")
    assert ready["status"]["node"] in event["note"]


async def test_a_refused_value_makes_the_profile_suspect_and_others_are_taken_before_it(
    cluster: SimulatedCluster,
) -> None:
    bad = await cluster.add_node("bad", _of_a_version_of_its_own(cluster, "varGB"))
    for name, value in {"fail_write": "memory", "fail_write_errno": "22"}.items():
        bad.write(f"module/gfx/parameters/{name}", f"{value}\n")
    await cluster.migrate("first", gpu(4096))
    await cluster.shows("first", "Ready", "False", "NoDestination")
    devices = await cluster.client.send(get(NODE_DEVICES, cluster.full("bad")))
    profile = devices["status"]["parents"][0]["offers"][0]["profile"]
    suspect = await cluster.until(
        DEVICE_PROFILES, profile, "Suspect", lambda o: (condition(o, "Suspect") or {}).get("status") == "True"
    )
    assert (condition(suspect, "Suspect") or {})["reason"] == "WriteRefused"
    assert cluster.full("bad") in message_of(suspect, "Suspect") and "memory=4096" in message_of(suspect, "Suspect")
    await cluster.no_entries("bad")

    await cluster.add_node("good", _of_a_version_of_its_own(cluster, "varGB", "8GB"))
    await cluster.migrate("second", gpu(8192), mode="Plan", nodeName=cluster.full("good"))
    planned = await cluster.shows("second", "Planned", "True")
    why = {c["type"]: c["why"] for c in planned["status"]["candidates"]}
    assert list(why) == ["gfx-8GB", "gfx-varGB"] and "refused a value lately" in why["gfx-varGB"]


def _of_a_version_of_its_own(cluster: SimulatedCluster, *types: str) -> Gfx:
    """A driver whose profiles no other test has: what is Suspect for one is so for all that share it."""
    driver = Gfx(types=types)
    driver.version = cluster.unique
    return driver


async def test_a_profile_that_nothing_refers_to_goes_and_one_that_is_offered_stays(cluster: SimulatedCluster) -> None:
    await cluster.add_node("a", Gfx(types=["8GB"]))
    devices = await cluster.client.send(get(NODE_DEVICES, cluster.full("a")))
    offered = devices["status"]["parents"][0]["offers"][0]["profile"]
    spec = {"backend": "mdev", "driver": {"name": "old", "version": cluster.unique}, "type": {"id": "old-1"}}
    unused = profile_name(spec)
    await cluster.client.send(create(DEVICE_PROFILES, {"metadata": {"name": unused}, "spec": spec}))

    await cluster.gone(unused, DEVICE_PROFILES, None)

    assert await there(cluster, DEVICE_PROFILES, offered)


async def test_a_reference_to_a_profile_that_is_gone_is_a_reason_until_the_agent_looks_after_it(
    cluster: SimulatedCluster,
) -> None:
    await cluster.add_node("a", Gfx(types=["8GB"]))
    await cluster.migrate("plan", gpu(8192), mode="Plan")
    await cluster.shows("plan", "Planned", "True")
    devices = await cluster.client.send(get(NODE_DEVICES, cluster.full("a")))
    profile = devices["status"]["parents"][0]["offers"][0]["profile"]
    await cluster.client.send(delete(DEVICE_PROFILES, profile))
    nowhere = await cluster.shows("plan", "Planned", "False", "NoDestination")
    assert profile in rejections(nowhere)["ProfileMissing"][0]["message"]

    # An agent whose reservations vanish asks the API server for everything that it wrote once more.
    body = {"metadata": {"name": cluster.full("a")}, "spec": {"fence": 0}}
    await cluster.client.send(create(NODE_RESERVATIONS, body))
    await cluster.client.send(delete(NODE_RESERVATIONS, cluster.full("a")))

    await cluster.shows("plan", "Planned", "True")
    assert await there(cluster, DEVICE_PROFILES, profile)
