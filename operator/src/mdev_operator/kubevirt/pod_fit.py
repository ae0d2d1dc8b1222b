"""Which nodes may a waiting pod go to, by its own word? The scheduler's filters, as far as labels and taints show.

A gated pod is pinned to one node, so the node must be one that kube-scheduler would let it on. What is evaluated, as
the scheduler evaluates it: ``spec.nodeSelector``, required node affinity (terms ORed, an empty term matches nothing,
requirements of a term ANDed; fields ``metadata.name``) and taints of effect NoSchedule and NoExecute.
What is left to the scheduler, because it depends on other pods: pod (anti-)affinity, topology spread, cpu, memory,
ports and volumes. KubeVirt's own anti-affinity only keeps a target off the source's node, and that is no candidate
anyway. A pod that does not get on for such a reason is Unschedulable, and KubeVirt fails the migration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mdev_operator.inventory.cluster import NodeView, Taint

_KEEPS_AWAY = frozenset({"NoSchedule", "NoExecute"})
_INTEGER = re.compile(r"[+-]?[0-9]+")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """One requirement on a label, or with ``field`` on a field of the node."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    field: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Toleration:
    """As in a pod: an empty key, value or effect stands for every one."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodConstraints:
    """What a pod asks of its node. ``terms`` None: no required node affinity. ``resources``: its extended resources."""

    namespace: str
    name: str
    node_selector: Mapping[str, str]
    terms: tuple[tuple[Requirement, ...], ...] | None
    tolerations: tuple[Toleration, ...]
    resources: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Misfit:
    """Why the pod may not go to a node: a code for programs and a sentence."""

    code: str
    message: str


def misfit(pod: PodConstraints, node: NodeView) -> Misfit | None:
    """The first thing that keeps the pod off the node, in the order selector, affinity, taints; None: it may go."""
    unlike = sorted(f"{k}={v}" for k, v in pod.node_selector.items() if node.labels.get(k) != v)
    if unlike:
        message = f"{node.name} lacks labels that pod {pod.name} selects by: {', '.join(unlike)}"
        return Misfit(code="PodSelector", message=message)
    if pod.terms is not None and not any(_meets(term, node) for term in pod.terms):
        wanted = " or ".join(_shown(term) for term in pod.terms) or "nothing (no term)"
        message = f"{node.name} does not match the required node affinity of pod {pod.name}: {wanted}"
        return Misfit(code="PodAffinity", message=message)
    for taint in node.taints:
        if taint.effect in _KEEPS_AWAY and not any(_tolerates(t, taint) for t in pod.tolerations):
            value = f"={taint.value}" if taint.value else ""
            message = (
                f"{node.name} has the taint {taint.key}{value}:{taint.effect}, which pod {pod.name} does not tolerate"
            )
            return Misfit(code="Taint", message=message)
    return None


def constraints_of(pod: Mapping[str, Any]) -> PodConstraints:
    """What a pod, as the API server stores it, asks of its node."""
    meta, spec = pod["metadata"], pod.get("spec") or {}
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    terms = None if affinity is None else tuple(_term(t) for t in affinity.get("nodeSelectorTerms") or [])
    limits = [(c.get("resources") or {}).get("limits") or {} for c in spec.get("containers") or []]
    return PodConstraints(
        namespace=meta["namespace"],
        name=meta["name"],
        node_selector=dict(spec.get("nodeSelector") or {}),
        terms=terms,
        tolerations=tuple(_toleration(t) for t in spec.get("tolerations") or []),
        resources=frozenset(name for limit in limits for name in limit if "/" in name),
    )


def taints_of(node: Mapping[str, Any]) -> tuple[Taint, ...]:
    """The taints of a Node that keep pods away."""
    taints = (node.get("spec") or {}).get("taints") or []
    return tuple(
        Taint(key=t["key"], value=t.get("value") or "", effect=t["effect"])
        for t in taints
        if t["effect"] in _KEEPS_AWAY
    )


def _term(term: Mapping[str, Any]) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(key=r["key"], operator=r["operator"], values=tuple(r.get("values") or ()), field=field)
        for field, member in ((False, "matchExpressions"), (True, "matchFields"))
        for r in term.get(member) or []
    )


def _toleration(toleration: Mapping[str, Any]) -> Toleration:
    return Toleration(
        key=toleration.get("key") or "",
        operator=toleration.get("operator") or "Equal",
        value=toleration.get("value") or "",
        effect=toleration.get("effect") or "",
    )


def _meets(term: Iterable[Requirement], node: NodeView) -> bool:
    requirements = tuple(term)
    return bool(requirements) and all(_holds(r, node) for r in requirements)


def _holds(r: Requirement, node: NodeView) -> bool:
    has = {"metadata.name": node.name} if r.field else node.labels
    value = has.get(r.key)
    match r.operator:
        case "In":
            return value is not None and value in r.values
        case "NotIn":
            return value is None or value not in r.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return value is not None and _beyond(r, value)
        case _:
            return False


def _beyond(r: Requirement, value: str) -> bool:
    """Label Gt or Lt the requirement's only value, both int64; anything else matches nothing."""
    if len(r.values) != 1:
        return False
    label, bound = _int64(value), _int64(r.values[0])
    if label is None or bound is None:
        return False
    return label > bound if r.operator == "Gt" else label < bound


def _tolerates(t: Toleration, taint: Taint) -> bool:
    if (t.effect and t.effect != taint.effect) or (t.key and t.key != taint.key):
        return False
    match t.operator:
        case "Exists":
            return True
        case "Equal":
            return t.value == taint.value
        case _:
            return False  # Gt and Lt, an alpha feature: the pod is kept from a node that it might get on.


def _int64(text: str) -> int | None:
    number = int(text) if _INTEGER.fullmatch(text) else None
    return number if number is not None and number in _INT64 else None


def _shown(term: tuple[Requirement, ...]) -> str:
    if not term:
        return "nothing (an empty term)"
    return " and ".join(f"{r.key} {r.operator}" + (f" ({', '.join(r.values)})" if r.values else "") for r in term)
