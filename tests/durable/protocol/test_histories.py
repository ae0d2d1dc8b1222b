"""Histories that the model has found, each as short as it can be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_node_agent.acting import preparer
from mdev_operator.migration.status import is_true
from tests.durable.protocol import laws
from tests.durable.protocol.nodes import BrokenError
from tests.durable.protocol.wire import Fate
from tests.durable.protocol.world import World

GPU = {"name": "gpu", "model": "com.gfx/GPU", "values": [{"name": "memory", "type": "int", "value": "2048"}]}
SPEC: dict[str, Any] = {"mode": "Prepare", "source": {"explicit": [GPU]}}
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
