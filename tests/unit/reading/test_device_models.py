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


@pytest.mark.parametrize(
    "spec",
    [
        {"matches": match(), "parameters": []},
        {},
        {"parameters": [], "versions": [{"name": "v1", "values": []}]},
    ],
    ids=["matches", "parameters", "versions"],
)
def test_by_identity_stands_alone(spec: dict[str, Any]) -> None:
    problem = compiled(byIdentity=True, **spec).problem

    assert problem is not None
    assert (problem.reason, problem.message.partition(":")[0]) == ("Contradiction", "spec.byIdentity")


FIXED = {"name": "memory", "initValue": {"literal": "4096"}}
IN_A_FILE = FIXED | {"allowedValues": {"literals": ["4096", "8192"]}, "attribute": "migration/memory"}
DERIVED = FIXED | {"initValue": {"expression": "profile.attributes['fb']"}}
ANY = FIXED | {"attribute": "migration/memory"}


def version(memory: str) -> dict[str, Any]:
    return {
        "parameters": PARAMETERS[:1],
        "versions": [{"name": "v2", "values": [{"name": "memory", "value": memory}]}],
    }


@pytest.mark.parametrize(
    ("parameter", "memory"),
    [(FIXED, "8192"), (IN_A_FILE, "1024")],
    ids=["another fixed value", "not among the allowed"],
)
def test_a_version_that_no_device_can_have_is_told_with_each_match(parameter: dict[str, Any], memory: str) -> None:
    problem = compiled(matches=match(parameter), **version(memory)).problem

    assert problem is not None
    assert problem.message.startswith("spec.versions[v2].values: no match allows it: match m has ")
    assert "memory" in problem.message


@pytest.mark.parametrize(
    ("parameter", "memory"),
    [(FIXED, "4096"), (IN_A_FILE, "8192"), (None, "4096"), (DERIVED, "8192"), (ANY, "1")],
    ids=["fixed", "allowed", "left out by the match", "what an expression derives", "any value"],
)
def test_a_version_that_a_device_can_have_is_no_problem(parameter: dict[str, Any] | None, memory: str) -> None:
    assert compiled(matches=match(parameter), **version(memory)).problem is None


def test_one_match_that_allows_a_version_is_enough() -> None:
    matches = [*match(FIXED), {**match(IN_A_FILE)[0], "name": "n"}]

    assert compiled(matches=matches, **version("8192")).problem is None


def test_a_version_of_a_model_that_drivers_publish_needs_no_match() -> None:
    assert compiled(**version("8192")).problem is None


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"matches": match({"name": "memory", "initValue": {}})}, "spec.matches[m].parameters[memory].initValue"),
        (
            {"matches": match({"name": "memory", "initValue": {"literal": "1"}, "allowedValues": {}})},
            "spec.matches[m].parameters[memory].allowedValues",
        ),
        ({"parameters": PARAMETERS * 2}, "spec.parameters[memory]"),
        ({"matches": match() * 2}, "spec.matches[m]"),
    ],
)
def test_what_the_api_server_would_refuse_is_found_in_a_file_too(spec: dict[str, Any], field: str) -> None:
    problem = compiled(**spec).problem

    assert problem is not None
    assert problem.message.startswith(f"{field}: ")


def test_a_problem_with_many_errors_still_fits_a_condition() -> None:
    problem = compiled(matches=match(expression=" || ".join(["profile.typ.id == 'x'"] * 40))).problem

    assert problem is not None
    assert len(problem.message) <= 1024


def test_nesting_beyond_all_measure_is_told_with_a_position() -> None:
    problem = compiled(matches=match(expression="(" * 500 + "true" + ")" * 500)).problem

    assert problem is not None
    assert problem.message.startswith("spec.matches[m].expression: 1:1: ")


def test_an_expression_that_could_copy_a_text_without_end_is_refused_with_a_position() -> None:
    text = "profile.type.id"
    for number in range(4):
        text = f"[{text}].map(v, {' + '.join(['v'] * 40)})[{number * 0}]"

    problem = compiled(matches=match(expression=f"{text} == ''")).problem

    assert problem is not None
    assert problem.message.startswith("spec.matches[m].expression: 1:")
    assert "loops" in problem.message


def test_ordinary_loops_are_allowed() -> None:
    wanted = "['a', 'b', 'c'].exists(x, profile.type.name.startsWith(x) || profile.facts.exists(f, f == x + '-1'))"

    assert compiled(matches=match(expression=wanted)).problem is None
