"""Which pods wait for a device, and which do not: one table, for the policy and for the webhook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.requests import create
from mdev_api.kube.resources import PODS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OURS = "nvidia.com/GRID_T4-2Q"
"""The resource that the shipped manifests name."""
OTHER = "nvidia.com/GRID_T4-1Q"
GATE = "mdev-operator.io/device"
TARGET = {"kubevirt.io": "virt-launcher", "kubevirt.io/migrationJobUID": "11111111-2222-4333-8444-555555555555"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A pod, and the gates that it should have once it is created."""

    pod: Mapping[str, Any]
    gates: tuple[str, ...]


def container(name: str = "compute", *resources: str) -> dict[str, Any]:
    """A container that has one of each of these resources."""
    limits = {"cpu": "1", "devices.kubevirt.io/kvm": "1", **dict.fromkeys(resources, "1")}
    return {"name": name, "image": "none", "resources": {"limits": limits}}


def pod(
    *containers: Mapping[str, Any],
    labels: Mapping[str, str] = TARGET,
    gates: Sequence[str] = (),
    **spec: Any,
) -> dict[str, Any]:
    """A pod as virt-controller makes them, in what matters here."""
    return {
        "metadata": {"generateName": "virt-launcher-vm-", "namespace": "default", "labels": dict(labels)},
        "spec": {
            "containers": list(containers) or [container("compute", OURS)],
            **({"schedulingGates": [{"name": name} for name in gates]} if gates else {}),
            **spec,
        },
    }


async def gates_of(client: Client, wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """The gates that the pod would have; nothing is created."""
    request = replace(create(PODS, wanted, "default"), query=(("dryRun", "All"),))
    made = await client.send(request)
    return tuple(gate["name"] for gate in made["spec"].get("schedulingGates") or ())


def _without(*keys: str) -> dict[str, str]:
    return {key: value for key, value in TARGET.items() if key not in keys}


CASES = {
    "the target of a migration with our device": Case(pod=pod(), gates=(GATE,)),
    "the same with labels of its VM": Case(
        pod=pod(labels={**TARGET, "app": "db", "kubevirt.io/nodeName": "a"}), gates=(GATE,)
    ),
    "one with a side-car beside": Case(
        pod=pod(container("guest-console-log"), container("compute", OURS)), gates=(GATE,)
    ),
    "one whose side-car comes after": Case(
        pod=pod(container("compute", OURS), container("guest-console-log")), gates=(GATE,)
    ),
    "one with init containers": Case(pod=pod(initContainers=[container("container-disk")]), gates=(GATE,)),
    "one with another device too": Case(pod=pod(container("compute", OTHER, OURS)), gates=(GATE,)),
    "one with a quota's gate": Case(pod=pod(gates=["example.com/quota"]), gates=("example.com/quota", GATE)),
    "one with several gates": Case(
        pod=pod(gates=["example.com/quota", "example.com/rack"]),
        gates=("example.com/quota", "example.com/rack", GATE),
    ),
    "one that has our gate already": Case(pod=pod(gates=[GATE]), gates=(GATE,)),
    "one that has our gate among others": Case(
        pod=pod(gates=[GATE, "example.com/quota"]), gates=(GATE, "example.com/quota")
    ),
    "one with affinity and a node selector": Case(
        pod=pod(
            nodeSelector={"kubernetes.io/arch": "amd64"},
            affinity={
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]
                    }
                }
            },
        ),
        gates=(GATE,),
    ),
    "the target of a migration without a device": Case(pod=pod(container("compute")), gates=()),
    "a target with a device that is not ours": Case(pod=pod(container("compute", OTHER)), gates=()),
    "a target without any limit": Case(pod=pod({"name": "compute", "image": "none"}), gates=()),
    "a target with our device in an init container only": Case(
        pod=pod(container("compute"), initContainers=[container("probe", OURS)]), gates=()
    ),
    "a target that names its node already": Case(pod=pod(nodeName="a"), gates=()),
    "a VM that starts with our device": Case(pod=pod(labels=_without("kubevirt.io/migrationJobUID")), gates=()),
    "the hot-plug pod of a migration": Case(pod=pod(labels={**TARGET, "kubevirt.io": "hotplug-disk"}), gates=()),
    "a hot-plug pod that has gates": Case(
        pod=pod(labels={**TARGET, "kubevirt.io": "hotplug-disk"}, gates=["example.com/quota"]),
        gates=("example.com/quota",),
    ),
    "a pod of nobody with our device": Case(pod=pod(labels={"app": "cuda"}), gates=()),
    "a pod of nobody with a migration's UID": Case(pod=pod(labels=_without("kubevirt.io")), gates=()),
}

EVERY_CASE = pytest.mark.parametrize("case", list(CASES.values()), ids=list(CASES))
EVERY_UNTOUCHED = pytest.mark.parametrize(
    "case", [c for c in CASES.values() if GATE not in c.gates], ids=[n for n, c in CASES.items() if GATE not in c.gates]
)
