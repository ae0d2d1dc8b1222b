"""What the engine is told of a profile, of a device and of what a user describes."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_api.engine.metadata import Allowed, Code, ValueType, Verdict
from mdev_api.engine.verdict import compare
from mdev_api.kinds.device_migration import ExplicitDevice
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_devices import NodeInstance
from mdev_api.meaning import explicit_source, instance_values, metadata_of, source_of

MEMORY = {
    "name": "memory",
    "type": "int",
    "initValue": "4096",
    "offValue": "0",
    "allowedValues": ["1024", "2048-8192"],
    "attribute": "migration/memory",
}


def profile(*parameters: dict[str, Any], **status: Any) -> DeviceProfile:
    content = {"model": "com.gfx/GPU", "parameters": parameters or [MEMORY]} | status
    spec = {"backend": "mdev", "driver": {"name": "gfx"}}
    return DeviceProfile.model_validate({"metadata": {"name": "p-x"}, "spec": spec, "status": content})


def unread() -> DeviceProfile:
    return DeviceProfile.model_validate(
        {"metadata": {"name": "p-x"}, "spec": {"backend": "mdev", "driver": {"name": "gfx"}}}
    )


def unresolved(reason: str, message: str = "because") -> DeviceProfile:
    condition = {
        "type": "Resolved",
        "status": "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return profile(model=None, parameters=[], conditions=[condition])


def instance(**members: Any) -> NodeInstance:
    base = {"id": "i-1", "parent": "0000:00:01.0", "type": "t", "profile": "p-" + "a" * 26}
    return NodeInstance.model_validate(base | members)


def explicit(*values: dict[str, Any], **members: Any) -> ExplicitDevice:
    return ExplicitDevice.model_validate({"name": "gpu", "model": "com.gfx/GPU", "values": values} | members)


def test_a_reading_becomes_metadata_with_ranges() -> None:
    metadata = metadata_of(profile())

    assert (metadata.model, metadata.fault) == ("com.gfx/GPU", None)
    [memory] = metadata.parameters
    assert (memory.type, memory.init, memory.off, memory.fault) == (ValueType.INT, "4096", "0", None)
    assert memory.allowed == Allowed(texts=frozenset({"1024"}), ranges=((2048, 8192),))


def test_absent_allowed_values_are_no_bound() -> None:
    [parameter] = metadata_of(profile({"name": "p", "type": "str", "initValue": ""})).parameters

    assert (parameter.init, parameter.allowed) == ("", None)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"schemaError": "no such type"}, "no such type"),
        ({"type": None}, "type is missing"),
        ({"initValue": None}, "initValue is missing"),
        ({"initValue": "many"}, "many"),
        ({"offValue": "-1"}, "-1"),
        ({"allowedValues": ["9-1"]}, "9-1"),
        ({"initValue": "9"}, "not among its allowed values"),
    ],
)
def test_what_does_not_pass_is_a_fault_of_that_parameter(members: dict[str, Any], said: str) -> None:
    metadata = metadata_of(profile({**MEMORY, **members}, {"name": "good", "type": "bool", "initValue": "on"}))

    bad, good = metadata.parameters
    assert bad.fault is not None
    assert said in bad.fault
    assert good.fault is None


def test_an_off_value_that_is_not_allowed_is_no_fault() -> None:
    assert metadata_of(profile(MEMORY | {"offValue": "7"})).parameters[0].fault is None


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (unread(), Code.SCHEMA_ERROR),
        (unresolved("NoModel"), Code.NO_MODEL),
        (unresolved("MatchFailed"), Code.SCHEMA_ERROR),
        (unresolved("AmbiguousModel"), Code.SCHEMA_ERROR),
        (profile(model=None), Code.SCHEMA_ERROR),
        (profile(schemaError="duplicate key"), Code.SCHEMA_ERROR),
    ],
    ids=["unread", "no model", "match failed", "ambiguous", "no condition", "schema error"],
)
def test_an_uncertain_profile_is_unknown_as_source_and_as_destination(read: DeviceProfile, code: Code) -> None:
    certain = profile()

    as_destination = compare(source_of(instance(), certain), metadata_of(read))
    as_source = compare(source_of(instance(), read), metadata_of(certain))

    assert (as_destination.verdict, [r.code for r in as_destination.reasons]) == (Verdict.UNKNOWN, [code])
    assert (as_source.verdict, [r.code for r in as_source.reasons]) == (Verdict.UNKNOWN, [code])


def test_the_reason_of_an_uncertain_profile_is_told() -> None:
    fault = metadata_of(unresolved("MatchFailed", "DeviceModel t4, match q: no key fb")).fault

    assert fault is not None
    assert "DeviceModel t4, match q: no key fb" in fault


def value_of(seen: NodeInstance, read: DeviceProfile) -> tuple[str | None, str | None]:
    [parameter] = source_of(seen, read).parameters
    return parameter.value, parameter.unreadable


def test_a_device_without_values_has_the_init_values() -> None:
    assert value_of(instance(), profile()) == ("4096", None)


def test_a_published_value_wins_over_everything() -> None:
    seen = instance(
        values={"memory": "1024"},
        unreadable=[{"name": "memory", "errno": "EIO", "message": "m"}],
        attributes={"migration/memory": "2048"},
    )

    assert value_of(seen, profile()) == ("1024", None)


@pytest.mark.parametrize("name", ["memory", "migration/memory"])
def test_an_unreadable_parameter_has_no_value_though_there_is_text(name: str) -> None:
    seen = instance(
        unreadable=[{"name": name, "errno": "EIO", "message": "cannot be read"}],
        attributes={"migration/memory": "2048"},
    )

    assert value_of(seen, profile()) == (None, "cannot be read (EIO)")


def test_raw_text_is_read_in_the_grammar_of_sysfs() -> None:
    flag = {"name": "ecc", "type": "bool", "initValue": "off", "attribute": "ecc"}

    assert value_of(instance(attributes={"ecc": "Y"}), profile(flag)) == ("on", None)


def test_raw_text_has_lost_its_newline_and_is_no_str_with_another() -> None:
    mode = {"name": "mode", "type": "str", "initValue": "normal", "attribute": "vendor/mode"}

    assert value_of(instance(attributes={"vendor/mode": "all on"}), profile(mode)) == ("all on", None)
    assert value_of(instance(attributes={"vendor/mode": "all on\n"}), profile(mode))[0] is None


def test_raw_text_of_another_type_is_unreadable() -> None:
    value, why = value_of(instance(attributes={"migration/memory": "lots"}), profile())

    assert value is None
    assert why is not None
    assert "i-1" in why


def test_raw_text_of_a_parameter_without_a_file_is_not_looked_at() -> None:
    fixed = {"name": "ports", "type": "int", "initValue": "2"}

    assert value_of(instance(attributes={"ports": "1"}), profile(fixed)) == ("2", None)


def test_a_faulty_parameter_is_a_fault_of_the_source_too() -> None:
    [parameter] = source_of(instance(), profile(MEMORY | {"initValue": "many"})).parameters

    assert parameter.fault is not None
    assert (parameter.value, parameter.unreadable) == (None, None)


def test_current_values_of_a_readable_device() -> None:
    assert instance_values(instance(values={"memory": "1024"}), profile()) == {"memory": "1024"}


@pytest.mark.parametrize(
    ("seen", "read"),
    [
        (instance(unreadable=[{"name": "memory", "message": "m"}]), profile()),
        (instance(), profile(MEMORY | {"initValue": "many"})),
        (instance(), unread()),
        (instance(), unresolved("NoModel")),
    ],
    ids=["unreadable", "faulty", "unread", "no model"],
)
def test_values_that_are_not_all_known_are_not_known(seen: NodeInstance, read: DeviceProfile) -> None:
    assert instance_values(seen, read) is None


def test_an_explicit_source_has_its_values_in_canonical_text() -> None:
    source = explicit_source(
        explicit(
            {"name": "memory", "type": "int", "value": "4096"},
            {"name": "ecc", "type": "bool", "value": "true", "offValue": "0"},
        )
    )

    assert (source.model, source.fault) == ("com.gfx/GPU", None)
    assert [(p.name, p.value, p.off, p.fault) for p in source.parameters] == [
        ("memory", "4096", None, None),
        ("ecc", "on", "off", None),
    ]


@pytest.mark.parametrize(
    "value",
    [
        {"name": "memory", "type": "int", "value": "0x10"},
        {"name": "memory", "type": "int", "value": "1", "offValue": "none"},
        {"name": "..", "type": "int", "value": "1"},
    ],
)
def test_an_explicit_value_that_does_not_pass_is_a_fault(value: dict[str, Any]) -> None:
    [parameter] = explicit_source(explicit(value)).parameters

    assert parameter.fault is not None


def test_a_model_name_that_is_not_legal_is_a_schema_error_and_not_no_model() -> None:
    answer = compare(explicit_source(explicit(model="two words")), metadata_of(profile()))

    assert (answer.verdict, [r.code for r in answer.reasons]) == (Verdict.UNKNOWN, [Code.SCHEMA_ERROR])


def test_a_version_is_not_guessed() -> None:
    answer = compare(explicit_source(explicit(version="v2")), metadata_of(profile(MEMORY | {"offValue": None})))

    assert (answer.verdict, [r.code for r in answer.reasons]) == (Verdict.UNKNOWN, [Code.SCHEMA_ERROR])
