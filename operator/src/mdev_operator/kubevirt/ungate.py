"""How a gated pod is bound to one node: a JSON patch that adds the node to its constraints and lifts our gate.

Both happen in one patch, so there is no moment in which the pod could be scheduled elsewhere. Nothing that the pod
asked for is changed: the terms of a required nodeAffinity are alternatives, so the node is added to each of them. The
API server lets a gated pod's terms only grow, and an empty one (which matches no node) not even that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mdev_operator.kubevirt.objects import GATE

Object = Mapping[str, Any]
Operation = dict[str, Any]

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, kw_only=True, slots=True)
class CannotBind:
    """Why the pod can never be bound to a node that we choose."""

    message: str


def why_not(pod: Object) -> CannotBind | None:
    """Whether something in the pod itself stands against binding it to a node."""
    for index, term in enumerate(_terms(pod)):
        if not term.get("matchExpressions") and not term.get("matchFields"):
            message = (
                f"nodeSelectorTerms[{index}] of the pod's required nodeAffinity is empty: it matches no node, and the "
                "API server does not let it be narrowed to the prepared one; remove the empty term from the VM's "
                "affinity"
            )
            return CannotBind(message=message)
    return None


def ungate(pod: Object, node: str) -> list[Operation] | CannotBind:
    """The patch that ANDs ``node`` into every term and removes the gate; it holds only for this version of the pod.

    The pod must have the gate. A ``test`` that fails (422) means that somebody wrote first: read the pod again.
    """
    refused = why_not(pod)
    if refused is not None:
        return refused
    meta = pod["metadata"]
    gates = [gate["name"] for gate in pod["spec"].get("schedulingGates") or ()]
    gate = f"/spec/schedulingGates/{gates.index(GATE)}"
    return [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
        {"op": "test", "path": f"{gate}/name", "value": GATE},
        *_bind(pod, node),
        {"op": "remove", "path": gate},
    ]


def _terms(pod: Object) -> list[Object]:
    affinity = pod["spec"].get("affinity") or {}
    required = (affinity.get("nodeAffinity") or {}).get(REQUIRED) or {}
    terms: list[Object] = required.get("nodeSelectorTerms") or []
    return terms


def _bind(pod: Object, node: str) -> list[Operation]:
    here = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = _terms(pod)
    if terms:
        path = f"/spec/affinity/nodeAffinity/{REQUIRED}/nodeSelectorTerms"
        return [_grow(f"{path}/{index}/matchFields", term, here) for index, term in enumerate(terms)]
    value: Operation = {"nodeSelectorTerms": [{"matchFields": [here]}]}
    path = "/spec"
    there: Object = pod["spec"]
    for member in ("affinity", "nodeAffinity"):
        path = f"{path}/{member}"
        if not there.get(member):
            rest = ("nodeAffinity", REQUIRED) if member == "affinity" else (REQUIRED,)
            for inner in reversed(rest):
                value = {inner: value}
            return [{"op": "add", "path": path, "value": value}]
        there = there[member]
    return [{"op": "add", "path": f"{path}/{REQUIRED}", "value": value}]


def _grow(path: str, term: Object, here: Operation) -> Operation:
    if term.get("matchFields"):
        return {"op": "add", "path": f"{path}/-", "value": here}
    return {"op": "add", "path": path, "value": [here]}
