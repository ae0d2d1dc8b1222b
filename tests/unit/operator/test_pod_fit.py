"""Which nodes a waiting pod may go to. What the real scheduler says of the same is asked in tests/api."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_operator.inventory.cluster import NodeView, Taint
from mdev_operator.kubevirt.pod_fit import constraints_of, misfit, taints_of
from mdev_operator.migration.source import NoSource
from tests.unit.operator.world import cluster, decided, migration, node_devices, reservations, shown

LABELS = {"zone": "z1", "gpu": "yes", "generation": "7", "text": "seven"}


def pod(terms: Any = None, **spec: Any) -> dict[str, Any]:
    """A pod with one GPU; ``terms`` are those of its required node affinity."""
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    limits = {"cpu": "1", "memory": "1Gi", "gfx.com/GPU": "1"}
    return {
        "metadata": {"name": "virt-launcher-vm-2", "namespace": "default"},
        "spec": {
            "containers": [{"name": "compute", "resources": {"limits": limits}}, {"name": "hook"}],
            **({"affinity": affinity} if terms is not None else {}),
            **spec,
        },
    }


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def labels(*expressions: dict[str, Any]) -> dict[str, Any]:
    return {"matchExpressions": list(expressions)}


def fields(*expressions: dict[str, Any]) -> dict[str, Any]:
    return {"matchFields": list(expressions)}


def code(of: dict[str, Any], *taints: Taint) -> str | None:
    """What keeps the pod off a node n with LABELS and these taints."""
    node = NodeView(name="n", labels=LABELS, ready=True, schedulable=True, taints=taints)
    found = misfit(constraints_of(of), node)
    return found.code if found else None


TABLE = [
    (pod(), None),
    (pod(nodeSelector={"zone": "z1", "gpu": "yes"}), None),
    (pod(nodeSelector={"zone": "z2"}), "PodSelector"),
    (pod(nodeSelector={"absent": ""}), "PodSelector"),
    (pod([labels(expression("zone", "In", "z0", "z1"))]), None),
    (pod([labels(expression("zone", "In", "z0"))]), "PodAffinity"),
    (pod([labels(expression("absent", "In", "z0"))]), "PodAffinity"),
    (pod([labels(expression("zone", "NotIn", "z0"))]), None),
    (pod([labels(expression("zone", "NotIn", "z1"))]), "PodAffinity"),
    (pod([labels(expression("absent", "NotIn", "z1"))]), None),
    (pod([labels(expression("gpu", "Exists"))]), None),
    (pod([labels(expression("absent", "Exists"))]), "PodAffinity"),
    (pod([labels(expression("absent", "DoesNotExist"))]), None),
    (pod([labels(expression("gpu", "DoesNotExist"))]), "PodAffinity"),
    (pod([labels(expression("generation", "Gt", "6"))]), None),
    (pod([labels(expression("generation", "Gt", "7"))]), "PodAffinity"),
    (pod([labels(expression("generation", "Lt", "8"))]), None),
    (pod([labels(expression("generation", "Lt", "7"))]), "PodAffinity"),
    (pod([labels(expression("text", "Gt", "1"))]), "PodAffinity"),
    (pod([labels(expression("absent", "Lt", "1"))]), "PodAffinity"),
    (pod([labels(expression("generation", "Gt", "007"))]), "PodAffinity"),
    (pod([fields(expression("metadata.name", "In", "n"))]), None),
    (pod([fields(expression("metadata.name", "In", "m"))]), "PodAffinity"),
    (pod([fields(expression("metadata.name", "NotIn", "n"))]), "PodAffinity"),
    (pod([fields(expression("metadata.name", "NotIn", "m"))]), None),
    (pod([labels(expression("gpu", "Exists"), expression("zone", "In", "z2"))]), "PodAffinity"),
    (pod([labels(expression("gpu", "Exists")) | fields(expression("metadata.name", "In", "m"))]), "PodAffinity"),
    (pod([labels(expression("zone", "In", "z2")), labels(expression("gpu", "Exists"))]), None),
    (pod([{}]), "PodAffinity"),
    (pod([{}, labels(expression("gpu", "Exists"))]), None),
    (pod([labels(expression("gpu", "Exists"))], nodeSelector={"zone": "z2"}), "PodSelector"),
]
"""Pods, and what keeps each off node n. The API server takes all of them, so the scheduler can be asked too."""


@pytest.mark.parametrize(("of", "expected"), TABLE)
def test_selector_and_affinity(of: dict[str, Any], expected: str | None) -> None:
    assert code(of) == expected


TAINT = Taint(key="gpu", value="big", effect="NoSchedule")
TOLERATIONS: list[tuple[list[dict[str, Any]], bool]] = [
    ([], False),
    ([{"operator": "Exists"}], True),
    ([{"key": "gpu", "operator": "Exists"}], True),
    ([{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}], False),
    ([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}], True),
    ([{"key": "gpu", "operator": "Equal", "value": "big"}], True),
    ([{"key": "gpu", "value": "big"}], True),
    ([{"key": "gpu", "operator": "Equal", "value": "small"}], False),
    ([{"key": "gpu"}], False),
    ([{"key": "other", "operator": "Exists"}], False),
    ([{"key": "other", "operator": "Exists"}, {"key": "gpu", "operator": "Exists"}], True),
]


@pytest.mark.parametrize(("tolerations", "may"), TOLERATIONS)
def test_taints_and_tolerations(tolerations: list[dict[str, Any]], may: bool) -> None:
    assert (code(pod(tolerations=tolerations), TAINT) is None) == may


def test_no_execute_keeps_a_pod_away_too() -> None:
    assert code(pod(), Taint(key="down", value="", effect="NoExecute")) == "Taint"


def test_a_taint_that_only_says_prefer_not_keeps_nobody_away() -> None:
    taints = [{"key": "a", "effect": "PreferNoSchedule"}, {"key": "b", "value": "c", "effect": "NoSchedule"}]
    assert taints_of({"spec": {"taints": taints}}) == (Taint(key="b", value="c", effect="NoSchedule"),)


def test_every_taint_has_to_be_tolerated() -> None:
    tolerations = [{"key": "gpu", "operator": "Exists"}]
    other = Taint(key="other", value="", effect="NoSchedule")
    assert code(pod(tolerations=tolerations), TAINT, other) == "Taint"


def test_the_sentence_names_the_pod_the_node_and_what_is_missing() -> None:
    node = NodeView(name="n", labels=LABELS, ready=True, schedulable=True)
    found = misfit(constraints_of(pod([labels(expression("zone", "In", "z2", "z3"))])), node)
    assert found is not None
    assert "virt-launcher-vm-2" in found.message and "n " in found.message and "zone In (z2, z3)" in found.message


def test_the_extended_resources_are_those_of_the_limits() -> None:
    assert constraints_of(pod()).resources == {"gfx.com/GPU"}


BIG = node_devices("b", {"gfx-8GB": 2})


def test_a_node_that_the_waiting_pod_may_not_go_to_is_no_destination() -> None:
    waiting = constraints_of(pod(nodeSelector={"zone": "z9"}))
    decision = decided(migration(), cluster(BIG), pod=waiting)
    assert decision.reserve == () and [r.code for r in decision.status.rejected] == ["PodSelector"]


def test_a_node_that_got_a_taint_after_it_was_reserved_is_given_up() -> None:
    waiting = constraints_of(pod())
    (entry,) = decided(migration(), cluster(BIG), pod=waiting).reserve[0].entries
    answer = {"id": entry.id, "state": "Prepared", "instance": "11111111-2222-4333-8444-555555555555"}
    tainted = NodeView(name="b", labels={}, ready=True, schedulable=True, taints=(TAINT,))
    held = [reservations("b", [entry], [answer])]
    decision = decided(migration(), cluster(BIG, reserved=held, nodes={"b": tainted}), pod=waiting)
    assert "gpu=big:NoSchedule" in decision.status.attempts[0].message
    assert (shown(decided(migration(), cluster(BIG, reserved=held), pod=waiting), "Ready") or ("",))[0] == "True"


def test_nothing_is_planned_for_a_pod_that_is_gone() -> None:
    gone = NoSource(reason="TargetPodNotFound", message="there is none")
    decision = decided(migration(), cluster(BIG), pod=gone)
    assert decision.reserve == () and (shown(decision, "Planned") or ("", ""))[1] == "TargetPodNotFound"
