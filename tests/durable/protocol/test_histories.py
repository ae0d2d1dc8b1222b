"""Histories that the model has found, each as short as it can be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kube.requests import merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from mdev_node_agent.acting import preparer
from mdev_operator.migration.status import is_true
from tests.durable.protocol import laws
from tests.durable.protocol.nodes import BrokenError
from tests.durable.protocol.wire import Fate
from tests.durable.protocol.world import World

GPU = {"name": "gpu", "model": "com.gfx/GPU", "values": [{"name": "memory", "type": "int", "value": "2048"}]}
SPEC: dict[str, Any] = {"mode": "Prepare", "preparedTTLSeconds": 600, "source": {"explicit": [GPU]}}
KEY = "migration/default/m"


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.store.watchers.append(laws.Writes(store=made.store).judge)
        made.pass_time(2.0)
        made.leader.work()
        made.migrate("m", SPEC)
        made.pass_time(0.2)
        yield made
        laws.of_the_world(made)


def shows(world: World, kind: str) -> bool:
    obj = world.migration("m")
    return obj is not None and is_true(DeviceMigration.model_validate(obj).status.conditions, kind)


def work(world: World, rounds: int = 4) -> None:
    for _ in range(rounds):
        world.leader.work()
        world.pass_time(0.2)


def test_a_status_that_arrives_after_the_end_does_not_bring_the_migration_back(world: World) -> None:
    wire = world.leader.wire
    wire.passes = 1  # The finalizer; then the status is on its way, and the client gives up waiting.
    world.leader.begin(KEY)
    world.pass_time(12.0)
    (late,) = wire.on_its_way
    wire.passes = None
    world.tell("m", outcome="Failed")
    work(world)
    assert shows(world, "Finished")
    wire.settle(late, Fate.ARRIVES)
    assert shows(world, "Finished")


def test_an_inventory_that_arrives_late_does_not_stay(world: World) -> None:
    work(world)
    node = next(node for node in world.nodes.values() if node.kernel.devices())
    node.wire.passes = 0  # The inventory without the device is on its way, and the client gives up waiting.
    world.tell("m", outcome="Failed")
    work(world)
    world.pass_time(12.0)
    late = next(write for write in node.wire.on_its_way if "nodedevices" in write.request.path)
    node.wire.passes = None
    work(world)
    node.make("00000000-0000-4000-8000-000000000001", "4GB")
    world.pass_time(12.0)
    node.wire.settle(late, Fate.ARRIVES)
    world.pass_time(90.0)
    obj = world.store.get("nodedevices", node.name)
    assert obj is not None
    assert [instance["id"] for instance in obj["status"].get("instances", ())] == node.kernel.devices()


def test_what_a_vm_may_have_open_since_it_was_ready_is_not_undone_when_its_migration_ends_too_late(
    world: World,
) -> None:
    two = [{**GPU, "name": name, "values": [{**GPU["values"][0], "value": "1024"}]} for name in ("gpu0", "gpu1")]
    world.migrate("two", {"mode": "Prepare", "deadlineSeconds": 60, "source": {"explicit": two}})
    work(world)
    status = world.migration("two")["status"]  # type: ignore[index]
    opened, other = (device["instance"] for device in status["devices"])
    node = world.nodes[status["node"]]
    node.kernel.open_device(opened)
    for name in world.nodes:
        world.ready(name, ready=False)  # There is no other destination.
    node.kernel.write(f"bus/mdev/devices/{other}/remove", "1")
    work(world)
    world.pass_time(90.0)
    work(world)
    assert "Deadline" in str(world.migration("two"))
    assert opened in node.kernel.devices()


def test_of_two_operators_that_decide_from_one_view_only_the_first_is_heard(world: World) -> None:
    work(world)
    world.tell("m", outcome="Failed")
    work(world)  # Nothing is reserved any more, so a new leader raises no fence.
    for name in ("former", "leader"):
        world.migrate(name, SPEC)
    world.lead_anew()
    world.pass_time(0.2)
    former, leader = world.stale, world.leader
    assert former is not None
    for operator, name in ((former, "former"), (leader, "leader")):
        operator.wire.passes = 1  # The finalizer; then what is to be reserved is on its way.
        operator.begin(f"migration/default/{name}")
    world.pass_time(0.2)
    assert former.wire.on_its_way and leader.wire.on_its_way
    for operator in (former, leader):
        operator.wire.let_through()
        world.pass_time(0.2)
    specs = [world.store.get("nodereservations", node) or {"spec": {}} for node in world.nodes]
    assert len([key for spec in specs for key in laws.entries(spec)]) == 1


@pytest.mark.parametrize("end", ["expires", "is deleted"])
def test_what_was_started_while_it_was_ready_stays_although_it_is_about_to_be_let_go(world: World, end: str) -> None:
    work(world)
    assert shows(world, "Ready")
    (device,) = [device for node in world.nodes.values() for device in node.kernel.devices()]
    if end == "expires":
        world.pass_time(SPEC["preparedTTLSeconds"] + 1)
    else:
        world.delete("m")
    wire = world.leader.wire
    wire.passes = 0  # What ends it is on its way.
    world.leader.begin(KEY)
    world.pass_time(0.2)
    assert wire.on_its_way
    world.tell("m", started=True)
    wire.let_through()
    work(world)
    world.pass_time(30.0)
    work(world)
    assert device in [device for node in world.nodes.values() for device in node.kernel.devices()]


@pytest.mark.parametrize("used", [False, True])
def test_what_a_migration_held_that_somebody_removed_by_force_goes_when_nobody_uses_it(
    world: World, used: bool
) -> None:
    work(world)
    (node, device) = next((node, device) for node in world.nodes.values() for device in node.kernel.devices())
    if used:
        node.kernel.open_device(device)
    world.store.answer(merge_patch(DEVICE_MIGRATIONS, "m", {"metadata": {"finalizers": None}}, "default"))
    world.delete("m")
    assert world.migration("m") is None
    for _ in range(3):
        world.pass_time(40.0)
        work(world)
    assert node.kernel.devices() == ([device] if used else [])
    if used:
        node.kernel.close_device(device)
        world.pass_time(300.0)
        assert node.kernel.devices() == []


def test_a_fault_that_an_agent_survives_breaks_a_law_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(situation: object) -> None:
        raise KeyError("nobody expected this")

    with World() as world:
        world.pass_time(2.0)
        world.leader.work()
        world.migrate("m", SPEC)
        monkeypatch.setattr(preparer, "next_step", faulty)
        work(world)
        assert all(node.agent is not None for node in world.nodes.values())
        with pytest.raises(BrokenError, match="met a fault"):
            laws.of_the_world(world)
