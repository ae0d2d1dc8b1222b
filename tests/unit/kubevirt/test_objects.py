"""What is believed of KubeVirt's objects."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_operator.kubevirt.objects import slim_pod, target_pod, vmi_of, vmim_of

CREATED = "2026-11-25T12:00:00Z"


def a_vmim(**annotations: str) -> dict[str, Any]:
    meta = {"namespace": "n", "name": "m", "uid": "u", "creationTimestamp": CREATED, "annotations": annotations}
    return {"metadata": meta, "spec": {"vmiName": "vm"}, "status": {"phase": "Scheduling"}}


@pytest.mark.parametrize(
    ("unschedulable", "pending", "patience"),
    [(None, None, 300.0), ("60", None, 60.0), (None, "45", 45.0), ("1000", None, 900.0), ("soon", None, 300.0)],
)
def test_kubevirts_patience_is_the_shorter_of_its_two_timeouts(
    unschedulable: str | None, pending: str | None, patience: float
) -> None:
    names = ("kubevirt.io/migrationUnschedulablePodTimeoutSeconds", "kubevirt.io/migrationPendingPodTimeoutSeconds")
    set_ones = {name: text for name, text in zip(names, (unschedulable, pending), strict=True) if text is not None}
    assert vmim_of(a_vmim(**set_ones)).patience == patience


@pytest.mark.parametrize(
    ("state", "moving"),
    [
        ({}, None),
        ({"migrationUid": "u"}, None),
        ({"migrationUid": "u", "startTimestamp": CREATED}, "u"),
        ({"migrationUid": "u", "startTimestamp": CREATED, "completed": True}, None),
        ({"migrationUid": "u", "startTimestamp": CREATED, "failed": True, "endTimestamp": CREATED}, None),
    ],
)
def test_a_vm_moves_from_the_start_of_its_migration_to_its_end(state: dict[str, Any], moving: str | None) -> None:
    meta = {"namespace": "n", "name": "vm", "uid": "v"}
    assert vmi_of({"metadata": meta, "status": {"nodeName": "a", "migrationState": state}}).moving == moving


def a_pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "n",
            "name": "p",
            "uid": "u",
            "resourceVersion": "1",
            "creationTimestamp": CREATED,
            # Labels as they are measured: the nodes are those of before.
            "labels": {
                "kubevirt.io": "virt-launcher",
                "kubevirt.io/migrationJobUID": "u",
                "kubevirt.io/nodeName": "source",
                "kubevirt.io/migrationTargetNodeName": "of the migration before",
            },
            "annotations": {"kubevirt.io/migrationJobName": "m"},
            "managedFields": ["long"],
        },
        "spec": {"schedulingGates": [{"name": "example.com/x"}, {"name": "mdev-operator.io/device"}]},
        "status": status,
    }


@pytest.mark.parametrize(
    ("status", "admitted"),
    [
        ({}, False),
        ({"phase": "Pending"}, False),
        ({"phase": "Pending", "containerStatuses": [{"name": "compute"}]}, True),
        ({"phase": "Running"}, True),
        ({"phase": "Failed", "reason": "UnexpectedAdmissionError"}, True),
    ],
)
def test_a_pod_is_admitted_once_its_kubelet_speaks_of_it(status: dict[str, Any], admitted: bool) -> None:
    pod = a_pod(**status)
    assert target_pod(pod).admitted is admitted
    assert target_pod(slim_pod(pod)) == target_pod(pod)


@pytest.mark.parametrize(
    ("reason", "message"), [("Unschedulable", "0/3 nodes are available"), ("SchedulingGated", None)]
)
def test_only_a_pod_that_was_let_go_can_find_no_room(reason: str, message: str | None) -> None:
    said = {"type": "PodScheduled", "status": "False", "reason": reason, "message": "0/3 nodes are available"}
    assert target_pod(a_pod(conditions=[said])).unschedulable == message


def test_what_is_kept_of_pods_is_small() -> None:
    assert "managedFields" not in slim_pod(a_pod())["metadata"]
