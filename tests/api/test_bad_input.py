"""What is wrong in an object is said where its author looks: by the API server at once, or in a condition."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import create
from mdev_api.kube.resources import DEVICE_MIGRATIONS, DEVICE_MODELS, DEVICE_PROFILES, NODE_RESERVATIONS, Resource
from tests.memkernel.gfx import Gfx
from tests.simulated.cluster import SimulatedCluster, condition, gpu, message_of


async def test_a_source_that_does_not_exist_is_told_and_taken_when_it_appears(cluster: SimulatedCluster) -> None:
    device = str(uuid.uuid4())
    await cluster.add_node("b", Gfx())
    await cluster.migrate("move", cluster.of_node("a", device))
    told = await cluster.shows("move", "Planned", "False", "SourceNotFound")
    assert cluster.full("a") in message_of(told, "Planned")
    assert (condition(told, "Ready") or {})["reason"] == "SourceNotFound"

    kernel = await cluster.add_node("a", Gfx())
    told = await cluster.shows("move", "Planned", "False", "DeviceNotFound")
    assert device in message_of(told, "Planned") and cluster.full("a") in message_of(told, "Planned")

    kernel.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-8GB/create", device)
    ready = await cluster.ready("move")
    assert (condition(ready, "Planned") or {})["status"] == "True"
    assert ready["status"]["devices"][0]["source"] == device and ready["status"]["node"] == cluster.full("b")


async def test_a_source_that_another_migration_holds_is_busy_until_it_is_let_go(cluster: SimulatedCluster) -> None:
    kernel = await cluster.add_node("a", Gfx())
    await cluster.add_node("b", Gfx())
    device = str(uuid.uuid4())
    kernel.write("class/mdev_bus/gfx0/mdev_supported_types/gfx-8GB/create", device)
    await cluster.migrate("first", cluster.of_node("a", device))
    await cluster.ready("first")
    await cluster.migrate("second", cluster.of_node("a", device))
    told = await cluster.shows("second", "Planned", "False", "SourceBusy")
    assert cluster.full("first") in message_of(told, "Planned")
    await cluster.forget("first")
    await cluster.ready("second")


EXPLICIT = gpu(8192)["explicit"][0]
MEMORY = EXPLICIT["values"][0]
UNUSABLE: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    (
        "a value of the wrong form",
        {"explicit": [{**EXPLICIT, "values": [{"name": "memory", "type": "int", "value": "8 GB"}]}]},
        {},
        "SchemaError",
        "8 GB",
    ),
    (
        "two devices with binding Late",
        {"node": {"name": "n", "devices": ["a", "b"]}},
        {"binding": "Late"},
        "NotSupported",
        "KubeVirt moves none with more than one",
    ),
    (
        "two explicit devices, one of them wrong",
        {
            "explicit": [
                EXPLICIT,
                {**EXPLICIT, "name": "b", "values": [{"name": "memory", "type": "int", "value": "x"}]},
            ]
        },
        {},
        "SchemaError",
        "explicit device b",
    ),
    ("binding Late", gpu(8192), {"binding": "Late"}, "NotSupported", "use binding Early"),
    ("a VM", {"vm": {"name": "my-vm"}}, {}, "SourceNotFound", "source.node"),
    (
        "a version",
        {"explicit": [{**EXPLICIT, "version": "v2", "values": []}]},
        {},
        "UnknownVersion",
        "no valid DeviceModel",
    ),
]


@pytest.mark.parametrize(
    ("source", "spec", "reason", "words"), [case[1:] for case in UNUSABLE], ids=[c[0] for c in UNUSABLE]
)
async def test_what_cannot_be_done_is_a_condition_with_a_sentence_that_helps(
    cluster: SimulatedCluster, source: dict[str, Any], spec: dict[str, Any], reason: str, words: str
) -> None:
    await cluster.migrate("move", source, **spec)
    told = await cluster.shows("move", "Planned", "False")
    seen = condition(told, "Planned") or {}
    assert (seen["reason"], words in seen["message"]) == (reason, True), seen


def migration(**spec: Any) -> dict[str, Any]:
    """A migration that is right, but for ``spec``."""
    return {
        "metadata": {"name": f"bad-{uuid.uuid4().hex[:8]}", "namespace": "default"},
        "spec": {"mode": "Plan", "source": gpu(8192), **spec},
    }


REFUSED: list[tuple[Resource, dict[str, Any], tuple[str, ...]]] = [
    (DEVICE_MIGRATIONS, migration(mode="Now"), ("spec.mode", "Plan")),
    (DEVICE_MIGRATIONS, migration(deadlineSeconds=0), ("spec.deadlineSeconds",)),
    (DEVICE_MIGRATIONS, migration(source={}), ("spec.source", "exactly one of vm, node and explicit")),
    (DEVICE_MIGRATIONS, migration(source={"node": {"name": "n", "devices": []}}), ("spec.source.node.devices",)),
    (DEVICE_MIGRATIONS, migration(outcome="Succeeded"), ("spec", "outcome needs mode Prepare")),
    (
        DEVICE_MIGRATIONS,
        migration(source={"explicit": [{**EXPLICIT, "values": [{"name": "memory", "type": "number", "value": "1"}]}]}),
        ("spec.source.explicit[0].values[0].type", "int"),
    ),
    (DEVICE_MODELS, {"metadata": {"name": "bad"}, "spec": {}}, ("spec.model", "Required")),
    (
        DEVICE_PROFILES,
        {"metadata": {"name": "p-" + "a" * 26}, "spec": {"backend": "mdev", "type": {"id": "t"}}},
        ("spec.driver", "Required"),
    ),
    (
        NODE_RESERVATIONS,
        {"metadata": {"name": "bad"}, "spec": {"fence": -1}},
        ("spec.fence", "greater than or equal to 0"),
    ),
]


@pytest.mark.parametrize(("resource", "body", "words"), REFUSED, ids=[f"{r.kind} {w[0]}" for r, _, w in REFUSED])
async def test_a_malformed_object_is_refused_with_the_name_of_its_field(
    client: Client, resource: Resource, body: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ApiError) as refused:
        await client.send(create(resource, body, body["metadata"].get("namespace")))
    assert refused.value.invalid
    assert [word for word in words if word not in refused.value.message] == []
