"""What is wrong with a DeviceModel is found when it is compiled, and said with the field."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_api.kinds.device_model import DeviceModel
from mdev_api.reading import CompiledModel, compile_models

PARAMETERS = [{"name": "memory", "type": "int", "offValue": "0"}, {"name": "ecc", "type": "bool"}]


def device_model(name: str = "t4", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> DeviceModel:
    content = {"model": "vendor.com/gpu", "parameters": PARAMETERS} | spec
    return DeviceModel.model_validate({"metadata": {"name": name, "creationTimestamp": created}, "spec": content})


def match(parameter: dict[str, Any] | None = None, expression: str = "true") -> list[dict[str, Any]]:
    return [{"name": "m", "expression": expression, "parameters": [parameter] if parameter else []}]


def compiled(**spec: Any) -> CompiledModel:
    [model] = compile_models([device_model(**spec)])
    return model


def test_a_sound_model_has_no_problem() -> None:
    model = compiled(
        matches=match(
            {"name": "memory", "initValue": {"expression": "int(profile.attributes['fb'])"}},
            "profile.backend == 'mdev'",
        ),
        versions=[{"name": "v1", "values": [{"name": "memory", "value": "1"}, {"name": "ecc", "value": "on"}]}],
    )

    assert model.problem is None


@pytest.mark.parametrize(
    ("expression", "position", "said"),
    [
        ("profile.typ.id == 'x'", "1:12", "profile.typ.id"),
        ("true &&\n profile.type.id == 1", "2:18", "no matching overload"),
        ("profile.type.id ==", "1:19", "Syntax error"),
        ("profile.type.id", "1:1", "true or false is expected"),
        ("has(profile.type.id)", "1:1", "true or false is expected"),
        ("profile['backend'] == 'mdev'", "1:1", "undeclared reference to 'profile'"),
    ],
    ids=[
        "misspelt member",
        "type error in line two",
        "syntax",
        "no condition",
        "has() of a member",
        "profile itself",
    ],
)
def test_a_bad_expression_is_told_with_line_and_column(expression: str, position: str, said: str) -> None:
    problem = compiled(matches=match(expression=expression)).problem

    assert problem is not None
    assert problem.reason == "InvalidExpression"
    assert problem.message.startswith(f"spec.matches[m].expression: {position}: ")
    assert said in problem.message


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"parameters": [{"name": "n", "type": "int", "offValue": "007"}]}, "spec.parameters[n].offValue"),
        ({"parameters": [{"name": "n", "type": "bool", "offValue": "false"}]}, "spec.parameters[n].offValue"),
        (
            {"matches": match({"name": "memory", "initValue": {"literal": "many"}})},
            "spec.matches[m].parameters[memory].initValue.literal",
        ),
        (
            {"matches": match({"name": "ecc", "initValue": {"literal": "true"}})},
            "spec.matches[m].parameters[ecc].initValue.literal",
        ),
        (
            {
                "matches": match(
                    {"name": "memory", "initValue": {"literal": "1"}, "allowedValues": {"literals": ["1", "9-2"]}}
                )
            },
            "spec.matches[m].parameters[memory].allowedValues.literals[1]",
        ),
        (
            {
                "matches": match(
                    {"name": "ecc", "initValue": {"literal": "on"}, "allowedValues": {"literals": ["on", "false"]}}
                )
            },
            "spec.matches[m].parameters[ecc].allowedValues.literals[1]",
        ),
        (
            {
                "matches": match(
                    {"name": "memory", "initValue": {"literal": "1"}, "allowedValues": {"literals": ["2-4"]}}
                )
            },
            "spec.matches[m].parameters[memory].initValue.literal",
        ),
        (
            {"matches": match({"name": "speed", "initValue": {"literal": "1"}})},
            "spec.matches[m].parameters[speed]",
        ),
        (
            {"versions": [{"name": "v1", "values": [{"name": "memory", "value": "1"}, {"name": "ecc", "value": "1"}]}]},
            "spec.versions[v1].values[ecc].value",
        ),
        ({"versions": [{"name": "v1", "values": [{"name": "memory", "value": "1"}]}]}, "spec.versions[v1].values"),
        ({"versions": [{"name": "v1", "values": [{"name": "x", "value": "1"}]}]}, "spec.versions[v1].values[x]"),
    ],
)
def test_a_literal_that_is_not_canonical_is_told_with_its_field(spec: dict[str, Any], field: str) -> None:
    problem = compiled(**spec).problem

    assert problem is not None
    assert problem.reason == "InvalidValue"
    assert problem.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"model": "two words"}, "spec.model"),
        ({"parameters": [{"name": "..", "type": "int"}]}, "spec.parameters[..].name"),
    ],
)
def test_a_name_that_is_not_legal_is_told_with_its_field(spec: dict[str, Any], field: str) -> None:
    problem = compiled(**spec).problem

    assert problem is not None
    assert problem.reason == "InvalidName"
    assert problem.message.startswith(f"{field}: ")


def test_of_two_objects_with_one_model_the_younger_is_a_duplicate() -> None:
    younger = device_model("a-younger", "2026-02-01T00:00:00Z")
    older = device_model("b-older", "2026-01-01T00:00:00Z")

    problems = {model.name: model.problem for model in compile_models([younger, older])}

    assert problems["b-older"] is None
    assert problems["a-younger"] is not None
    assert problems["a-younger"].reason == "Duplicate"
    assert "b-older" in problems["a-younger"].message


def test_by_identity_is_refused_until_it_is_built() -> None:
    problem = compiled(byIdentity=True, parameters=[]).problem

    assert problem is not None
    assert problem.reason == "NotSupported"
