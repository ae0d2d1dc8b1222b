"""``byIdentity``: equal in everything that is known, or not the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.engine.metadata import Verdict
from mdev_api.engine.verdict import compare
from mdev_api.kinds.common import dump
from mdev_api.kinds.device_model import DeviceModel
from mdev_api.kinds.device_profile import DeviceProfile, DeviceProfileSpec, DeviceProfileStatus
from mdev_api.kinds.node_devices import NodeInstance
from mdev_api.meaning import metadata_of, source_of
from mdev_api.reading import Reading, compile_models, read_profile

FULL: dict[str, Any] = {
    "backend": "mdev",
    "driver": {"name": "vgpu", "version": "550.90"},
    "type": {"id": "vgpu-7", "name": "GRID T4-4Q", "deviceAPI": "vfio-pci"},
    "hardware": {"vendor": "0x10de", "device": "0x1eb8", "subsystemVendor": "0x10de", "subsystemDevice": "0x12a2"},
    "attributes": [{"name": "description", "value": "two\nlines"}],
    "facts": [{"name": "ecc", "value": "on"}],
}


def by_identity(name: str = "anything", model: str = "site.example/as-is", **spec: Any) -> DeviceModel:
    content = {"model": model, "byIdentity": True, **spec}
    return DeviceModel.model_validate({"metadata": {"name": name}, "spec": content})


def by_match(expression: str) -> DeviceModel:
    content = {"model": "vendor.com/t4", "matches": [{"name": "q", "expression": expression}]}
    return DeviceModel.model_validate({"metadata": {"name": "t4"}, "spec": content})


def read(content: dict[str, Any], *models: DeviceModel) -> Reading:
    compiled = compile_models(models or (by_identity(),))
    assert [model.problem for model in compiled] == [None] * len(compiled)
    return read_profile(DeviceProfileSpec.model_validate(content), compiled)


def verdict(source: dict[str, Any], destination: dict[str, Any]) -> Verdict:
    """Of a device with the one profile and an offer with the other, as the operator would answer."""
    there, here = (_profile(content) for content in (destination, source))
    instance = NodeInstance.model_validate(
        {"id": "i", "parent": "p", "type": "t", "profile": "p-" + "a" * 26, "inUse": "No", "inUseSource": "None"}
    )
    return compare(source_of(instance, here), metadata_of(there)).verdict


def _profile(content: dict[str, Any]) -> DeviceProfile:
    reading = read(content)
    assert reading.resolved, reading.message
    status = DeviceProfileStatus(model=reading.model, parameters=reading.parameters)
    return DeviceProfile(spec=DeviceProfileSpec.model_validate(content), status=status)


def without(path: str) -> dict[str, Any]:
    group, _, member = path.partition(".")
    if not member:
        return {key: value for key, value in FULL.items() if key != group}
    return FULL | {group: {key: value for key, value in FULL[group].items() if key != member}}


def changed(path: str) -> dict[str, Any]:
    group, _, member = path.partition(".")
    if group in ("attributes", "facts"):
        return FULL | {group: [{"name": member, "value": "other"}]}
    return FULL | {group: {**FULL[group], member: "other"} if member else "other"}


KNOWN = (
    *("backend", "driver.name", "driver.version", "type.id", "type.name", "type.deviceAPI"),
    *("hardware.vendor", "hardware.device", "hardware.subsystemVendor", "hardware.subsystemDevice"),
    *("attributes.description", "facts.ecc"),
)


def test_everything_known_becomes_a_str_that_cannot_be_disabled() -> None:
    reading = read(FULL)

    assert (reading.resolved, reading.reason, reading.model) == (True, "ByIdentity", "site.example/as-is")
    assert (reading.origin, reading.matched_by) == ("DeviceModel/anything", "anything")
    assert tuple(p.name for p in reading.parameters) == KNOWN
    assert {(p.type, p.off_value, p.attribute) for p in reading.parameters} == {("str", None, None)}
    assert [p.allowed_values for p in reading.parameters] == [(p.init_value,) for p in reading.parameters]
    assert dump(reading.parameters[10])["initValue"] == "two\\nlines"


def test_equal_profiles_are_compatible() -> None:
    assert verdict(FULL, dict(reversed(FULL.items()))) is Verdict.COMPATIBLE


@pytest.mark.parametrize("path", KNOWN)
def test_one_difference_is_enough_to_refuse(path: str) -> None:
    assert verdict(FULL, changed(path)) is Verdict.INCOMPATIBLE


@pytest.mark.parametrize("path", ["driver.version", "type.name", "type", "hardware", "hardware.device", "facts"])
def test_what_only_one_side_knows_is_a_difference(path: str) -> None:
    assert verdict(FULL, without(path)) is Verdict.INCOMPATIBLE
    assert verdict(without(path), FULL) is Verdict.INCOMPATIBLE


TEXTS = st.text(st.sampled_from("ab\\n\n\0%=/ \x85é0"), max_size=6) | st.sampled_from(
    ["x" * 256, "x" * 257, "x" * 258, "sha256:" + "0" * 64, "\n" * 200, "\\n" * 200]
)


@given(TEXTS, TEXTS)
def test_texts_are_equal_exactly_where_their_parameters_are(one: str, other: str) -> None:
    value, another = (read(FULL | {"facts": [{"name": "f", "value": text}]}).parameters[-1] for text in (one, other))
    assert (value.init_value == another.init_value) == (one == other)
    assert value.schema_error is None


@given(TEXTS.filter(bool), TEXTS.filter(bool))
def test_names_are_equal_exactly_where_their_parameters_are(one: str, other: str) -> None:
    readings = [read(FULL | {"facts": [{"name": name[:255], "value": ""}]}) for name in (one, other)]
    names = [reading.parameters[-1].name if reading.resolved else reading.message for reading in readings]
    assert (names[0] == names[1]) == (one[:255] == other[:255]) or not any(reading.resolved for reading in readings)


def test_a_name_that_is_too_long_leaves_the_profile_unresolved_instead_of_leaving_it_out() -> None:
    reading = read(FULL | {"facts": [{"name": "/" * 255, "value": ""}]})

    assert (reading.resolved, reading.reason, reading.model) == (False, "IdentityFailed", None)
    assert "DeviceModel anything" in reading.message


def test_more_than_can_be_compared_leaves_the_profile_unresolved() -> None:
    many = [{"name": f"n{number}", "value": ""} for number in range(32)]

    assert read(FULL | {"facts": many, "attributes": many}).reason == "IdentityFailed"


def test_a_match_of_another_model_says_more() -> None:
    reading = read(FULL, by_identity(), by_match("true"))

    assert (reading.reason, reading.model) == ("Matched", "vendor.com/t4")


def test_a_match_that_fails_leaves_identity_no_say() -> None:
    assert read(FULL, by_identity(), by_match("profile.facts['x'] == ''")).reason == "MatchFailed"


def test_two_models_by_identity_are_ambiguous_and_both_named() -> None:
    reading = read(FULL, by_identity("one", "site.example/1"), by_identity("two", "site.example/2"))

    assert (reading.reason, reading.model) == ("AmbiguousModel", None)
    assert "DeviceModel one, DeviceModel two" in reading.message


def test_it_applies_only_where_it_says() -> None:
    assert read(FULL, by_identity(appliesTo={"driver": "other"})).reason == "NoModel"


def test_what_the_driver_publishes_needs_no_identity() -> None:
    published = {"model": "com.vendor/x", "parameters": []}

    assert read(FULL | {"published": published}).origin == "Published"
