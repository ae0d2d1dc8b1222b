"""DeviceModels by the real operator: mtty cards by their ports, hardware that nobody describes, and what is wrong."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import yaml

from mdev_api.kube.requests import get
from mdev_api.kube.resources import DEVICE_MODELS, DEVICE_PROFILES, NODE_DEVICES
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mdpy import Mdpy
from tests.memkernel.mtty import Mtty
from tests.simulated.cluster import Object, SimulatedCluster, condition, instance, rejections

MTTY = Path(__file__).parents[2] / "deploy" / "models" / "mtty.yaml"


def make_by_hand(kernel: MemoryKernel, parent: str, type_id: str) -> str:
    """Create a device as an administrator does; returns its UUID."""
    device = str(uuid.uuid4())
    kernel.write(f"class/mdev_bus/{parent}/mdev_supported_types/{type_id}/create", device)
    return device


def device_model(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "mdev-operator.io/v1alpha1",
        "kind": "DeviceModel",
        "metadata": {"name": name},
        "spec": {"model": f"example.com/{name}"} | spec,
    }


async def shown(cluster: SimulatedCluster, node: str, device: str) -> None:
    def holds(devices: Object) -> bool:
        return any(i["id"] == device for i in devices.get("status", {}).get("instances", ()))

    await cluster.until(NODE_DEVICES, cluster.full(node), f"with {device}", holds)


async def profile_of(cluster: SimulatedCluster, node: str, type_id: str) -> Object:
    devices = await cluster.client.send(get(NODE_DEVICES, cluster.full(node)))
    offers = [o for p in devices["status"]["parents"] for o in p["offers"] if o["type"] == type_id]
    return await cluster.client.send(get(DEVICE_PROFILES, offers[0]["profile"]))


async def test_an_mtty_card_goes_to_its_own_type_and_is_refused_the_other_with_its_reason(
    cluster: SimulatedCluster,
) -> None:
    await cluster.make(DEVICE_MODELS, yaml.safe_load(MTTY.read_text(encoding="utf-8")))
    here = await cluster.add_node("a", Mtty())
    there = await cluster.add_node("b", Mtty())
    one, two = (make_by_hand(here, "mtty", type_id) for type_id in ("mtty-1", "mtty-2"))
    await shown(cluster, "a", two)

    await cluster.migrate("of-one-port", cluster.of_node("a", one))
    ready = await cluster.ready("of-one-port")
    assert (ready["status"]["devices"][0]["type"], there.devices()) == ("mtty-1", [instance(ready)])

    for _ in range(22):  # of 24 ports one is left
        last = make_by_hand(there, "mtty", "mtty-1")
    await shown(cluster, "b", last)
    await cluster.migrate("of-two-ports", cluster.of_node("a", two))
    refused = await cluster.shows("of-two-ports", "Ready", "False", "NoDestination")
    assert {example["parameter"] for example in rejections(refused)["ValueNotAllowed"]} == {"ports"}
    assert len(there.devices()) == 23


async def test_what_nobody_describes_goes_by_identity_to_its_equal_alone(cluster: SimulatedCluster) -> None:
    name = cluster.full("as-is")
    await cluster.make(DEVICE_MODELS, device_model(name, byIdentity=True, appliesTo={"driver": "mdpy"}))
    here = await cluster.add_node("a", Mdpy())
    there = await cluster.add_node("b", Mdpy())
    device = make_by_hand(here, "mdpy", "mdpy-xga")
    await shown(cluster, "a", device)

    await cluster.migrate("m", cluster.of_node("a", device))
    ready = await cluster.ready("m")

    assert ready["status"]["devices"][0]["type"] == "mdpy-xga"
    assert there.devices() == [instance(ready)]
    profile = await profile_of(cluster, "b", "mdpy-hd")
    assert (profile["status"]["from"], profile["status"]["model"]) == (f"DeviceModel/{name}", f"example.com/{name}")


async def test_what_is_wrong_with_a_model_stands_on_it_with_the_position(cluster: SimulatedCluster) -> None:
    name = cluster.full("bad")
    match = {"name": "q", "expression": "profile.backend == 'mdev' &&\n  profile.typ.id == 'x'"}
    await cluster.make(DEVICE_MODELS, device_model(name, matches=[match]))

    model = await cluster.until(DEVICE_MODELS, name, "judged", lambda obj: condition(obj, "Valid"))

    valid = condition(model, "Valid") or {}
    assert (valid["status"], valid["reason"]) == ("False", "InvalidExpression")
    assert valid["message"].startswith("spec.matches[q].expression: 2:")


async def test_a_version_that_no_device_can_have_stands_on_the_model(cluster: SimulatedCluster) -> None:
    name = cluster.full("versions")
    fixed = {"name": "q", "expression": "false", "parameters": [{"name": "ports", "initValue": {"literal": "1"}}]}
    version = {"name": "v2", "values": [{"name": "ports", "value": "2"}]}
    parameters = [{"name": "ports", "type": "int"}]
    body = device_model(name, parameters=parameters, matches=[fixed], versions=[version])
    await cluster.make(DEVICE_MODELS, body)

    model = await cluster.until(DEVICE_MODELS, name, "judged", lambda obj: condition(obj, "Valid"))

    assert "spec.versions[v2].values: no match allows it" in (condition(model, "Valid") or {})["message"]
