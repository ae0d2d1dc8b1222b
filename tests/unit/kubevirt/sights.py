"""One migration of KubeVirt as plain values, for tests of the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from mdev_api.kinds.device_migration import Binding, DeviceMigration
from mdev_operator.kubevirt.decide import Patience, Sight
from mdev_operator.kubevirt.objects import TargetPod, Vmi, Vmim
from tests.unit.operator.world import NOW, condition, stamp

UID = "1111-vmim"
PATIENCE = Patience(deadline=90.0, keep=600.0)


def vmim(phase: str = "Scheduling", **changes: Any) -> Vmim:
    """The migration, by default taken up and not ended."""
    made = Vmim(
        namespace="default",
        name="move",
        uid=UID,
        vmi="vm",
        phase=phase,
        deleting=False,
        created=NOW - timedelta(seconds=11),
        added_node_selector={},
        patience=300.0,
    )
    return replace(made, **changes)


def vmi(node: str | None = "node-a", **changes: Any) -> Vmi:
    """The VM, by default at rest on its source."""
    made = Vmi(namespace="default", name="vm", uid="vm-uid", node=node, moving=None, resource="example.com/vgpu")
    return replace(made, **changes)


def pod(age: float = 10.0, *, gated: bool = True, **changes: Any) -> TargetPod:
    """The target pod, ``age`` seconds old."""
    made = TargetPod(
        namespace="default",
        name="virt-launcher-vm-x",
        uid="pod-uid",
        version="7",
        vmim="move",
        vmim_uid=UID,
        created=NOW - timedelta(seconds=age),
        gated=gated,
        deleting=False,
        ended=False,
        admitted=False,
        unschedulable=None,
        node_selector={},
    )
    return replace(made, **changes)


def migration(
    *conditions: Mapping[str, Any],
    age: float = 10.0,
    node: str | None = None,
    rejected: Sequence[Mapping[str, Any]] = (),
    attempts: Sequence[Mapping[str, Any]] = (),
    deleted: bool = False,
    **spec: Any,
) -> DeviceMigration:
    """The DeviceMigration of the adapter, made ``age`` seconds ago."""
    return DeviceMigration.model_validate(
        {
            "metadata": {
                "name": f"vmim-{UID}",
                "namespace": "default",
                "uid": "m-uid",
                "creationTimestamp": stamp(NOW - timedelta(seconds=age)),
                **({"deletionTimestamp": stamp(NOW)} if deleted else {}),
                "annotations": {"mdev-operator.io/resource": "example.com/vgpu"},
            },
            "spec": {"mode": "Prepare", "source": {"vm": {"name": "vm"}}, "binding": "Late", **spec},
            "status": {
                "conditions": list(conditions),
                "rejected": list(rejected),
                "attempts": list(attempts),
                **({"node": node} if node else {}),
            },
        }
    )


def ready(node: str = "node-b", **options: Any) -> DeviceMigration:
    """One that is prepared on ``node``."""
    return migration(condition("Ready", True, "Prepared"), node=node, **options)


def sight(**changes: Any) -> Sight:
    """A gated pod ten seconds old, and nothing reserved yet."""
    made = Sight(
        vmim=vmim(),
        newer=None,
        vmi=vmi(),
        pod=pod(),
        migration=None,
        binding=Binding.LATE,
        refused=None,
        turn=None,
        now=NOW,
        patience=PATIENCE,
    )
    return replace(made, **changes)
