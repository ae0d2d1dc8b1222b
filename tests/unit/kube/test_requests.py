from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.kube import requests
from mdev_api.kube.requests import Request
from mdev_api.kube.resources import DEVICE_MIGRATIONS, LEASES, NODE_DEVICES, NODES, key_of, split_key


def body_of(request: Request) -> Any:
    assert request.body is not None
    return json.loads(request.body)


def test_a_core_object_is_found_below_api_and_others_below_apis() -> None:
    assert requests.get(NODES, "n1").path == "/api/v1/nodes/n1"
    assert requests.get(NODE_DEVICES, "n1").path == "/apis/mdev-operator.io/v1alpha1/nodedevices/n1"


def test_a_namespaced_object_is_found_in_its_namespace() -> None:
    assert requests.get(LEASES, "l", "ns").path == "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l"


@settings(deadline=None)
@given(st.text(min_size=1))
def test_any_name_stays_one_path_segment_or_is_refused(name: str) -> None:
    try:
        path = requests.get(NODES, name).path
    except (ValueError, UnicodeEncodeError):
        return
    *prefix, last = path.split("/")
    assert prefix == ["", "api", "v1", "nodes"]
    assert last.isascii() and "?" not in last and "#" not in last
    assert unquote(last) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb"])
def test_a_name_that_would_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        requests.get(NODES, name)


def test_a_namespace_that_would_lead_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be the namespace"):
        requests.get(LEASES, "l", "..")


def test_a_namespaced_object_without_namespace_is_refused() -> None:
    with pytest.raises(ValueError, match="a namespace is needed"):
        requests.create(LEASES, {"metadata": {"name": "l"}})


def test_a_cluster_scoped_object_with_a_namespace_is_refused() -> None:
    with pytest.raises(ValueError, match="cluster-scoped"):
        requests.get(NODES, "n1", "ns")


def test_a_list_without_namespace_reads_all_namespaces() -> None:
    request = requests.list_page(DEVICE_MIGRATIONS, continue_token="a=b&c", field_selector="metadata.name=x")
    assert request.target == (
        "/apis/mdev-operator.io/v1alpha1/devicemigrations?limit=500&continue=a%3Db%26c&fieldSelector=metadata.name%3Dx"
    )


def test_a_watch_asks_for_bookmarks_and_an_end() -> None:
    query = dict(requests.watch(NODES, resource_version="7", timeout_seconds=300).query)
    assert query == {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "7", "timeoutSeconds": "300"}


def test_an_applied_status_carries_nothing_but_identity_and_status() -> None:
    request = requests.apply_status(NODE_DEVICES, "n1", {"bootID": "b"}, "mdev-node-agent")
    assert (request.method, request.content_type) == ("PATCH", "application/apply-patch+yaml")
    assert request.target.endswith("/nodedevices/n1/status?fieldManager=mdev-node-agent&force=true")
    assert body_of(request) == {
        "apiVersion": "mdev-operator.io/v1alpha1",
        "kind": "NodeDevices",
        "metadata": {"name": "n1"},
        "status": {"bootID": "b"},
    }


def test_a_status_can_be_applied_only_to_the_version_that_it_is_about() -> None:
    request = requests.apply_status(NODE_DEVICES, "n1", {"bootID": "b"}, "mdev-node-agent", resource_version="7")
    assert body_of(request)["metadata"] == {"name": "n1", "resourceVersion": "7"}


def test_what_happens_to_a_body_after_the_request_was_built_does_not_change_it() -> None:
    operations = [{"op": "test", "path": "/metadata/generation", "value": 1}]
    request = requests.json_patch(NODE_DEVICES, "n1", operations, subresource="status")
    operations[0]["value"] = 2
    assert body_of(request)[0]["value"] == 1


def test_a_delete_holds_only_for_the_given_uid_and_version() -> None:
    request = requests.delete(NODES, "n1", uid="u", resource_version="5")
    assert body_of(request)["preconditions"] == {"uid": "u", "resourceVersion": "5"}


def test_a_plain_delete_has_no_body() -> None:
    assert requests.delete(NODES, "n1").body is None


def test_a_number_that_json_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        requests.merge_patch(NODES, "n1", {"x": float("nan")})


@pytest.mark.parametrize(
    ("metadata", "key"),
    [({"name": "n1"}, "n1"), ({"name": "m", "namespace": "ns"}, "ns/m")],
    ids=["cluster", "namespaced"],
)
def test_a_key_names_its_object_and_splits_back(metadata: dict[str, str], key: str) -> None:
    assert key_of({"metadata": metadata}) == key
    assert split_key(key) == (metadata.get("namespace"), metadata["name"])
