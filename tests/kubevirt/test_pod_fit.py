"""Which nodes a waiting pod may go to: the real kube-scheduler is asked about the same pods and nodes."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import create, delete, list_page, merge_patch
from mdev_api.kube.resources import NODES, PODS
from mdev_operator.inventory.cluster import NodeView
from mdev_operator.kubevirt.pod_fit import constraints_of, misfit, taints_of
from tests.controlplane.control_plane import ControlPlane
from tests.waiting import eventually

Object = dict[str, Any]

ONLY = "fit.mdev-operator.test/node"
"""A label that pins each pod to one of these nodes, so that the scheduler answers for one pod and one node."""

ROOM = {"cpu": "64", "memory": "64Gi", "pods": "500"}
READY = {"type": "Ready", "status": "True", "reason": "Test", "message": "says the test"}
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
KEYS = ("zone", "generation", "text", "absent")
VALUES = ("z1", "z2", "7", "8", "07", "seven")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """May this pod go to this node?"""

    pod: Object
    node: str


def nodes(run: str) -> list[Object]:
    """Four nodes that differ in labels and taints."""
    plain: list[tuple[dict[str, str], list[Object]]] = [
        ({"zone": "z1", "generation": "7", "text": "seven"}, []),
        ({"zone": "z2", "generation": "8"}, [{"key": "gpu", "value": "big", "effect": "NoSchedule"}]),
        ({"generation": "07"}, [{"key": "gpu", "effect": "NoExecute"}, {"key": "old", "effect": "NoSchedule"}]),
        ({"text": "7"}, [{"key": "gpu", "value": "big", "effect": "PreferNoSchedule"}]),
    ]
    return [
        {
            "metadata": {"name": f"fit-{run}-{n}", "labels": {**labels, ONLY: f"fit-{run}-{n}"}},
            "spec": {"taints": taints} if taints else {},
        }
        for n, (labels, taints) in enumerate(plain)
    ]


def requirement(chance: random.Random) -> Object:
    operator = chance.choice(OPERATORS)
    made: Object = {"key": chance.choice(KEYS), "operator": operator}
    if operator in ("In", "NotIn"):
        made["values"] = chance.sample(VALUES, chance.randint(1, 3))
    elif operator in ("Gt", "Lt"):
        made["values"] = [chance.choice(["6", "7", "007", "8", "seven"])]
    return made


def term(chance: random.Random, names: list[str]) -> Object:
    made: Object = {}
    if chance.random() < 0.8:
        made["matchExpressions"] = [requirement(chance) for _ in range(chance.randint(1, 2))]
    if chance.random() < 0.4:
        operator = chance.choice(["In", "NotIn"])
        made["matchFields"] = [{"key": "metadata.name", "operator": operator, "values": [chance.choice(names)]}]
    return made


def toleration(chance: random.Random) -> Object:
    made: Object = {"operator": chance.choice(["Exists", "Equal"])}
    if made["operator"] == "Equal" or chance.random() < 0.8:
        made["key"] = chance.choice(["gpu", "old"])
    if made["operator"] == "Equal" and chance.random() < 0.7:
        made["value"] = chance.choice(["big", "small"])
    if chance.random() < 0.4:
        made["effect"] = chance.choice(["NoSchedule", "NoExecute"])
    return made


def question(chance: random.Random, number: int, run: str, names: list[str]) -> Question:
    """A pod of any mix of selector, affinity and tolerations, and one node."""
    node = chance.choice(names)
    selector = {ONLY: node}
    if chance.random() < 0.3:
        selector[chance.choice(KEYS)] = chance.choice(VALUES)
    spec: Object = {"nodeSelector": selector, "containers": [{"name": "main", "image": "none"}]}
    if chance.random() < 0.7:
        terms = [term(chance, names) for _ in range(chance.randint(1, 3))]
        required = {"nodeSelectorTerms": terms}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    if chance.random() < 0.8:
        spec["tolerations"] = [toleration(chance) for _ in range(chance.randint(1, 3))]
    name = f"fit-{run}-{number}"
    pod = {"metadata": {"name": name, "namespace": "default", "labels": {"fit": run}}, "spec": spec}
    return Question(pod=pod, node=node)


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with Client(load(control_plane.kubeconfig)) as client:
        yield client


async def scheduled(client: Client, run: str, count: int) -> dict[str, Object] | None:
    """The pods by name, once the scheduler has tried every one."""
    pods = (await client.send(list_page(PODS, namespace="default", limit=None, label_selector=f"fit={run}")))["items"]
    tried = [p for p in pods if "nodeName" in p["spec"] or _refused(p)]
    return {p["metadata"]["name"]: p for p in pods} if len(tried) == count else None


def _refused(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "PodScheduled" and c["reason"] == "Unschedulable" for c in conditions)


async def remove(client: Client, run: str, names: list[str]) -> None:
    pods = (await client.send(list_page(PODS, namespace="default", limit=None, label_selector=f"fit={run}")))["items"]
    for pod in pods:
        now = merge_patch(PODS, pod["metadata"]["name"], {"metadata": {"finalizers": None}}, "default")
        await client.send(now)
        request = delete(PODS, pod["metadata"]["name"], "default")
        await client.send(request)
    for name in names:
        await client.send(delete(NODES, name))


async def test_the_real_scheduler_lets_a_pod_on_a_node_exactly_when_it_fits(client: Client) -> None:
    run, chance = uuid.uuid4().hex[:8], random.Random(20261125)
    made: dict[str, Object] = {}
    questions: list[Question] = []
    try:
        for node in nodes(run):
            stored = await client.send(create(NODES, node))
            name = stored["metadata"]["name"]
            status = {"status": {"capacity": ROOM, "allocatable": ROOM, "conditions": [READY]}}
            made[name] = await client.send(merge_patch(NODES, name, status, subresource="status"))
        names = sorted(made)
        questions = [question(chance, n, run, names) for n in range(240)]
        await asyncio.gather(*(client.send(create(PODS, q.pod, "default")) for q in questions))
        pods = await eventually(
            lambda: scheduled(client, run, len(questions)), timeout=60, what="the scheduler to try every pod"
        )
        assert pods is not None
        wrong, may = [], 0
        for q in questions:
            pod, node = pods[q.pod["metadata"]["name"]], made[q.node]
            view = NodeView(
                name=q.node,
                labels=node["metadata"]["labels"],
                ready=True,
                schedulable=True,
                taints=taints_of(node),
            )
            found, bound = misfit(constraints_of(pod), view), "nodeName" in pod["spec"]
            may += bound
            if (found is None) != bound:
                wrong.append((q.pod["spec"], node["metadata"]["labels"], node["spec"], bound, found))
    finally:
        await remove(client, run, sorted(made))
    assert wrong == []
    assert 40 < may < 200, f"{may} of 240 pods were let on: the questions are too one-sided to tell anything"
