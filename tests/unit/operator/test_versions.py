"""An explicit source by a version of its model: an alias for values, which single values override."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mdev_api.engine.metadata import ValueType
from mdev_api.kinds.device_migration import ExplicitDevice, ExplicitValue
from mdev_api.kinds.device_model import DeviceModel, ParameterDefinition
from mdev_operator.inventory.cluster import Cluster
from mdev_operator.migration.decision import Decision
from mdev_operator.migration.versions import source_of_version
from tests.unit.operator.world import NOW, cluster, decided, migration, node_devices, reserved_by, shown, stamp

GPUS = node_devices("b", {"gfx-8GB": 2, "gfx-4GB": 4})


def model(name: str = "gfx", valid: str = "True", **versions: str) -> DeviceModel:
    """A DeviceModel of the GPUs; ``versions``: the memory of each."""
    return DeviceModel.model_validate(
        {
            "metadata": {"name": name},
            "spec": {
                "model": "com.gfx/GPU",
                "parameters": [{"name": "memory", "type": "int"}],
                "versions": [{"name": n, "values": [{"name": "memory", "value": v}]} for n, v in versions.items()],
            },
            "status": {
                "conditions": [
                    {"type": "Valid", "status": valid, "reason": "Because", "lastTransitionTime": stamp(NOW)}
                ]
            },
        }
    )


def knowing(*models: DeviceModel) -> Cluster:
    return replace(cluster(GPUS), models={m.metadata.name: m for m in models})


def asked(where: Cluster, version: str, *values: dict[str, Any]) -> Decision:
    device = {"name": "gpu", "model": "com.gfx/GPU", "version": version, "values": list(values)}
    return decided(migration({"explicit": [device]}), where)


def types(decision: Decision) -> list[str]:
    return [e.device.create.type for e in reserved_by(decision, "b") if e.device.create is not None]


@pytest.mark.parametrize(("version", "type_id"), [("v1", "gfx-4GB"), ("v2", "gfx-8GB")])
def test_a_version_stands_for_its_values(version: str, type_id: str) -> None:
    assert types(asked(knowing(model(v1="4096", v2="8192")), version)) == [type_id]


def test_a_value_beside_the_version_overrides_it() -> None:
    where = knowing(model(v1="4096"))
    assert types(asked(where, "v1", {"name": "memory", "type": "int", "value": "8192"})) == ["gfx-8GB"]


def test_a_version_that_the_model_does_not_define_is_told_with_those_that_it_does() -> None:
    decision = asked(knowing(model(v1="4096", v2="8192")), "v3")
    _, reason, message = shown(decision, "Planned") or ("", "", "")
    assert (reason, decision.reserve) == ("UnknownVersion", ()) and "v1, v2" in message and decision.follow


@pytest.mark.parametrize("where", [knowing(), knowing(model(valid="False", v1="4096"))], ids=["none", "not valid"])
def test_a_version_of_a_model_that_nobody_defines_validly_is_unknown(where: Cluster) -> None:
    _, reason, message = shown(asked(where, "v1"), "Planned") or ("", "", "")
    assert reason == "UnknownVersion" and "no valid DeviceModel" in message


def test_of_two_definitions_of_one_model_the_valid_one_counts() -> None:
    where = knowing(model("a", "False", v1="8192"), model("b", v1="4096"))
    assert types(asked(where, "v1")) == ["gfx-4GB"]


def test_a_version_that_leaves_a_parameter_out_is_unknown_even_before_its_model_is_found_invalid() -> None:
    """What it leaves out would read as switched off, and a destination without it would lose it silently."""
    grown = model(v1="4096")
    more = [*grown.spec.parameters, ParameterDefinition(name="queues", type=ValueType.INT)]
    grown = grown.model_copy(update={"spec": grown.spec.model_copy(update={"parameters": tuple(more)})})
    _, reason, message = shown(asked(knowing(grown), "v1"), "Planned") or ("", "", "")
    assert reason == "UnknownVersion" and "each of the model's parameters" in message


def test_an_off_value_of_the_model_is_no_off_value_of_another_type() -> None:
    """Which type is meant is for the destination to judge (TypeMismatch)."""
    sized = model(v1="4096")
    off = ParameterDefinition(name="memory", type=ValueType.INT, off_value="7")
    sized = sized.model_copy(update={"spec": sized.spec.model_copy(update={"parameters": (off,)})})
    given = ExplicitValue(name="memory", type=ValueType.BOOL, value="on")
    device = ExplicitDevice(name="gpu", model="com.gfx/GPU", version="v1", values=(given,))
    [parameter] = source_of_version(device, [sized]).parameters
    assert (parameter.type, parameter.value, parameter.off, parameter.fault) == (ValueType.BOOL, "on", None, None)
