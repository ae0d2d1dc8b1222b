"""The patch that binds a gated pod to a node: applied here by an own small JSON patch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_operator.kubevirt.objects import GATE
from mdev_operator.kubevirt.ungate import REQUIRED, CannotBind, ungate, why_not

Object = dict[str, Any]

HERE = {"key": "metadata.name", "operator": "In", "values": ["node-b"]}

expressions = st.fixed_dictionaries(
    {"key": st.sampled_from(["zone", "gpu"]), "operator": st.just("In"), "values": st.just(["x"])}
)
fields = st.fixed_dictionaries(
    {"key": st.just("metadata.name"), "operator": st.just("NotIn"), "values": st.just(["node-z"])}
)
terms = st.one_of(
    st.fixed_dictionaries({"matchExpressions": st.lists(expressions, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"matchFields": st.lists(fields, min_size=1, max_size=2)}),
    st.fixed_dictionaries(
        {
            "matchExpressions": st.lists(expressions, max_size=2),
            "matchFields": st.lists(fields, min_size=1, max_size=2),
        }
    ),
)
preferred = st.just([{"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}])
node_affinity = st.fixed_dictionaries(
    {},
    optional={
        REQUIRED: st.fixed_dictionaries({"nodeSelectorTerms": st.lists(terms, min_size=1, max_size=4)}),
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    },
)
affinity = st.fixed_dictionaries(
    {},
    optional={
        "nodeAffinity": node_affinity,
        "podAntiAffinity": st.just({REQUIRED: [{"topologyKey": "kubernetes.io/hostname"}]}),
    },
)
gates = st.permutations([GATE, "example.com/quota", "example.com/other"]).map(lambda g: [{"name": n} for n in g])
pods = st.fixed_dictionaries(
    {
        "metadata": st.just({"name": "p", "uid": "u", "resourceVersion": "7"}),
        "spec": st.fixed_dictionaries(
            {"schedulingGates": gates, "nodeSelector": st.just({"zone": "x"})}, optional={"affinity": affinity}
        ),
    }
)


def patched(pod: Object, operations: list[Object]) -> Object:
    """RFC 6902, as far as the patch uses it."""
    result = copy.deepcopy(pod)
    for operation in operations:
        *way, last = operation["path"].lstrip("/").split("/")
        there: Any = result
        for step in way:
            there = there[int(step)] if isinstance(there, list) else there[step]
        at: Any = int(last) if isinstance(there, list) and last != "-" else last
        match operation["op"]:
            case "test":
                assert there[at] == operation["value"]
            case "remove":
                del there[at]
            case "add" if last == "-":
                there.append(operation["value"])
            case "add":
                there[at] = operation["value"]
    return result


def required(pod: Object) -> list[Object]:
    node = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    found: list[Object] = (node.get(REQUIRED) or {}).get("nodeSelectorTerms") or []
    return found


def without_the_node(pod: Object) -> Object:
    """The pod as it was, if only the node was added: that requirement taken out again, and what it made empty."""
    result = copy.deepcopy(pod)
    for term in required(result):
        assert term["matchFields"].pop() == HERE
        if not term["matchFields"]:
            del term["matchFields"]
    return result


@given(pod=pods)
def test_every_term_asks_for_the_node_and_nothing_else_has_changed(pod: Object) -> None:
    operations = ungate(pod, "node-b")
    assert not isinstance(operations, CannotBind)
    bound = patched(pod, operations)

    assert required(bound) and all(HERE in term["matchFields"] for term in required(bound))
    names = [gate["name"] for gate in pod["spec"]["schedulingGates"]]
    assert [gate["name"] for gate in bound["spec"]["schedulingGates"]] == [n for n in names if n != GATE]
    before, after = copy.deepcopy(pod), without_the_node(bound)
    del before["spec"]["schedulingGates"], after["spec"]["schedulingGates"]
    if required(pod):
        assert after == before
    else:
        # A term that was made for the node alone is empty without it; the ways to it were absent or empty before.
        node = after["spec"]["affinity"]["nodeAffinity"]
        assert node.pop(REQUIRED) == {"nodeSelectorTerms": [{}]}
        assert node == ((before["spec"].get("affinity") or {}).get("nodeAffinity") or {})
        others = {k: v for k, v in (before["spec"].get("affinity") or {}).items() if k != "nodeAffinity"}
        assert {k: v for k, v in after["spec"].pop("affinity").items() if k != "nodeAffinity"} == others
        before["spec"].pop("affinity", None)
        assert after == before


@given(pod=pods)
def test_the_patch_holds_only_for_the_pod_that_was_seen(pod: Object) -> None:
    operations = ungate(pod, "node-b")
    assert not isinstance(operations, CannotBind)
    for change in ({"uid": "another"}, {"resourceVersion": "8"}):
        other = {**pod, "metadata": {**pod["metadata"], **change}}
        with pytest.raises(AssertionError):
            patched(other, operations)


@pytest.mark.parametrize("place", [0, 1])
def test_a_pod_with_an_empty_term_is_refused_and_told_which(place: int) -> None:
    good = {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}
    listed: list[Object] = [good]
    listed.insert(place, {})
    pod = {
        "metadata": {"name": "p", "uid": "u", "resourceVersion": "7"},
        "spec": {
            "schedulingGates": [{"name": GATE}],
            "affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": listed}}},
        },
    }
    refused = ungate(pod, "node-b")
    assert isinstance(refused, CannotBind) and f"nodeSelectorTerms[{place}]" in refused.message
    assert why_not(pod) == refused
