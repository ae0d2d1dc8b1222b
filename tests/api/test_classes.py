"""Compatibility classes on a real API server, and the real kube-scheduler choosing nodes by their labels.

The nodes run real agents on kernels in memory; the operator and the scheduler are the real programs. There is no
kubelet, so a Pod that is bound stays Pending, which is all that is asked here: where would it have gone?
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from mdev_api.engine.compatibility_class import class_of
from mdev_api.engine.metadata import Source, SourceParameter, ValueType
from mdev_api.kinds.compatibility_class import label_of
from mdev_api.kube.requests import create, delete, get, merge_patch
from mdev_api.kube.resources import COMPATIBILITY_CLASSES, DEVICE_MIGRATIONS, LEASES, NODES, PODS
from tests.memkernel.driver import Module
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.simulated.cluster import AGENT_NAMESPACE, Object, SimulatedCluster, condition, gpu
from tests.waiting import eventually

PLAN = {"mode": "Plan"}


def label(memory: int) -> str:
    """The node label of GPUs with so much memory."""
    return label_of(class_name(memory))


def class_name(memory: int) -> str:
    """The class of GPUs with so much memory, as a scheduler's author would compute it."""
    parameter = SourceParameter(name="memory", type=ValueType.INT, value=str(memory))
    name = class_of(Source(model="com.gfx/GPU", parameters=(parameter,)))
    assert name is not None
    return name


async def schedulable(cluster: SimulatedCluster, name: str, *drivers: Module) -> MemoryKernel:
    """A node with an agent, and with room for Pods."""
    kernel = await cluster.add_node(name, *drivers)
    room = {"cpu": "8", "memory": "16Gi", "pods": "110"}
    body = {"status": {"capacity": room, "allocatable": room}}
    await cluster.client.send(merge_patch(NODES, cluster.full(name), body, subresource="status"))
    return kernel


async def labelled(cluster: SimulatedCluster, name: str, *memories: int, without: tuple[int, ...] = ()) -> Object:
    """Wait until the node has the labels of these classes, and none of those that it is to be without."""
    wanted, unwanted = {label(memory) for memory in memories}, {label(memory) for memory in without}

    def holds(node: Object) -> bool:
        labels = node["metadata"].get("labels", {})
        return labels.keys() >= wanted and not labels.keys() & unwanted

    return await cluster.until(NODES, cluster.full(name), f"labelled for {memories}, not for {without}", holds)


async def pod(cluster: SimulatedCluster, name: str, **spec: Any) -> Object:
    """A Pod that only the scheduler will look at."""
    body = {
        "metadata": {"name": cluster.full(name), "namespace": "default"},
        "spec": {
            "containers": [{"name": "main", "image": "registry.invalid/pause"}],
            "terminationGracePeriodSeconds": 0,
            **spec,
        },
    }
    return await cluster.make(PODS, body)


async def bound_to(cluster: SimulatedCluster, names: Iterable[str]) -> set[str]:
    """Wait until all these Pods are bound; the nodes' names as the test gave them."""
    nodes = set()
    for name in names:
        seen = await cluster.until(
            PODS, cluster.full(name), "bound", lambda p: p["spec"].get("nodeName"), namespace="default"
        )
        nodes.add(seen["spec"]["nodeName"].removesuffix(f"-{cluster.unique}"))
    return nodes


async def unschedulable(cluster: SimulatedCluster, name: str) -> str:
    """Wait until the scheduler has said why the Pod fits nowhere; what it said."""
    seen = await cluster.until(
        PODS,
        cluster.full(name),
        "found unschedulable",
        lambda p: (c := condition(p, "PodScheduled")) and c["reason"] == "Unschedulable",
        namespace="default",
    )
    found = condition(seen, "PodScheduled")
    assert found is not None
    return str(found["message"])


def any_of(*memories: int) -> Object:
    """Node affinity for the nodes that accept one of several classes."""
    terms = [{"matchExpressions": [{"key": label(m), "operator": "In", "values": ["true"]}]} for m in memories]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


async def test_a_migration_shows_its_class_and_the_class_shows_who_accepts_it(cluster: SimulatedCluster) -> None:
    await schedulable(cluster, "a", Gfx(types=["8GB"]))
    await schedulable(cluster, "b", Gfx(types=["4GB"]))

    await cluster.migrate("m", gpu(8192), **PLAN)

    name = class_name(8192)
    await cluster.until(
        DEVICE_MIGRATIONS,
        cluster.full("m"),
        "of its class",
        lambda o: [d.get("class") for d in o.get("status", {}).get("devices", ())] == [name],
        namespace="default",
    )
    found = await cluster.until(
        COMPATIBILITY_CLASSES, name, "accepted by a node with two free", lambda o: o.get("status", {}).get("nodes") == 1
    )
    status = found["status"]
    assert (status["model"], status["label"], status["available"]) == ("com.gfx/GPU", label(8192), 2)
    assert status["parameters"] == [{"name": "memory", "type": "int", "value": "8192", "listed": True}]
    assert len(status["profiles"]) >= 1
    assert (condition(found, "InUse") or {})["reason"] == "Migration"
    await labelled(cluster, "a", 8192)
    await labelled(cluster, "b", without=(8192,))


async def test_a_device_that_may_be_in_use_has_a_class_without_any_migration(cluster: SimulatedCluster) -> None:
    kernel = await schedulable(cluster, "a", Gfx(types=["varGB"]))
    await schedulable(cluster, "b", Gfx(types=["varGB"]))

    device = "7e1dd6a3-0f5c-4a64-9a3b-3c1f0f2a9d11"
    kernel.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-varGB/create", device)
    kernel.open_device(device)

    await labelled(cluster, "b", 1024)
    # Classes belong to the whole cluster: one that an earlier test used may still be there with another reason.
    await cluster.until(
        COMPATIBILITY_CLASSES,
        class_name(1024),
        "in use by a device",
        lambda o: (condition(o, "InUse") or {}).get("reason") == "Device",
    )


async def test_a_pod_with_the_label_as_node_selector_is_bound_only_where_its_class_is_accepted(
    cluster: SimulatedCluster,
) -> None:
    await schedulable(cluster, "right", Gfx(types=["8GB"]))
    await schedulable(cluster, "small", Gfx(types=["4GB"]))
    await schedulable(cluster, "none", Gfx(types=["nic"]))
    await cluster.migrate("m", gpu(8192), **PLAN)
    await labelled(cluster, "right", 8192)

    names = [f"pod{number}" for number in range(6)]
    await asyncio.gather(*(pod(cluster, name, nodeSelector={label(8192): "true"}) for name in names))

    assert await bound_to(cluster, names) == {"right"}


async def test_a_pod_with_affinity_to_several_classes_is_bound_where_one_of_them_is_accepted(
    cluster: SimulatedCluster,
) -> None:
    await schedulable(cluster, "large", Gfx(types=["8GB"]))
    await schedulable(cluster, "small", Gfx(types=["4GB"]))
    await schedulable(cluster, "none", Gfx(types=["nic"]))
    await cluster.migrate("m8", gpu(8192), **PLAN)
    await cluster.migrate("m4", gpu(4096), **PLAN)
    await labelled(cluster, "large", 8192)
    await labelled(cluster, "small", 4096)

    names = [f"pod{number}" for number in range(6)]
    # One at a time, so that the scheduler spreads them by what is there already.
    for name in names:
        await pod(cluster, name, affinity=any_of(8192, 4096))
        await bound_to(cluster, [name])

    assert await bound_to(cluster, names) == {"large", "small"}


async def test_pods_follow_when_what_a_node_offers_changes(cluster: SimulatedCluster) -> None:
    before = Gfx(types=["4GB"])
    kernel = await schedulable(cluster, "a", before)
    await cluster.migrate("m", gpu(8192), **PLAN)
    await cluster.until(COMPATIBILITY_CLASSES, class_name(8192), "there", lambda o: o.get("status"))
    await labelled(cluster, "a", without=(8192,))
    await pod(cluster, "waiting", nodeSelector={label(8192): "true"})
    assert "didn't match Pod's node affinity/selector" in await unschedulable(cluster, "waiting")

    kernel.unload(before)
    after = Gfx(types=["8GB"])
    kernel.load(after)

    assert await bound_to(cluster, ["waiting"]) == {"a"}

    kernel.unload(after)
    kernel.load(Gfx(types=["4GB"]))
    await labelled(cluster, "a", without=(8192,))
    await pod(cluster, "late", nodeSelector={label(8192): "true"})
    await unschedulable(cluster, "late")


async def test_a_node_without_room_keeps_its_label(cluster: SimulatedCluster) -> None:
    """The label says what the hardware accepts; room is told by counts, and by the plan."""
    kernel = await schedulable(cluster, "a", Gfx(types=["8GB"], pool_mb=8192))
    await cluster.migrate("m", gpu(8192), **PLAN)
    await labelled(cluster, "a", 8192)

    device = "7e1dd6a3-0f5c-4a64-9a3b-3c1f0f2a9d12"
    kernel.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-8GB/create", device)

    await cluster.until(
        COMPATIBILITY_CLASSES, class_name(8192), "without room", lambda o: o["status"].get("available") == 0
    )
    await labelled(cluster, "a", 8192)


async def test_a_node_that_is_not_ready_keeps_its_labels_and_one_without_agent_loses_them(
    cluster: SimulatedCluster,
) -> None:
    await schedulable(cluster, "a", Gfx(types=["8GB"]))
    await schedulable(cluster, "b", Gfx(types=["8GB"]))
    await cluster.migrate("m", gpu(8192), **PLAN)
    await labelled(cluster, "a", 8192)
    await labelled(cluster, "b", 8192)

    await cluster.mark("a", ready=False)
    await asyncio.to_thread(cluster.nodes["b"].stop)
    await cluster.client.send(delete(LEASES, cluster.full("b"), AGENT_NAMESPACE))

    await labelled(cluster, "b", without=(8192,))
    await labelled(cluster, "a", 8192)


async def test_labels_that_somebody_else_changes_are_put_right_once_and_not_fought_over(
    cluster: SimulatedCluster,
) -> None:
    await schedulable(cluster, "a", Gfx(types=["8GB"]))
    await cluster.migrate("m", gpu(8192), **PLAN)
    await labelled(cluster, "a", 8192, without=(4096,))
    full, changed = cluster.full("a"), {"metadata": {"labels": {label(8192): None, label(4096): "true"}}}

    await cluster.client.send(merge_patch(NODES, full, changed))
    await labelled(cluster, "a", 8192, without=(4096,))
    again = await cluster.client.send(merge_patch(NODES, full, changed))

    async def seen_and_left() -> bool:
        return "labels that somebody else set again are left for now" in cluster.operator_log()

    await eventually(seen_and_left, timeout=25, what="the operator to leave the labels alone")
    now = await cluster.client.send(get(NODES, full))
    assert now["metadata"]["labels"] == again["metadata"]["labels"]


async def test_labels_of_others_are_never_touched(cluster: SimulatedCluster) -> None:
    await schedulable(cluster, "a", Gfx(types=["8GB"]))
    before = {"zone": "here", "class.example.com/abc": "true"}
    await cluster.client.send(merge_patch(NODES, cluster.full("a"), {"metadata": {"labels": before}}))

    await cluster.migrate("m", gpu(8192), **PLAN)

    node = await labelled(cluster, "a", 8192)
    assert before.items() <= node["metadata"]["labels"].items()


async def test_a_class_that_is_not_in_use_any_more_keeps_its_labels_for_a_while(cluster: SimulatedCluster) -> None:
    await schedulable(cluster, "a", Gfx(types=["varGB"]))
    await cluster.migrate("m", gpu(2048), **PLAN)
    await cluster.until(COMPATIBILITY_CLASSES, class_name(2048), "there", lambda o: o.get("status"))

    await cluster.forget("m")

    found = await cluster.until(
        COMPATIBILITY_CLASSES,
        class_name(2048),
        "unused",
        lambda o: (c := condition(o, "InUse")) and c["status"] == "False",
    )
    assert "after 1 h it is deleted" in (condition(found, "InUse") or {})["message"]
    node = await cluster.client.send(get(NODES, cluster.full("a")))
    assert node["metadata"]["labels"][label(2048)] == "true"


async def test_an_object_that_describes_no_class_of_its_name_is_deleted(cluster: SimulatedCluster) -> None:
    name = "c-" + "b" * 26

    await cluster.client.send(create(COMPATIBILITY_CLASSES, {"metadata": {"name": name}}))

    await cluster.gone(name, COMPATIBILITY_CLASSES, None)
