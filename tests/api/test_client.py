from __future__ import annotations

from collections.abc import Iterator

import pytest

from mdev_api.kube import requests
from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from mdev_api.kube.listing import list_all
from mdev_api.kube.resources import LEASES, NODES
from tests.controlplane.control_plane import ControlPlane

SPACE = "test-client"


@pytest.fixture(scope="module", autouse=True)
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    control_plane.kubectl("create", "namespace", SPACE)
    yield control_plane
    control_plane.kubectl("delete", "namespace", SPACE, "--wait=false")


async def make_lease(client: Client, name: str, **spec: object) -> dict:
    body = {"metadata": {"name": name, "labels": {"made-by": "test"}}, "spec": spec}
    return await client.send(requests.create(LEASES, body, SPACE))


async def test_an_object_lives_through_all_requests(client: Client) -> None:
    made = await make_lease(client, "life", leaseTransitions=1)
    got = await client.send(requests.get(LEASES, "life", SPACE))
    assert got["metadata"]["uid"] == made["metadata"]["uid"]
    got["spec"]["leaseTransitions"] = 2
    replaced = await client.send(requests.replace(LEASES, "life", got, SPACE))
    assert replaced["spec"]["leaseTransitions"] == 2
    merged = await client.send(requests.merge_patch(LEASES, "life", {"spec": {"leaseTransitions": 3}}, SPACE))
    assert merged["spec"]["leaseTransitions"] == 3
    operations = [{"op": "replace", "path": "/spec/leaseTransitions", "value": 4}]
    patched = await client.send(requests.json_patch(LEASES, "life", operations, SPACE))
    assert patched["spec"]["leaseTransitions"] == 4
    await client.send(requests.delete(LEASES, "life", SPACE))
    with pytest.raises(ApiError) as caught:
        await client.send(requests.get(LEASES, "life", SPACE))
    assert caught.value.not_found


async def test_a_second_create_says_already_exists(client: Client) -> None:
    await make_lease(client, "twice")
    with pytest.raises(ApiError) as caught:
        await make_lease(client, "twice")
    assert caught.value.already_exists and not caught.value.conflict


async def test_a_replace_of_an_old_version_is_a_conflict(client: Client) -> None:
    old = await make_lease(client, "stale")
    await client.send(requests.merge_patch(LEASES, "stale", {"spec": {"leaseTransitions": 3}}, SPACE))
    with pytest.raises(ApiError) as caught:
        await client.send(requests.replace(LEASES, "stale", old, SPACE))
    assert caught.value.conflict and not caught.value.already_exists


async def test_a_json_patch_whose_test_does_not_hold_is_invalid(client: Client) -> None:
    await make_lease(client, "tested", leaseTransitions=1)
    operations = [
        {"op": "test", "path": "/spec/leaseTransitions", "value": 7},
        {"op": "replace", "path": "/spec/leaseTransitions", "value": 8},
    ]
    with pytest.raises(ApiError) as caught:
        await client.send(requests.json_patch(LEASES, "tested", operations, SPACE))
    assert caught.value.invalid


async def test_an_apply_creates_and_later_removes_what_it_leaves_out(client: Client) -> None:
    def apply(spec: dict[str, object]) -> requests.Request:
        return requests.apply(LEASES, "applied", {"spec": spec}, "test-manager", SPACE)

    await client.send(apply({"holderIdentity": "me", "leaseTransitions": 1}))
    again = await client.send(apply({"holderIdentity": "me"}))
    assert again["spec"] == {"holderIdentity": "me"}
    assert [entry["manager"] for entry in again["metadata"]["managedFields"]] == ["test-manager"]


async def test_an_applied_status_leaves_the_rest_alone(client: Client) -> None:
    await client.send(requests.create(NODES, {"metadata": {"name": "test-client", "labels": {"a": "b"}}}))
    status = {"capacity": {"test.example/devices": "3"}}
    node = await client.send(requests.apply_status(NODES, "test-client", status, "test-manager"))
    assert node["status"]["capacity"] == {"test.example/devices": "3"}
    assert node["metadata"]["labels"]["a"] == "b"
    await client.send(requests.delete(NODES, "test-client"))


async def test_a_status_for_an_old_version_is_a_conflict(client: Client) -> None:
    old = await client.send(requests.apply(NODES, "test-late", {}, "test-manager"))
    version = old["metadata"]["resourceVersion"]
    await client.send(requests.merge_patch(NODES, "test-late", {"metadata": {"labels": {"changed": "meanwhile"}}}))
    status = {"nodeInfo": {"kernelVersion": "7.0"}}
    with pytest.raises(ApiError) as caught:
        await client.send(requests.apply_status(NODES, "test-late", status, "test-manager", resource_version=version))
    assert caught.value.conflict


async def test_a_delete_of_another_life_is_a_conflict(client: Client) -> None:
    made = await make_lease(client, "lives")
    with pytest.raises(ApiError) as caught:
        await client.send(requests.delete(LEASES, "lives", SPACE, uid="00000000-0000-0000-0000-000000000000"))
    assert caught.value.conflict
    await client.send(requests.delete(LEASES, "lives", SPACE, uid=made["metadata"]["uid"]))


async def test_the_pages_of_a_list_make_the_whole(client: Client) -> None:
    for number in range(5):
        await make_lease(client, f"page-{number}", leaseTransitions=number)
    paged = await list_all(client, LEASES, namespace=SPACE, label_selector="made-by=test", page_size=2)
    whole = await list_all(client, LEASES, namespace=SPACE, label_selector="made-by=test")
    assert paged.objects == whole.objects
    assert {f"page-{number}" for number in range(5)} <= {obj["metadata"]["name"] for obj in paged.objects}
    assert {obj["kind"] for obj in paged.objects} == {"Lease"}


async def test_who_may_not_is_told_what_and_where(plane: ControlPlane) -> None:
    async with Client(load(plane.kubeconfig_for("nobody"))) as nobody:
        with pytest.raises(ApiError, match=r'GET .*/leases/x.*User "nobody" cannot get resource "leases"') as caught:
            await nobody.send(requests.get(LEASES, "x", SPACE))
    assert caught.value.forbidden


async def test_a_token_nobody_knows_is_unauthorized(plane: ControlPlane) -> None:
    async with Client(load(plane.kubeconfig_for("nobody", token="nonsense"))) as nobody:
        with pytest.raises(ApiError) as caught:
            await nobody.send(requests.get(NODES, "x"))
    assert caught.value.unauthorized


async def test_a_service_account_token_is_as_good_as_a_certificate(plane: ControlPlane) -> None:
    token = plane.kubectl("create", "token", "default", "--namespace", SPACE).stdout.strip()
    async with Client(load(plane.kubeconfig_for("default", token=token))) as account:
        with pytest.raises(ApiError, match=f"system:serviceaccount:{SPACE}:default") as caught:
            await account.send(requests.get(NODES, "x"))
    assert caught.value.forbidden
