"""Early or Late, and one gate at a time where the kubelet could confuse two pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mdev_api.kinds.device_migration import Binding, DeviceMigration
from mdev_api.kinds.node_devices import NodeDevices
from mdev_operator.kubevirt.binding import Bound, binding_for, whose_turn
from mdev_operator.kubevirt.manager import Declared, KubeVirtConfig
from tests.unit.kubevirt.sights import pod, ready

RESOURCE = "example.com/vgpu"


def kubevirt(*devices: Declared) -> KubeVirtConfig:
    return KubeVirtConfig(name="kubevirt/kubevirt", declared=devices)


def node(*slots: dict[str, Any]) -> NodeDevices:
    return NodeDevices.model_validate({"metadata": {"name": "a"}, "status": {"slots": list(slots)}})


OURS = {"resource": RESOURCE, "free": 2, "types": ["gfx-8GB"]}
THEIRS = {"resource": RESOURCE, "free": 2, "instances": ["i-1", "i-2"]}
EXTERNAL = Declared(selector="gfx-8GB", resource=RESOURCE, external=True)


@pytest.mark.parametrize(
    ("configured", "published", "binding"),
    [
        (kubevirt(EXTERNAL), [node(OURS)], Binding.EARLY),
        (kubevirt(EXTERNAL), [node(THEIRS)], Binding.LATE),
        (kubevirt(EXTERNAL), [], Binding.LATE),
        (kubevirt(replace(EXTERNAL, external=False)), [node(OURS)], Binding.LATE),
        (kubevirt(replace(EXTERNAL, resource="example.com/other")), [node(OURS)], Binding.LATE),
        (kubevirt(), [node(OURS)], Binding.LATE),
        (None, [node(OURS)], Binding.LATE),
    ],
)
def test_early_needs_that_kubevirt_leaves_the_resource_to_us_and_that_we_serve_it(
    configured: KubeVirtConfig | None, published: list[NodeDevices], binding: Binding
) -> None:
    assert binding_for(RESOURCE, configured, published) is binding


def test_a_vm_that_asks_for_no_resource_is_bound_late() -> None:
    assert binding_for(None, kubevirt(EXTERNAL), [node(OURS)]) is Binding.LATE


def other(**options: Any) -> DeviceMigration:
    made = ready(options.pop("node", "node-b"), **{"started": True, "binding": "Early", **options})
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"uid": "other"})})


def test_a_pod_that_has_not_reached_the_kubelet_goes_first() -> None:
    said = whose_turn(ready(binding="Early"), [Bound(migration=other(), pod=pod(gated=False))])
    assert said is not None and "virt-launcher-vm-x" in said and RESOURCE in said


def test_also_one_whose_gate_is_about_to_be_lifted() -> None:
    assert whose_turn(ready(binding="Early"), [Bound(migration=other(), pod=pod())]) is not None


@pytest.mark.parametrize(
    "bound",
    [
        Bound(migration=other(), pod=pod(gated=False, admitted=True)),
        Bound(migration=other(), pod=pod(gated=False, ended=True)),
        Bound(migration=other(), pod=None),
        Bound(migration=other(outcome="Failed"), pod=pod(gated=False)),
        Bound(migration=other(started=None), pod=pod()),
        Bound(migration=other(binding="Late"), pod=pod(gated=False)),
        Bound(migration=other(node="node-c"), pod=pod(gated=False)),
        Bound(migration=ready(started=True, binding="Early"), pod=pod(gated=False)),
    ],
    ids=["admitted", "ended", "gone", "told", "not started", "late", "elsewhere", "itself"],
)
def test_nobody_is_waited_for_in_vain(bound: Bound) -> None:
    assert whose_turn(ready(binding="Early"), [bound]) is None
