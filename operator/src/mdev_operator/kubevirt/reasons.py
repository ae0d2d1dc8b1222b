"""What people are told when a VM cannot move: a sentence for each reason, as Events on the VM and on its migration.

An Event's name is made from the migration and the sentence's place, so that a round that is repeated after a crash
tells nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from mdev_api.kinds.device_migration import DeviceMigration, RejectionSummary
from mdev_api.kube import times
from mdev_api.kube.resources import Resource
from mdev_operator.kubevirt.objects import VMIMS, VMIS, Vmi, Vmim
from mdev_operator.migration.status import condition_of, shorten

REASON = "NoDeviceAtDestination"


def sentences(migration: DeviceMigration) -> tuple[str, ...]:
    """Why it did not become, or does not stay, Ready: what was said last, then each reason and each failed try."""
    conditions = migration.status.conditions
    says = [condition_of(conditions, kind) for kind in ("Finished", "Overdue", "Ready", "Planned")]
    first = next((c.message for c in says if c is not None and c.message), "nothing was tried yet")
    # Said to whoever moves the VM; people who read Events of the VM are not asked to do it.
    first = first.removesuffix("; tell the outcome")
    rejected = [_rejection(summary) for summary in migration.status.rejected]
    tried = [f"attempt {a.number} on node {a.node}: {a.message}" for a in migration.status.attempts]
    return (f"the VM cannot move now: {first}", *rejected, *tried)


def _rejection(summary: RejectionSummary) -> str:
    examples = []
    for example in summary.examples:
        about = f", parameter {example.parameter}" if example.parameter else ""
        examples.append(f"node {example.node}{about}: {example.message}")
    count = "1 node" if summary.nodes == 1 else f"{summary.nodes} nodes"
    return f"{summary.code} on {count}: {'; '.join(examples)}"


def events(vmim: Vmim, vmi: Vmi | None, notes: Iterable[str], now: datetime) -> list[dict[str, Any]]:
    """Events (events.k8s.io/v1) for these notes, on the migration and on the VM if it is there."""
    about: list[tuple[Resource, Vmim | Vmi]] = [(VMIMS, vmim)]
    if vmi is not None:
        about.append((VMIS, vmi))
    return [
        _event(vmim.uid, number, resource, thing, note, now)
        for number, note in enumerate(notes)
        for resource, thing in about
    ]


def _event(uid: str, number: int, resource: Resource, thing: Vmim | Vmi, note: str, now: datetime) -> dict[str, Any]:
    short = "vmim" if resource == VMIMS else "vmi"
    return {
        "metadata": {"name": f"vmim-{uid}.{short}.{number}", "namespace": thing.namespace},
        "eventTime": times.micro_time(now),
        "type": "Warning",
        "reason": REASON,
        "action": "Migrate",
        "note": _within_bytes(shorten(note)),
        "regarding": {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "namespace": thing.namespace,
            "name": thing.name,
            "uid": thing.uid,
        },
        "reportingController": "mdev-operator.io/kubevirt",
        "reportingInstance": "mdev-operator",
    }


def _within_bytes(note: str) -> str:
    """The API server bounds a note in bytes."""
    return note.encode()[:1024].decode(errors="ignore")
