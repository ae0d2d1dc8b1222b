"""The early word on a VM's migration: refused only for what waiting does not cure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mdev_api.engine.compatibility_class import class_of
from mdev_api.kinds.compatibility_class import label_of
from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.meaning import source_of
from mdev_operator.inventory.cluster import Cluster, NodeView
from mdev_operator.webhook.review import ALLOWED, Verdict
from mdev_operator.webhook.vmim import decide
from tests.unit.operator.world import DEVICE, PROFILES, cluster, instance, node_devices, profile_name

RESOURCE = "example.com/gfx"
POD = {
    "metadata": {
        "name": "virt-launcher-vm-x",
        "namespace": "default",
        "uid": "pod-uid",
        "labels": {"kubevirt.io": "virt-launcher"},
    },
    "spec": {"nodeName": "a"},
    "status": {"phase": "Running"},
}


def vm(**more: Any) -> dict[str, Any]:
    """A running VM on node a with one vGPU."""
    return {
        "metadata": {"name": "vm", "namespace": "default", "uid": "vm-uid"},
        "spec": {"domain": {"devices": {"gpus": [{"name": "gpu", "deviceName": RESOURCE}]}}, **more},
        "status": {"phase": "Running", "nodeName": "a", "activePods": {"pod-uid": "a"}},
    }


def source_node(type_id: str = "gfx-8GB") -> NodeDevices:
    """Node a, where the VM's device is."""
    devices = node_devices("a", {type_id: 0}, [instance(type_id, inUse="Yes", inUseSource="PodResources")])
    assert devices.status is not None
    served = [{"instance": DEVICE, "resource": RESOURCE, "podNamespace": "default", "podName": "virt-launcher-vm-x"}]
    whole = devices.model_dump(by_alias=True, exclude_none=True, mode="json")
    whole["status"]["serving"] = served
    return NodeDevices.model_validate(whole)


def node(name: str, *, ready: bool = True, schedulable: bool = True, **labels: str) -> NodeView:
    return NodeView(name=name, labels=labels, ready=ready, schedulable=schedulable)


def word(where: Cluster, vmi: Mapping[str, Any] | None = None, **spec: Any) -> Verdict:
    """The word on a migration of the VM."""
    return decide({"spec": {"vmiName": "vm", **spec}}, vmi or vm(), [POD], where)


def class_label() -> str:
    """Key of the label of the VM's class."""
    status = source_node().status
    assert status is not None
    name = class_of(source_of(status.instances[0], PROFILES[profile_name("gfx-8GB")].profile))
    assert name is not None
    return label_of(name)


def test_a_migration_that_a_node_can_take_is_let_through_as_it_is() -> None:
    assert word(cluster(source_node(), node_devices("b", {"gfx-8GB": 1}))) == ALLOWED


def test_one_that_no_node_could_ever_take_is_refused_with_each_reason() -> None:
    verdict = word(cluster(source_node(), node_devices("b", {"gfx-4GB": 4}), node_devices("c", {"nic": 1})))

    assert verdict.refusal is not None
    assert verdict.refusal.startswith(f"mdev-operator: VM vm with device {DEVICE}: no node can take the device: ")
    for part in ("ValueNotAllowed memory on 1 (e.g. b:", "ModelMismatch on 1 (e.g. c:", "SourceNode on 1"):
        assert part in verdict.refusal


def test_a_cluster_of_one_node_is_refused() -> None:
    assert word(cluster(source_node())).refusal is not None


@pytest.mark.parametrize(
    "later",
    [
        {"nodes": {"b": node("b", ready=False)}},
        {"nodes": {"b": node("b", schedulable=False)}},
        {"silent": {"b": "its agent is silent"}},
    ],
    ids=["not Ready", "cordoned", "silent"],
)
def test_a_node_that_may_come_back_is_waited_for(later: dict[str, Any]) -> None:
    assert word(cluster(source_node(), node_devices("b", {"gfx-8GB": 1}), **later)) == ALLOWED


def test_a_node_that_may_come_back_and_could_not_take_it_then_is_not_waited_for() -> None:
    where = cluster(source_node(), node_devices("b", {"gfx-4GB": 1}), nodes={"b": node("b", ready=False)})

    assert word(where).refusal is not None


def test_room_is_waited_for() -> None:
    assert word(cluster(source_node(), node_devices("b", {"gfx-8GB": 0}))) == ALLOWED


def test_a_profile_that_was_not_read_yet_may_fit() -> None:
    assert word(cluster(source_node(), node_devices("b", {"unheard-of": 1}))) == ALLOWED


@pytest.mark.parametrize(
    "asked", [{"addedNodeSelector": {"zone": "two"}}, {"addedNodeSelector": {"zone": "two", "rack": "1"}}]
)
def test_a_selector_that_leaves_no_node_that_could_is_refused(asked: dict[str, Any]) -> None:
    where = cluster(source_node(), node_devices("b", {"gfx-8GB": 1}), nodes={"b": node("b", zone="one")})

    verdict = word(where, **asked)

    assert verdict.refusal is not None
    assert "Excluded on 1 (e.g. b: b lacks the labels" in verdict.refusal


def test_the_vms_own_selector_counts_and_wins_as_in_kubevirt() -> None:
    where = cluster(source_node(), node_devices("b", {"gfx-8GB": 1}), nodes={"b": node("b", zone="one")})

    assert word(where, vm(nodeSelector={"zone": "two"})).refusal is not None
    assert word(where, vm(nodeSelector={"zone": "one"}), addedNodeSelector={"zone": "two"}) == ALLOWED


def test_the_label_of_the_class_is_asked_for_when_a_node_that_fits_carries_it() -> None:
    where = cluster(source_node(), node_devices("b", {"gfx-8GB": 1}), nodes={"b": node("b", **{class_label(): "true"})})

    assert word(where).patch == ({"op": "add", "path": "/spec/addedNodeSelector", "value": {class_label(): "true"}},)


def test_the_label_is_put_beside_the_users_own_keys() -> None:
    labels = {class_label(): "true", "zone": "one"}
    where = cluster(source_node(), node_devices("b", {"gfx-8GB": 1}), nodes={"b": node("b", **labels)})

    path = "/spec/addedNodeSelector/" + class_label().replace("/", "~1")
    assert word(where, addedNodeSelector={"zone": "one"}).patch == ({"op": "add", "path": path, "value": "true"},)


def test_a_user_who_asked_for_the_label_keeps_what_was_written() -> None:
    where = cluster(source_node(), node_devices("b", {"gfx-8GB": 1}), nodes={"b": node("b", **{class_label(): "true"})})

    assert word(where, addedNodeSelector={class_label(): "true"}) == ALLOWED


def test_a_label_that_only_a_node_out_of_question_carries_is_not_asked_for() -> None:
    labelled = node("c", **{class_label(): "true"})
    where = cluster(
        source_node(), node_devices("b", {"gfx-8GB": 1}), node_devices("c", {"gfx-4GB": 1}), nodes={"c": labelled}
    )

    assert word(where) == ALLOWED


@pytest.mark.parametrize(
    "vmi",
    [
        {**vm(), "spec": {"domain": {"devices": {}}}},
        {**vm(), "spec": {"domain": {"devices": {"hostDevices": [{"name": "nic", "deviceName": RESOURCE}]}}}},
        {**vm(), "status": {"phase": "Scheduling"}},
        {**vm(), "status": {"phase": "Running", "nodeName": "elsewhere", "activePods": {"pod-uid": "elsewhere"}}},
    ],
    ids=["without a vGPU", "with a host device", "not running", "on a node without an agent"],
)
def test_a_vm_without_a_device_that_is_known_is_let_through(vmi: dict[str, Any]) -> None:
    assert word(cluster(source_node()), vmi) == ALLOWED


@pytest.mark.parametrize("where", ["sendTo", "receive"])
def test_a_migration_between_clusters_is_let_through(where: str) -> None:
    assert word(cluster(source_node()), **{where: {"migrationID": "1"}}) == ALLOWED
