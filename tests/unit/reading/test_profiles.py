"""One profile, read by the driver's own metadata or by DeviceModels."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.engine.metadata import ValueType
from mdev_api.kinds.common import dump
from mdev_api.kinds.device_model import DeviceModel
from mdev_api.kinds.device_profile import DeviceProfileSpec
from mdev_api.reading import Reading, compile_models, read_profile
from mdev_api.values import from_text

MEMORY = {"name": "memory", "type": "int", "offValue": "0"}


def profile(**members: Any) -> DeviceProfileSpec:
    base = {"backend": "mdev", "driver": {"name": "vgpu"}, "type": {"id": "vgpu-7", "name": "GRID T4-4Q"}}
    return DeviceProfileSpec.model_validate(base | members)


def device_model(
    expression: str = "profile.type.id == 'vgpu-7'",
    *parameters: dict[str, Any],
    name: str = "t4",
    model: str = "vendor.com/t4",
    definitions: list[dict[str, Any]] | None = None,
    **spec: Any,
) -> DeviceModel:
    matches = [{"name": "q", "expression": expression, "parameters": list(parameters)}]
    content = {"model": model, "parameters": definitions or [MEMORY], "matches": matches} | spec
    return DeviceModel.model_validate({"metadata": {"name": name}, "spec": content})


def read(spec: DeviceProfileSpec, *models: DeviceModel) -> Reading:
    compiled = compile_models(models)
    assert [model.problem for model in compiled] == [None] * len(models)
    return read_profile(spec, compiled)


def said(reading: Reading) -> list[dict[str, Any]]:
    return [dump(parameter) for parameter in reading.parameters]


def test_what_nobody_knows_has_no_model() -> None:
    reading = read(profile(), device_model("profile.type.id == 'other'"))

    assert (reading.resolved, reading.reason, reading.model) == (False, "NoModel", None)


def test_a_match_gives_model_parameters_origin_and_write_strategy() -> None:
    memory = {
        "name": "memory",
        "initValue": {"expression": "profile.attributes['framebuffer']"},
        "allowedValues": {"literals": ["4096", "1-16"]},
        "attribute": "migration/memory",
    }
    spec = profile(attributes=[{"name": "framebuffer", "value": "4096"}])

    reading = read(spec, device_model("profile.type.name.startsWith('GRID T4-')", memory, writeStrategy="OffFirst"))

    assert (reading.resolved, reading.model, reading.origin) == (True, "vendor.com/t4", "DeviceModel/t4")
    assert (reading.write_strategy, reading.matched_by) == ("OffFirst", "t4")
    assert said(reading) == [
        {
            "name": "memory",
            "type": "int",
            "initValue": "4096",
            "offValue": "0",
            "allowedValues": ["4096", "1-16"],
            "attribute": "migration/memory",
        }
    ]


def test_a_parameter_without_a_file_may_take_its_init_value_only() -> None:
    memory = {"name": "memory", "initValue": {"literal": "8"}, "allowedValues": {"literals": ["1-16"]}}

    [parameter] = read(profile(), device_model("true", memory)).parameters

    assert parameter.allowed_values == ("8",)


def test_a_parameter_with_a_file_and_no_allowed_values_may_take_any() -> None:
    memory = {"name": "memory", "initValue": {"literal": "8"}, "attribute": "migration/memory"}

    [parameter] = read(profile(), device_model("true", memory)).parameters

    assert parameter.allowed_values is None


def test_the_first_match_that_holds_is_taken() -> None:
    one = {"name": "one", "expression": "true", "parameters": [{"name": "memory", "initValue": {"literal": "1"}}]}
    two = {"name": "two", "expression": "true", "parameters": [{"name": "memory", "initValue": {"literal": "2"}}]}

    [parameter] = read(profile(), device_model(matches=[one, two])).parameters

    assert parameter.init_value == "1"


def test_a_later_match_is_not_evaluated_once_one_holds() -> None:
    good = {"name": "good", "expression": "true"}
    bad = {"name": "bad", "expression": "profile.facts['missing'] == ''"}

    assert read(profile(), device_model(matches=[good, bad])).resolved


@pytest.mark.parametrize("applies_to", [{"backend": "pci"}, {"driver": "mtty"}])
def test_no_expression_is_evaluated_where_the_model_does_not_apply(applies_to: dict[str, str]) -> None:
    reading = read(profile(), device_model("profile.facts['missing'] == ''", appliesTo=applies_to))

    assert reading.reason == "NoModel"


def test_absent_members_read_as_empty() -> None:
    expression = "profile.driver.version == '' && profile.hardware.vendor == '' && size(profile.facts) == 0"

    assert read(profile(), device_model(expression)).resolved


def test_attributes_and_facts_can_be_asked_for() -> None:
    spec = profile(facts=[{"name": "ecc", "value": "on"}])

    assert read(spec, device_model("has(profile.facts.ecc) && !('fb' in profile.attributes)")).resolved


def test_an_expression_that_fails_names_model_match_and_what_was_missing() -> None:
    reading = read(profile(), device_model("profile.attributes['fb'] == '1'"))

    assert (reading.resolved, reading.reason, reading.model) == (False, "MatchFailed", None)
    assert "DeviceModel t4, match q" in reading.message
    assert '"fb"' in reading.message


def test_a_value_expression_that_fails_names_model_match_and_parameter() -> None:
    memory = {"name": "memory", "initValue": {"expression": "int(profile.type.id)"}}

    reading = read(profile(), device_model("true", memory))

    assert (reading.resolved, reading.reason, reading.parameters) == (False, "MatchFailed", ())
    assert "DeviceModel t4, match q, parameter memory" in reading.message


def test_a_failing_model_makes_the_hit_of_another_uncertain() -> None:
    reading = read(
        profile(),
        device_model("true", name="good", model="vendor.com/a"),
        device_model("profile.facts['x'] == ''", name="bad", model="vendor.com/b"),
    )

    assert (reading.resolved, reading.reason) == (False, "MatchFailed")


def test_two_models_that_match_are_ambiguous_and_both_named() -> None:
    reading = read(
        profile(),
        device_model("true", name="one", model="vendor.com/a"),
        device_model("true", name="two", model="vendor.com/b"),
    )

    assert (reading.resolved, reading.reason, reading.model) == (False, "AmbiguousModel", None)
    assert "DeviceModel one (match q)" in reading.message
    assert "DeviceModel two (match q)" in reading.message


def test_a_younger_duplicate_is_not_asked() -> None:
    models = compile_models([device_model("true", name="a"), device_model("true", name="b")])

    assert read_profile(profile(), models).origin == "DeviceModel/a"


@pytest.mark.parametrize(
    ("value_type", "expression", "text"),
    [
        ("int", "4 * 1024", "4096"),
        ("int", "4u", "4"),
        ("int", "'12'", "12"),
        ("bool", "profile.backend == 'mdev'", "on"),
        ("bool", "'off'", "off"),
        ("bool", "'1'", "on"),
        ("str", "profile.type.id", "vgpu-7"),
    ],
)
def test_a_result_becomes_canonical_text_of_the_declared_type(value_type: str, expression: str, text: str) -> None:
    definition = {"name": "p", "type": value_type}

    [parameter] = read(
        profile(),
        device_model("true", {"name": "p", "initValue": {"expression": expression}}, definitions=[definition]),
    ).parameters

    assert parameter.init_value == text


@pytest.mark.parametrize(
    ("value_type", "expression"),
    [
        ("int", "-1"),
        ("int", "1.0"),
        ("int", "true"),
        ("int", "'08'"),
        ("bool", "1"),
        ("bool", "'yes'"),
        ("str", "5"),
        ("str", "'a\\nb'"),
        ("int", "null"),
        ("str", "b'x'"),
        ("int", "[1]"),
    ],
)
def test_any_other_result_is_a_schema_error_of_that_parameter_alone(value_type: str, expression: str) -> None:
    definitions = [{"name": "bad", "type": value_type}, {"name": "good", "type": "int"}]
    bad = {"name": "bad", "initValue": {"expression": expression}}
    good = {"name": "good", "initValue": {"literal": "1"}}

    reading = read(profile(), device_model("true", bad, good, definitions=definitions))

    assert (reading.resolved, reading.reason, reading.model) == (False, "SchemaError", "vendor.com/t4")
    assert [p.name for p in reading.parameters if p.schema_error] == ["bad"]
    assert "parameter bad: " in reading.message


@pytest.mark.parametrize("allowed", ["[]", "['1', 'x']", "'1'", "[2, 3]", "['3-1']"])
def test_allowed_values_that_make_no_sense_are_a_schema_error(allowed: str) -> None:
    memory = {
        "name": "memory",
        "initValue": {"literal": "1"},
        "allowedValues": {"expression": allowed},
        "attribute": "migration/memory",
    }

    assert read(profile(), device_model("true", memory)).reason == "SchemaError"


def test_allowed_values_may_come_from_an_expression_with_ranges() -> None:
    memory = {
        "name": "memory",
        "initValue": {"literal": "1"},
        "allowedValues": {"expression": "[1, '4-8', '16']"},
        "attribute": "migration/memory",
    }

    [parameter] = read(profile(), device_model("true", memory)).parameters

    assert parameter.allowed_values == ("1", "4-8", "16")


@pytest.mark.parametrize(
    "members",
    [
        {"attributes": [{"name": "a", "value": "4096\0"}]},
        {"facts": [{"name": "a\0b", "value": ""}]},
        {"type": {"id": "vgpu-7\0x"}},
    ],
    ids=["value", "name", "member"],
)
def test_text_with_nul_is_never_read_cut_short(members: dict[str, Any]) -> None:
    reading = read(profile(**members), device_model())

    assert (reading.resolved, reading.reason) == (False, "MatchFailed")
    assert "NUL" in reading.message


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.sampled_from(list(ValueType)))
def test_whatever_text_an_attribute_holds_a_resolved_reading_is_canonical(text: str, value_type: ValueType) -> None:
    spec = profile(attributes=[{"name": "raw", "value": text}])
    raw = {"name": "p", "initValue": {"expression": "profile.attributes.raw"}}

    reading = read(spec, device_model("true", raw, definitions=[{"name": "p", "type": value_type}]))

    if "\0" in text:
        assert reading.reason == "MatchFailed"
        return
    [parameter] = reading.parameters
    assert reading.resolved == (parameter.schema_error is None)
    if parameter.init_value is not None:
        assert parameter.init_value == from_text(value_type, text) == from_text(value_type, parameter.init_value)


def published(**members: Any) -> dict[str, Any]:
    parameter = {"name": "memory", "type": "int", "initValue": "4096", "allowedValues": ["4096"]}
    return {"model": "com.gfx/GPU", "parameters": [parameter]} | members


def test_what_the_driver_publishes_wins_over_a_match() -> None:
    reading = read(profile(published=published()), device_model("true"))

    assert (reading.resolved, reading.model, reading.origin) == (True, "com.gfx/GPU", "Published")
    assert [p.attribute for p in reading.parameters] == ["migration/memory"]
    assert reading.matched_by is None


def test_a_model_of_the_same_name_adds_only_what_the_driver_leaves_open() -> None:
    open_member = {"name": "a", "type": "int", "initValue": "1"}
    said_by_driver = {"name": "b", "type": "int", "initValue": "1", "runtimeWritable": False}
    spec = profile(published=published(parameters=[open_member, said_by_driver]))
    definitions = [
        {"name": "a", "type": "int", "offValue": "0", "runtimeWritable": True},
        {"name": "b", "type": "int", "runtimeWritable": True},
    ]

    reading = read(spec, device_model("true", model="com.gfx/GPU", definitions=definitions, writeStrategy="OffFirst"))

    assert reading.write_strategy == "OffFirst"
    assert [(p.runtime_writable, p.off_value) for p in reading.parameters] == [(True, None), (False, None)]


def test_a_published_parameter_with_a_fault_keeps_the_others() -> None:
    bad = {"name": "bad", "schemaError": "type: no such type"}
    good = {"name": "good", "type": "str", "initValue": "x"}

    reading = read(profile(published=published(parameters=[bad, good])))

    assert (reading.resolved, reading.reason, reading.model) == (False, "SchemaError", "com.gfx/GPU")
    assert [p.schema_error for p in reading.parameters] == ["type: no such type", None]


def test_published_values_are_checked_again() -> None:
    outside = {"name": "memory", "type": "int", "initValue": "1", "allowedValues": ["2"]}

    [parameter] = read(profile(published=published(parameters=[outside]))).parameters

    assert parameter.schema_error is not None


def test_metadata_that_cannot_be_understood_as_a_whole_is_a_schema_error() -> None:
    reading = read(profile(published={"schemaError": "duplicate key memory"}))

    assert (reading.resolved, reading.reason, reading.model) == (False, "SchemaError", None)
    assert reading.schema_error == "duplicate key memory"


def test_the_longest_published_name_can_still_be_read() -> None:
    parameter = {"name": "n" * 255, "type": "int", "initValue": "1"}

    assert read(profile(published=published(parameters=[parameter]))).resolved


def test_an_evaluation_that_takes_too_many_steps_leaves_the_profile_unresolved() -> None:
    facts = "profile.facts"
    expression = f"{facts}.all(a, {facts}.all(b, {facts}.all(c, {facts}.all(d, true))))"
    spec = profile(facts=[{"name": f"f{number}", "value": ""} for number in range(32)])

    reading = read(spec, device_model(expression))

    assert (reading.resolved, reading.reason) == (False, "MatchFailed")
    assert "DeviceModel t4, match q" in reading.message
    assert "budget" in reading.message
