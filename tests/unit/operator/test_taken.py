"""A pod that is no migration's target takes the device that was prepared: found out by the target pod's name."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.node_reservations import Entry, Intent
from mdev_operator.inventory.cluster import Cluster
from mdev_operator.kubevirt.foreign import TARGET_POD_ANNOTATION
from tests.unit.operator.world import (
    cluster,
    condition,
    decided,
    instance,
    migration,
    node_devices,
    reservations,
    reserved_by,
    shown,
)

TARGET = "virt-launcher-vm-2"
BIG = node_devices("b", {"gfx-8GB": 2})
(ENTRY,) = reserved_by(decided(migration(), cluster(BIG)), "b")
PREPARED = instance_uuid(ENTRY.id)


def ready(*, waits: bool = True, **spec: Any) -> DeviceMigration:
    """A migration whose device is prepared; ``waits``: a pod is known to wait for it."""
    made = migration(conditions=[condition("Ready", True, "Prepared", age=5)], **spec)
    annotations = {TARGET_POD_ANNOTATION: TARGET} if waits else {}
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"annotations": annotations})})


def served_to(*pods: tuple[str, str], entry: Entry = ENTRY) -> Cluster:
    """Node b with the prepared device, which these pods (namespace, name) have."""
    serving = [
        {"instance": PREPARED, "resource": "x/y", "podNamespace": namespace, "podName": name}
        for namespace, name in pods
    ]
    there = node_devices("b", {"gfx-8GB": 1}, [instance("gfx-8GB", PREPARED, managed=True)], serving=serving)
    answer = {"id": entry.id, "state": "Prepared", "instance": PREPARED, "created": True}
    return cluster(there, reserved=[reservations("b", [entry], [answer])])


def test_a_device_that_a_foreign_pod_of_the_same_namespace_has_is_lost_and_planned_again() -> None:
    decision = decided(ready(), served_to(("default", "intruder")))
    status, reason, message = shown(decision, "Ready") or ("", "", "")
    assert (status, reason) == ("False", "Lost") and "default/intruder" in message
    assert [tell.intents for tell in decision.tell] == [{ENTRY.id: Intent.UNDO_IF_UNUSED}]
    assert [(a.number, a.state) for a in decision.status.attempts] == [(1, "Lost")]


def test_after_the_gate_was_lifted_it_is_told_and_nothing_is_undone() -> None:
    decision = decided(ready(started=True), served_to(("default", "intruder")))
    assert (shown(decision, "Overdue") or ())[:2] == ("True", "DestinationLost") and decision.tell == ()


@pytest.mark.parametrize(
    "pods", [(), (("default", TARGET),), (("default", TARGET), ("default", "intruder"))], ids=["none", "target", "both"]
)
def test_it_stays_ready_while_nobody_or_the_target_has_it(pods: tuple[tuple[str, str], ...]) -> None:
    assert (shown(decided(ready(), served_to(*pods)), "Ready") or ())[0] == "True"


def test_a_migration_that_names_no_pod_leaves_it_to_its_owner_who_gets_the_device() -> None:
    assert (shown(decided(ready(waits=False), served_to(("default", "any"))), "Ready") or ())[0] == "True"


def test_who_has_the_device_is_followed_while_it_waits_for_its_pod() -> None:
    assert decided(ready(), served_to()).follow and decided(ready(started=True), served_to()).follow
    assert not decided(ready(waits=False), served_to()).follow
