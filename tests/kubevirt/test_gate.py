"""The gate by MutatingAdmissionPolicy, as shipped, on the real API server; no program of ours runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import create, delete, get, json_patch, merge_patch
from mdev_api.kube.resources import PODS, Resource
from tests.controlplane.control_plane import ControlPlane
from tests.kubevirt.gate_cases import DEPLOY, EVERY_CASE, GATE, OTHER, OURS, Case, container, gates_of, pod
from tests.waiting import eventually

CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap", namespaced=True)
MANIFEST = DEPLOY / "gate-policy.yaml"


@pytest.fixture(scope="module", autouse=True)
def policy(control_plane: ControlPlane) -> Iterator[None]:
    """The shipped policy, in force; gone afterwards, for other tests make such pods too."""
    control_plane.kubectl("apply", "--server-side", f"--filename={MANIFEST}")
    try:
        yield
    finally:
        kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy"
        control_plane.kubectl("delete", "--ignore-not-found", kinds, "mdev-operator-gate")
        control_plane.kubectl("delete", "--namespace=mdev-operator", "configmap", "mdev-operator-gate")


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with Client(load(control_plane.kubeconfig)) as client:
        await _resources(client, OURS)
        yield client


async def _resources(client: Client, text: str) -> None:
    """Write the list of resource names, and wait until the API server goes by it."""
    body = {"metadata": {"name": "mdev-operator-gate"}, "data": {"resources": text}}
    await client.send(merge_patch(CONFIG_MAPS, "mdev-operator-gate", body, "mdev-operator"))
    listed = OURS in text

    async def in_force() -> bool:
        return (await gates_of(client, pod()) == (GATE,)) is listed

    await eventually(in_force, timeout=20, what=f"the policy to go by {text!r}")


@EVERY_CASE
async def test_a_pod_is_gated_if_it_is_a_target_that_asks_for_our_device(client: Client, case: Case) -> None:
    assert await gates_of(client, case.pod) == case.gates


@pytest.mark.parametrize("text", [f"{OTHER}\n{OURS}\n", f"\n  {OTHER} \n\n\t{OURS}", f"{OTHER}\r\n{OURS}\r\n"])
async def test_every_line_of_the_list_is_a_resource_name(client: Client, text: str) -> None:
    await _resources(client, text)

    assert await gates_of(client, pod(container("compute", OTHER))) == (GATE,)


async def test_part_of_a_name_is_no_name(client: Client) -> None:
    assert await gates_of(client, pod(container("compute", f"{OURS}0"))) == ()


@pytest.mark.parametrize("text", ["", "\n\n"])
async def test_an_empty_list_gates_and_refuses_nothing(client: Client, text: str) -> None:
    await _resources(client, text)

    assert await gates_of(client, pod()) == ()


async def test_without_the_list_nothing_is_gated_and_nothing_refused(client: Client) -> None:
    await client.send(delete(CONFIG_MAPS, "mdev-operator-gate", "mdev-operator"))
    try:

        async def let_through() -> bool:
            return await gates_of(client, pod()) == ()

        await eventually(let_through, timeout=20, what="the policy to be without a list")
    finally:
        body = {"metadata": {"name": "mdev-operator-gate"}, "data": {"resources": OURS}}
        await client.send(create(CONFIG_MAPS, body, "mdev-operator"))


async def test_a_gated_pod_waits_and_is_not_gated_again_once_it_was_let_go(client: Client) -> None:
    made = await client.send(create(PODS, pod(), "default"))
    name = made["metadata"]["name"]
    try:

        async def waits() -> bool:
            conditions = (await client.send(get(PODS, name, "default")))["status"].get("conditions") or []
            return any(c["type"] == "PodScheduled" and c["reason"] == "SchedulingGated" for c in conditions)

        await eventually(waits, timeout=10, what="the pod to wait for its gate")
        gone = [{"op": "remove", "path": "/spec/schedulingGates/0"}]
        await client.send(json_patch(PODS, name, gone, "default"))
        after = await client.send(merge_patch(PODS, name, {"metadata": {"labels": {"seen": "yes"}}}, "default"))
        assert "schedulingGates" not in after["spec"]
    finally:
        await client.send(delete(PODS, name, "default"))
