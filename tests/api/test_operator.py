"""Migrations by the real operator, on the real API server, with real agents on kernels in memory."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any

from mdev_api.kube.requests import apply_status, create, get, merge_patch
from mdev_api.kube.resources import (
    DEVICE_MIGRATIONS,
    DEVICE_MODELS,
    DEVICE_PROFILES,
    LEASES,
    NODE_DEVICES,
    NODE_RESERVATIONS,
    NODES,
)
from tests.controlplane.control_plane import ControlPlane
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mdpy import Mdpy
from tests.simulated.cluster import (
    Object,
    SimulatedCluster,
    condition,
    gpu,
    instance,
    message_of,
    rejections,
)
from tests.simulated.operator_process import OperatorProcess
from tests.simulated.writes import settled_writes, written


def make_by_hand(kernel: MemoryKernel, type_id: str, parent: str = "gfx0") -> str:
    """Create a device as an administrator does; returns its UUID."""
    device = str(uuid.uuid4())
    kernel.write(f"class/mdev_bus/{parent}/mdev_supported_types/{type_id}/create", device)
    return device


def creates(kernel: MemoryKernel) -> int:
    """How often the driver gfx was asked for a device, in vain or not."""
    return int(kernel.read("module/gfx/parameters/create_count"))


def fault(kernel: MemoryKernel, name: str, value: str) -> None:
    """Have the driver gfx fail."""
    kernel.write(f"module/gfx/parameters/{name}", f"{value}\n")


async def placed(cluster: SimulatedCluster, name: str, node: str, memory: int = 8192) -> str:
    """A device that this project made on a node and handed over."""
    await cluster.migrate(name, gpu(memory), nodeName=cluster.full(node))
    device = instance(await cluster.ready(name))
    await cluster.tell(name, started=True, outcome="Succeeded")
    await cluster.shows(name, "Finished", "True", "Succeeded")
    await cluster.no_entries(node)
    return device


async def one_is_ready(cluster: SimulatedCluster, names: list[str]) -> str:
    """Wait until exactly one of them is Ready and all others know that there is no room; its name."""
    seen: dict[str, Any] = {}
    for name in names:
        seen[name] = await cluster.until(
            DEVICE_MIGRATIONS,
            cluster.full(name),
            "Ready, or without a destination",
            lambda o: (c := condition(o, "Ready")) and (c["status"] == "True" or c["reason"] == "NoDestination"),
            namespace="default",
        )
    ready = [name for name, obj in seen.items() if (condition(obj, "Ready") or {})["status"] == "True"]
    assert len(ready) == 1, f"Ready: {ready}"
    for name in names:
        if name not in ready:
            assert "NoCapacity" in rejections(seen[name]), seen[name]["status"]
    return ready[0]


async def test_of_twenty_migrations_for_one_device_exactly_one_is_ready(cluster: SimulatedCluster) -> None:
    kernel = await cluster.add_node("a", Gfx(types=["8GB"], pool_mb=8192))
    names = [f"m{number}" for number in range(20)]
    await asyncio.gather(*(cluster.migrate(name, gpu(8192)) for name in names))

    first = await one_is_ready(cluster, names)

    assert creates(kernel) == 1 and len(kernel.devices()) == 1
    await cluster.tell(first, started=True, outcome="Failed")
    await cluster.shows(first, "Finished", "True", "Failed")
    names.remove(first)
    await cluster.holds("a second device to be made", lambda: creates(kernel) == 2)
    second = await one_is_ready(cluster, names)
    await cluster.forget(second)
    names.remove(second)
    await cluster.holds("a third device to be made", lambda: creates(kernel) == 3)
    third = await one_is_ready(cluster, names)
    ready = await cluster.ready(third)
    assert kernel.devices() == [instance(ready)] and not ready["status"].get("attempts")


async def test_a_model_written_at_run_time_lets_devices_move_whose_driver_says_nothing(
    cluster: SimulatedCluster,
) -> None:
    a, b = await asyncio.gather(cluster.add_node("a", Mdpy()), cluster.add_node("b", Mdpy()))
    device = make_by_hand(a, "mdpy-hd", "mdpy")
    await cluster.migrate("move", cluster.of_node("a", device))
    before = await cluster.shows("move", "Planned", "False", "NoModel")
    assert device in message_of(before, "Planned")

    resolution = {"name": "resolution", "initValue": {"expression": "profile.attributes['description']"}}
    spec = {
        "model": f"kernel.org/mdpy-{cluster.unique}",
        "parameters": [{"name": "resolution", "type": "str"}],
        "appliesTo": {"backend": "mdev", "driver": "mdpy"},
        "matches": [
            {"name": "display", "expression": "profile.type.id.startsWith('mdpy-')", "parameters": [resolution]}
        ],
    }
    await cluster.make(DEVICE_MODELS, {"metadata": {"name": cluster.full("mdpy")}, "spec": spec})

    ready = await cluster.ready("move")
    assert ready["status"]["node"] == cluster.full("b")
    assert {c["type"] for c in ready["status"]["candidates"]} == {"mdpy-hd"}
    made = instance(ready)
    assert b.devices() == [made]
    assert b.read(f"bus/mdev/devices/{made}/vendor/resolution") == "1920x1080"


async def test_a_failed_attempt_is_recorded_and_undone_and_the_next_candidate_taken(
    cluster: SimulatedCluster,
) -> None:
    names = ["a", "b", "c", "d"]
    kernels = dict(
        zip(names, await asyncio.gather(*(cluster.add_node(n, Gfx(types=["varGB"])) for n in names)), strict=True)
    )
    fault(kernels["a"], "fail_create", "5")
    fault(kernels["b"], "fail_write", "memory")
    fault(kernels["c"], "clamp_write", "memory")
    fault(kernels["d"], "fail_create", "28")
    await cluster.migrate("move", gpu(4096))
    nowhere = await cluster.shows("move", "Ready", "False", "NoDestination")

    said = {a["node"]: a["message"] for a in nowhere["status"]["attempts"]}
    for name, words in {
        "a": ("Refused", "Create", "EIO"),
        "b": ("Refused", "Write", "memory", "EIO"),
        "c": ("ReadbackMismatch", "memory", "4096"),
        "d": ("NoCapacity", "Create", "ENOSPC"),
    }.items():
        assert [w for w in words if w not in said[cluster.full(name)]] == [], said[cluster.full(name)]
        await cluster.no_entries(name)
    assert sorted(a["number"] for a in nowhere["status"]["attempts"]) == [1, 2, 3, 4]
    assert "Attempted" in rejections(nowhere)

    kernels["e"] = await cluster.add_node("e", Gfx(types=["varGB"]))
    ready = await cluster.ready("move")
    assert ready["status"]["node"] == cluster.full("e") and len(ready["status"]["attempts"]) == 4
    assert {name: len(kernel.devices()) for name, kernel in kernels.items()} == {"a": 0, "b": 0, "c": 0, "d": 0, "e": 1}
    device = ready["status"]["devices"][0]
    assert (device["type"], device["writes"]) == ("gfx-varGB", 1)
    assert kernels["e"].read(f"bus/mdev/devices/{device['instance']}/migration/memory") == "4096"


async def test_after_the_outcome_failed_the_destination_is_empty_and_the_source_keeps_its_device(
    cluster: SimulatedCluster,
) -> None:
    a, b = await asyncio.gather(cluster.add_node("a", Gfx()), cluster.add_node("b", Gfx()))
    source = make_by_hand(a, "gfx-8GB")
    await cluster.migrate("move", cluster.of_node("a", source), sourcePolicy="Remove")
    made = instance(await cluster.ready("move"))
    assert b.devices() == [made]
    await cluster.tell("move", started=True)
    await cluster.tell("move", outcome="Failed")
    finished = await cluster.shows("move", "Finished", "True", "Failed")
    assert (condition(finished, "Ready") or {})["status"] == "False"
    await asyncio.gather(cluster.no_entries("a"), cluster.no_entries("b"))
    assert a.devices() == [source] and b.devices() == []


async def test_a_source_to_be_removed_stays_while_it_is_open(cluster: SimulatedCluster) -> None:
    a, b = await asyncio.gather(cluster.add_node("a", Gfx(), rescan_seconds=0.5), cluster.add_node("b", Gfx()))
    source = await placed(cluster, "place", "a")
    a.open_device(source)
    await cluster.until(NODE_DEVICES, cluster.full("a"), "showing it in use", lambda o: _in_use(o, source) == "Yes")
    await cluster.migrate("move", cluster.of_node("a", source), sourcePolicy="Remove")
    made = instance(await cluster.ready("move"))
    await cluster.tell("move", started=True, outcome="Succeeded")
    await cluster.shows("move", "Finished", "True", "Succeeded")
    await cluster.until(NODE_RESERVATIONS, cluster.full("a"), "waiting for the device to be closed", _waits)
    assert a.devices() == [source]
    await cluster.forget("move")
    await cluster.gone("move")
    a.close_device(source)
    await cluster.holds("the source to be removed", lambda: a.devices() == [])
    await asyncio.gather(cluster.no_entries("a"), cluster.no_entries("b"))
    assert b.devices() == [made]


async def test_deleted_before_it_started_nothing_stays_but_what_is_open(cluster: SimulatedCluster) -> None:
    kernel = await cluster.add_node("a", Gfx(), rescan_seconds=0.5)
    await cluster.migrate("unused", gpu(8192))
    await cluster.ready("unused")
    await cluster.migrate("used", gpu(4096))
    used = instance(await cluster.ready("used"))
    kernel.open_device(used)
    await cluster.until(NODE_DEVICES, cluster.full("a"), "showing it in use", lambda o: _in_use(o, used) == "Yes")
    await asyncio.gather(cluster.forget("unused"), cluster.forget("used"))
    await asyncio.gather(cluster.gone("unused"), cluster.gone("used"))
    await cluster.holds("the unused device to be gone", lambda: kernel.devices() == [used])
    await cluster.until(NODE_RESERVATIONS, cluster.full("a"), "waiting for the device to be closed", _waits)
    kernel.close_device(used)
    await cluster.holds("the other one to be gone", lambda: kernel.devices() == [])
    await cluster.no_entries("a")


async def test_deleted_after_it_started_everything_is_held_until_the_outcome_is_told(
    cluster: SimulatedCluster,
) -> None:
    kernel = await cluster.add_node("a", Gfx())
    await cluster.migrate("move", gpu(8192))
    made = instance(await cluster.ready("move"))
    await cluster.tell("move", started=True)
    await cluster.forget("move")
    overdue = await cluster.shows("move", "Overdue", "True", "OutcomeNotTold")
    assert "spec.outcome" in message_of(overdue, "Overdue")
    assert [e["intent"] for e in await cluster.entries("a")] == ["Hold"] and kernel.devices() == [made]
    await cluster.tell("move", outcome="Succeeded")
    await cluster.gone("move")
    await cluster.no_entries("a")
    assert kernel.devices() == [made]


async def test_what_nobody_starts_expires_and_what_is_started_does_not(cluster: SimulatedCluster) -> None:
    kernel = await cluster.add_node("a", Gfx())
    await cluster.migrate("started", gpu(4096), preparedTTLSeconds=3, started=True)
    held = instance(await cluster.ready("started"))
    await cluster.migrate("forgotten", gpu(8192), preparedTTLSeconds=1)
    finished = await cluster.shows("forgotten", "Finished", "True", "Expired")
    assert "preparedTTLSeconds" in message_of(finished, "Finished")
    await cluster.holds("the forgotten device to be gone", lambda: kernel.devices() == [held])
    await cluster.shows("started", "Overdue", "True", "OutcomeNotTold")
    assert kernel.devices() == [held]
    assert [e["intent"] for e in await cluster.entries("a") if e["owner"]["name"] == cluster.full("started")] == [
        "Hold"
    ]


async def test_what_is_not_ready_in_time_ends_with_the_last_reason(cluster: SimulatedCluster) -> None:
    await cluster.add_node("a", Gfx(types=["4GB"]))
    await cluster.migrate("move", gpu(8192), deadlineSeconds=2)
    finished = await cluster.shows("move", "Finished", "True", "Deadline")
    assert "deadlineSeconds" in message_of(finished, "Finished")
    assert "NoDestination" in message_of(finished, "Finished") and "memory" in message_of(finished, "Finished")


async def test_nodes_that_are_not_well_are_rejected_with_their_reason_until_they_are(
    cluster: SimulatedCluster,
) -> None:
    await asyncio.gather(*(cluster.add_node(name, Gfx()) for name in ("cordoned", "unready", "well")))
    await cluster.mark("cordoned", unschedulable=True)
    await cluster.mark("unready", ready=False)
    await _devices_without_agent(cluster, "silent", like="well")
    await cluster.migrate("plan", gpu(8192), mode="Plan")
    planned = await cluster.shows("plan", "Planned", "True")
    assert {c["node"] for c in planned["status"]["candidates"]} == {cluster.full("well")}
    reasons = rejections(planned)
    for code, name in (("NodeCordoned", "cordoned"), ("NodeNotReady", "unready"), ("Stale", "silent")):
        assert [cluster.full(name)] == [e["node"] for e in reasons[code]], reasons
    assert "Lease" in reasons["Stale"][0]["message"]
    assert condition(planned, "Ready") is None and await cluster.entries("well") == []

    await asyncio.gather(cluster.mark("cordoned"), cluster.mark("unready"), cluster.mark("well", unschedulable=True))
    await cluster.until(
        DEVICE_MIGRATIONS,
        cluster.full("plan"),
        "following the cluster",
        lambda o: _nodes(o) == {cluster.full("cordoned"), cluster.full("unready")},
        namespace="default",
    )
    await cluster.tell("plan", mode="Prepare")
    ready = await cluster.ready("plan")
    assert ready["status"]["node"] in (cluster.full("cordoned"), cluster.full("unready"))


async def test_a_prepared_device_that_vanishes_is_replaced(cluster: SimulatedCluster) -> None:
    a, b = await asyncio.gather(cluster.add_node("a", Gfx()), cluster.add_node("b", Gfx()))
    await cluster.migrate("move", gpu(8192))
    first = await cluster.ready("move")
    lost = a if first["status"]["node"] == cluster.full("a") else b
    lost.write(f"bus/mdev/devices/{instance(first)}/remove", "1")
    again = await cluster.until(
        DEVICE_MIGRATIONS,
        cluster.full("move"),
        "Ready with another device",
        lambda o: (condition(o, "Ready") or {})["status"] == "True" and instance(o) != instance(first),
        namespace="default",
    )
    assert [a["state"] for a in again["status"]["attempts"]] == ["Lost"]
    assert sorted(a.devices() + b.devices()) == [instance(again)]


async def test_a_profile_whose_name_is_not_the_hash_of_its_content_is_deleted_and_told(
    cluster: SimulatedCluster, operator: OperatorProcess
) -> None:
    name = "p-" + cluster.unique.translate(str.maketrans("0189", "aaaa")).ljust(26, "a")
    spec = {"backend": "mdev", "driver": {"name": "forged"}, "type": {"id": "forged-1"}}
    await cluster.client.send(create(DEVICE_PROFILES, {"metadata": {"name": name}, "spec": spec}))
    await cluster.gone(name, DEVICE_PROFILES, None)
    operator.wait_said("deleted a profile whose name is not the hash of its content")
    assert name in operator.log()


async def test_where_nothing_changes_nothing_is_written(cluster: SimulatedCluster, control_plane: ControlPlane) -> None:
    outside = cluster.full("outside")
    await cluster.make(NODES, {"metadata": {"name": outside}})
    nothing = await asyncio.to_thread(written, control_plane)
    await cluster.add_node("a", Gfx())
    await _devices_without_agent(cluster, "stale", like="a", renewed="2020-01-01T00:00:00.000000Z")
    await cluster.migrate("nowhere", gpu(16384))
    await cluster.migrate("ready", gpu(8192))
    await cluster.migrate("overdue", gpu(4096), preparedTTLSeconds=1, started=True)
    await cluster.shows("nowhere", "Ready", "False", "NoDestination")
    await cluster.ready("ready")
    await cluster.shows("overdue", "Overdue", "True")
    await settled_writes(control_plane)
    # The last one, so that it has nothing to write that would have to wait for its interval.
    await cluster.migrate("plan", gpu(1024), mode="Plan")
    await cluster.shows("plan", "Planned", "True")
    before = await settled_writes(control_plane)
    assert before.total() > nothing.total() + 10, "the count does not see what agents and operator write"

    # Everybody decides again for three seconds, and each time comes to the same, but for how long it has been so.
    until = asyncio.get_running_loop().time() + 3.0
    number = 0
    while asyncio.get_running_loop().time() < until:
        number += 1
        await cluster.client.send(merge_patch(NODES, outside, {"spec": {"unschedulable": number % 2 == 0}}))
    assert number > 3

    assert await settled_writes(control_plane) - before == Counter()


async def _devices_without_agent(
    cluster: SimulatedCluster, name: str, *, like: str, renewed: str | None = None
) -> None:
    """A Node with the same devices as another one, whose agent has no Lease, or an old one."""
    await cluster.mark(name)
    full = cluster.full(name)
    shown = await cluster.client.send(get(NODE_DEVICES, cluster.full(like)))
    await cluster.make(NODE_DEVICES, {"metadata": {"name": full}})
    await cluster.client.send(apply_status(NODE_DEVICES, full, shown["status"], "test"))
    if renewed is not None:
        spec = {"holderIdentity": full, "leaseDurationSeconds": 330, "renewTime": renewed}
        await cluster.make(LEASES, {"metadata": {"name": full, "namespace": "mdev-node-agent"}, "spec": spec})


def _in_use(devices: Object, device: str) -> str | None:
    found = devices.get("status", {}).get("instances", [])
    return next((i.get("inUse") for i in found if i["id"] == device), None)


def _waits(reservations: Object) -> bool:
    return any("waiting" in a for a in reservations.get("status", {}).get("reservations", ()))


def _nodes(migration: Object) -> set[str]:
    return {c["node"] for c in migration.get("status", {}).get("candidates", ())}
