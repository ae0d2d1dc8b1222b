from __future__ import annotations

import pytest

from tests.faults.request import Match, Seen, seen


def asked(method: str, path: str, *, watch: bool = False, token: str | None = None) -> Seen:
    headers = {"User-Agent": "mdev-operator", **({"Authorization": f"Bearer {token}"} if token else {})}
    return seen(method, path, {"watch": "true"} if watch else {}, headers, at=0.0, program="operator")


OURS = "/apis/mdev-operator.io/v1alpha1"


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource", "namespace", "name"),
    [
        ("GET", "/api/v1/nodes", "list", "nodes", None, None),
        ("GET", "/api/v1/nodes/a", "get", "nodes", None, "a"),
        ("GET", "/api/v1/namespaces/x", "get", "namespaces", None, "x"),
        ("POST", "/api/v1/namespaces/x/pods", "create", "pods", "x", None),
        ("PATCH", f"{OURS}/nodereservations/a/status", "patch", "nodereservations/status", None, "a"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/x/leases/l", "update", "leases", "x", "l"),
        ("DELETE", f"{OURS}/nodedevices/a", "delete", "nodedevices", None, "a"),
        ("DELETE", f"{OURS}/nodedevices", "deletecollection", "nodedevices", None, None),
        ("GET", "/readyz", "get", "/readyz", None, None),
        ("GET", "/apis/mdev-operator.io/v1alpha1", "get", "/apis/mdev-operator.io/v1alpha1", None, None),
    ],
)
def test_a_request_is_what_kubernetes_takes_it_for(
    method: str, path: str, verb: str, resource: str, namespace: str | None, name: str | None
) -> None:
    found = asked(method, path)
    assert (found.verb, found.resource, found.namespace, found.name) == (verb, resource, namespace, name)


def test_a_get_with_watch_is_a_watch() -> None:
    assert asked("GET", "/api/v1/nodes", watch=True).verb == "watch"


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (Match(), True),
        (Match(verbs=("patch", "create")), True),
        (Match(verbs=("create",)), False),
        (Match(resource="nodereservations"), False),
        (Match(resource="nodereservations*"), True),
        (Match(name="a"), True),
        (Match(name="b"), False),
        (Match(user_agent="mdev-*"), True),
        (Match(user_agent="kopf*"), False),
        (Match(token="t"), True),
        (Match(token="u"), False),
    ],
)
def test_a_match_means_what_it_names_and_any_of_the_rest(match: Match, holds: bool) -> None:
    assert match.holds(asked("PATCH", f"{OURS}/nodereservations/a/status", token="t")) is holds
