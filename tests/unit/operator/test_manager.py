"""What virt-handler would delete, what to write into the KubeVirt CR against it, and what a migration says of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mdev_operator.inventory.cluster import Cluster, NodeView
from mdev_operator.kubevirt.manager import KubeVirtConfig, config_of, swept
from mdev_operator.migration.decision import Decision
from tests.unit.operator.world import (
    cluster,
    condition,
    decided,
    gpu,
    instance,
    migration,
    node_devices,
    shown,
)

LABELS = {"kubevirt.io/schedulable": "true", "zone": "z1"}
T4 = ("nvidia-222", "GRID T4-1Q")


def kubevirt(**configuration: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "kubevirt", "name": "kv"}, "spec": {"configuration": configuration}}


def permitted(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"permittedHostDevices": {"mediatedDevices": list(entries)}}


def entry(selector: str, external: bool | None = None) -> dict[str, Any]:
    more = {} if external is None else {"externalResourceProvider": external}
    return {"mdevNameSelector": selector, "resourceName": "nvidia.com/T4", **more}


def makes(*types: str, **more: Any) -> dict[str, Any]:
    return {"mediatedDevicesConfiguration": {"mediatedDeviceTypes": list(types), **more}}


def for_nodes(labels: dict[str, str], *types: str) -> dict[str, Any]:
    return {"nodeSelector": labels, "mediatedDeviceTypes": list(types)}


@pytest.mark.parametrize(
    "configuration",
    [
        pytest.param(permitted(entry("GRID T4-1Q", external=True)), id="external by name"),
        pytest.param(permitted(entry("GRID_T4-1Q", external=True)), id="external by name with underscores"),
        pytest.param(permitted(entry("nvidia-222", external=True)), id="external by type id"),
        pytest.param(makes("GRID_T4-1Q"), id="made by virt-handler, by name"),
        pytest.param(makes("nvidia-222"), id="made by virt-handler, by type id"),
        pytest.param({"mediatedDevicesConfiguration": {"mediatedDevicesTypes": ["nvidia-222"]}}, id="old spelling"),
        pytest.param(makes("x", nodeMediatedDeviceTypes=[for_nodes({"zone": "z1"}, "nvidia-222")]), id="made here"),
        pytest.param(makes("nvidia-222", nodeMediatedDeviceTypes=[for_nodes({"zone": "z2"}, "x")]), id="not elsewhere"),
        pytest.param({"mediatedDevicesConfiguration": {"enabled": False}}, id="switched off"),
        pytest.param({"developerConfiguration": {"featureGates": ["DisableMDEVConfiguration"]}}, id="by the old gate"),
    ],
)
def test_a_type_that_virt_handler_leaves_alone(configuration: dict[str, Any]) -> None:
    assert swept(*T4, config_of(kubevirt(**configuration), ()), LABELS) is None


@pytest.mark.parametrize(
    "configuration",
    [
        pytest.param({}, id="nothing configured"),
        pytest.param(permitted(entry("GRID T4-2Q", external=True)), id="another type is external"),
        pytest.param(permitted(entry("GRID T4-1Q")), id="permitted, and not external"),
        pytest.param(permitted(entry("GRID T4-1Q", external=False)), id="said not to be external"),
        pytest.param(makes("GRID T4-1Q"), id="made by a name with blanks, which 1.9 compares as written"),
        pytest.param(makes("nvidia-222", nodeMediatedDeviceTypes=[for_nodes({"zone": "z1"}, "x")]), id="not made here"),
        pytest.param({"mediatedDevicesConfiguration": {"enabled": True}}, id="switched on"),
    ],
)
def test_a_type_that_virt_handler_would_delete(configuration: dict[str, Any]) -> None:
    assert swept(*T4, config_of(kubevirt(**configuration), ()), LABELS) is not None


def test_a_node_that_virt_handler_does_not_run_on_is_left_alone() -> None:
    assert swept(*T4, config_of(kubevirt(), ()), {"zone": "z1"}) is None


@pytest.mark.parametrize(
    "before", [permitted(), permitted(entry("GRID T4-1Q")), permitted(entry("nvidia-222", external=False))]
)
def test_the_line_to_add_is_yaml_and_makes_peace(before: dict[str, Any]) -> None:
    why = swept(*T4, config_of(kubevirt(**before), ()), LABELS)
    assert why is not None and "KubeVirt kubevirt/kv" in why
    (added,) = yaml.safe_load(why.partition("mediatedDevices: ")[2])
    assert swept(*T4, config_of(kubevirt(**permitted(added)), ()), LABELS) is None


def test_the_line_keeps_the_resource_that_is_configured_and_else_takes_the_one_that_is_asked_for() -> None:
    def resource(of: dict[str, Any], asked: str | None = None) -> Any:
        why = swept(*T4, config_of(kubevirt(**of), ()), LABELS, asked)
        assert why is not None
        return yaml.safe_load(why.partition("mediatedDevices: ")[2])[0]["resourceName"]

    assert resource(permitted(entry("GRID T4-1Q"))) == "nvidia.com/T4"
    assert resource({}, "nvidia.com/asked") == "nvidia.com/asked"
    assert resource({}) == "mdev-operator.io/GRID_T4-1Q"


def plugin(name: str = "mdev-operator", *hooks: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"nodeHooks": list(hooks)}}


HOOK = {"permittedHooks": ["PreMigrationTarget"], "socket": "/var/run/kubevirt/mdev.sock"}
PLUGINS_ON = {"developerConfiguration": {"featureGates": ["Plugins"]}}


@pytest.mark.parametrize(
    ("configuration", "plugins", "why"),
    [
        (PLUGINS_ON, [plugin("mdev-operator", HOOK)], None),
        (PLUGINS_ON, [plugin("mdev-operator", {**HOOK, "failureStrategy": "Fail"})], None),
        ({}, [plugin("mdev-operator", HOOK)], "feature gate Plugins is off"),
        (
            {"developerConfiguration": {"featureGates": ["Plugins"], "disabledFeatureGates": ["Plugins"]}},
            [plugin("mdev-operator", HOOK)],
            "feature gate Plugins is off",
        ),
        (PLUGINS_ON, [], "there is no KubeVirt Plugin mdev-operator"),
        (PLUGINS_ON, [plugin("other", HOOK)], "there is no KubeVirt Plugin mdev-operator"),
        (PLUGINS_ON, [plugin("mdev-operator", {**HOOK, "permittedHooks": ["Other"]})], "has no node hook"),
        (PLUGINS_ON, [plugin("mdev-operator", {**HOOK, "failureStrategy": "Ignore"})], "failureStrategy"),
    ],
)
def test_whether_the_agents_are_called(
    configuration: dict[str, Any], plugins: list[dict[str, Any]], why: str | None
) -> None:
    found = config_of(kubevirt(**configuration), plugins).no_hook
    assert found is None if why is None else found is not None and why in found


BIG = node_devices("b", {"gfx-8GB": 2})
SWEEPS = config_of(kubevirt(), ())
PEACE = config_of(kubevirt(**permitted(entry("gfx-8GB", external=True))), ())


def with_virt_handler(config: KubeVirtConfig, *devices: Any) -> Cluster:
    nodes = {d.node: NodeView(name=d.node, labels=LABELS, ready=True, schedulable=True) for d in devices}
    return cluster(*devices, nodes=nodes, kubevirt=config)


def codes(decision: Decision) -> list[str]:
    return [r.code for r in decision.status.rejected]


def test_a_device_that_would_be_deleted_is_not_made_and_the_condition_has_the_line() -> None:
    decision = decided(migration(), with_virt_handler(SWEEPS, BIG))
    assert decision.reserve == () and codes(decision) == ["ConflictingManager"]
    status, _, message = shown(decision, "ConflictingManager") or ("", "", "")
    assert status == "True" and '- {mdevNameSelector: "gfx-8GB", ' in message


def test_an_idle_device_that_would_be_deleted_is_not_taken_either() -> None:
    idle = node_devices("b", {}, [instance("gfx-8GB", managed=True, inUse="No")])
    assert codes(decided(migration(), with_virt_handler(SWEEPS, idle))) == ["ConflictingManager"]


def test_where_peace_was_made_the_device_is_made() -> None:
    decision = decided(migration(), with_virt_handler(PEACE, BIG))
    assert [r.node for r in decision.reserve] == ["b"] and shown(decision, "ConflictingManager") is None


def test_the_condition_turns_false_when_the_line_was_added() -> None:
    before = migration(conditions=[condition("ConflictingManager", True, "VirtHandlerWouldDelete", age=5)])
    decision = decided(before, with_virt_handler(PEACE, BIG))
    assert (shown(decision, "ConflictingManager") or ("",))[0] == "False"


def test_a_type_that_does_not_fit_is_told_by_that_and_not_by_who_would_delete_it() -> None:
    decision = decided(migration(gpu(8192)), with_virt_handler(SWEEPS, node_devices("c", {"gfx-4GB": 1})))
    assert codes(decision) == ["ValueNotAllowed"] and shown(decision, "ConflictingManager") is None


def test_another_type_of_the_same_node_that_is_left_alone_is_taken() -> None:
    both = node_devices("b", {"gfx-8GB": 2, "gfx-varGB": 16})
    external = config_of(kubevirt(**permitted(entry("gfx-varGB", external=True))), ())
    decision = decided(migration(), with_virt_handler(external, both))
    (there,) = decision.reserve[0].entries
    assert there.device.create is not None and there.device.create.type == "gfx-varGB"
    assert "after" not in decision.status.candidates[0].why
    assert (shown(decision, "ConflictingManager") or ("",))[0] == "True"


def test_devices_that_virt_handler_itself_serves_are_no_conflict() -> None:
    """Their type is not external, and virt-handler keeps what it makes."""
    serving = {"instance": "i-0", "resource": "r/x", "podNamespace": "default", "podName": "p"}
    source = node_devices("a", {}, [instance("gfx-8GB", "i-0")], serving=[serving])
    free = node_devices(
        "b", {}, [instance("gfx-8GB", "i-1")], slots=[{"resource": "r/x", "free": 1, "instances": ["i-1"]}]
    )
    of_node = migration({"node": {"name": "a", "devices": ["i-0"]}}, binding="Late")
    decision = decided(of_node, with_virt_handler(SWEEPS, source, free))
    assert [r.node for r in decision.reserve] == ["a", "b"]
