"""Published metadata as JSON, of types with several models, of devices without a type: what the agent makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_api.kinds.device_profile import Published
from mdev_node_agent.metadata.info_file import MAX_BYTES, MAX_MODELS, published_models
from mdev_node_agent.metadata.published import choose_model, read_device_published, read_type_published, read_values
from mdev_node_agent.sysfs.host import HostPort
from mdev_node_agent.sysfs.port import LARGEST_ATTRIBUTE

MEMORY: dict[str, Any] = {"type": "int", "init_value": 4096, "allowed_values": [4096, "8192-16384"]}
NIC: dict[str, Any] = {"type": "bool", "init_value": True, "off_value": False, "description": "new"}


def info(**models: Mapping[str, Any]) -> str:
    """A migration info with these models (``__`` in a name stands for ``/``), each with these parameters."""
    named = {name.replace("__", "/"): {"params": params} for name, params in models.items()}
    return json.dumps({"models": named})


class Place:
    """A directory of a sysfs made of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "d").mkdir()

    def put(self, path: str, text: str) -> None:
        file = self.root / "d" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def of_type(self) -> tuple[Mapping[str, Any], ...]:
        with HostPort(root=self.root).open("d") as directory:
            return read_type_published(directory, "d").models

    def of_device(self) -> Mapping[str, Any] | None:
        with HostPort(root=self.root).open("d") as directory:
            return read_device_published(directory, "d").published

    def chosen(self, *models: Mapping[str, Any]) -> tuple[Any, str]:
        with HostPort(root=self.root).open("d") as directory:
            found, told = choose_model(directory, "d", models)
        return (found or {}).get("model"), told.message if told is not None else ""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_driver_that_says_nothing_publishes_nothing(place: Place) -> None:
    assert place.of_type() == () and place.of_device() is None


def test_the_json_of_a_type_becomes_canonical_text(place: Place) -> None:
    place.put("migration_info.json", info(com__GPU={"memory": MEMORY, "nic": NIC}))
    assert place.of_type() == (
        {
            "model": "com/GPU",
            "parameters": [
                {"name": "memory", "type": "int", "initValue": "4096", "allowedValues": ["4096", "8192-16384"]},
                {"name": "nic", "type": "bool", "initValue": "on", "offValue": "off", "description": "new"},
            ],
        },
    )


def test_the_hierarchy_goes_before_the_json(place: Place) -> None:
    place.put("migration_info.json", info(by__json={}))
    place.put("migration/model", "by/files\n")
    (place.root / "d/migration/params").mkdir()
    assert [m["model"] for m in place.of_type()] == ["by/files"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "JSON"),
        ("[]", "must be a JSON object"),
        ('{"models": {}, "models": {}}', "models"),
        ("{}", "models is missing"),
        (" " * (MAX_BYTES + 1), f"at most {MAX_BYTES}"),
        (info(**{f"m{n}": {} for n in range(MAX_MODELS + 1)}), f"at most {MAX_MODELS}"),
    ],
    ids=["no JSON", "a list", "duplicate key", "no models", "too long", "too many models"],
)
def test_json_that_cannot_be_understood_is_a_schema_error_of_the_whole(place: Place, text: str, fault: str) -> None:
    place.put("migration_info.json", text)
    (published,) = place.of_type()
    assert "model" not in published and fault in published["schemaError"]


def test_json_that_names_no_model_publishes_none_and_says_so(place: Place) -> None:
    place.put("migration_info.json", '{"models": {}}')
    with HostPort(root=place.root).open("d") as directory:
        of_type, of_device = read_type_published(directory, "d"), read_device_published(directory, "d")
    warning = ("models is empty: no model is named",)
    assert (of_type.models, of_type.warnings) == ((), warning)
    assert (of_device.published, of_device.warnings) == (None, warning)


def test_a_model_that_cannot_be_understood_keeps_its_name_beside_the_fault(place: Place) -> None:
    place.put("migration_info.json", '{"models": {"bad": {}, "good": {"params": {}}}}')
    bad, good = place.of_type()
    assert (bad["model"], "params is missing" in bad["schemaError"], good) == ("bad", True, {"model": "good"})


def test_json_larger_than_any_attribute_is_a_schema_error_and_told(place: Place) -> None:
    place.put("migration_info.json", " " * (LARGEST_ATTRIBUTE + 1))
    with HostPort(root=place.root).open("d") as directory:
        said = read_type_published(directory, "d")
    assert [m["schemaError"] for m in said.models] == ["migration_info.json: EFBIG (File too large)"]
    assert [(u.path, u.errno) for u in said.unreadable] == [("d/migration_info.json", "EFBIG")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "int"},
        {"init_value": 1},
        {"type": "int", "init_value": "1"},
        {"type": "bool", "init_value": 1},
        {"type": "int", "init_value": 1, "allowed_values": [2]},
        {"type": "int", "init_value": 1, "allowed_values": ["2-1"]},
        {"type": "int", "init_value": 1, "allowed_values": []},
    ],
    ids=["no init", "no type", "text for int", "int for bool", "init outside", "reversed range", "nothing allowed"],
)
def test_a_wrong_parameter_is_a_schema_error_of_it_alone(place: Place, wrong: Mapping[str, Any]) -> None:
    place.put("migration_info.json", info(m={"bad": wrong, "nic": NIC}))
    ((bad, good),) = [p["parameters"] for p in place.of_type()]
    assert bad["schemaError"] and "initValue" not in bad and good["initValue"] == "on"


def test_each_model_of_a_type_is_published_for_itself_in_the_order_of_names(place: Place) -> None:
    place.put("migration_info.json", info(z={}, a={"memory": MEMORY}))
    assert [m["model"] for m in place.of_type()] == ["a", "z"]


_KEYS = st.sampled_from(["models", "params", "type", "init_value", "m"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
_JSON = st.recursive(_LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(_KEYS, x, max_size=3))


@given(st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_file_holds_there_is_an_answer_that_the_api_takes(data: bytes) -> None:
    said = published_models(data)
    assert said.models or said.warnings
    for published in said.models:
        Published.model_validate(published)


class TestWithoutType:
    def test_a_device_publishes_as_files(self, place: Place) -> None:
        place.put("migration_info/model", "com/nic\n")
        for name, text in {"type": "int", "init_value": "2", "allowed_values": "1-4"}.items():
            place.put(f"migration_info/params/queues/{name}", f"{text}\n")
        published = place.of_device()
        assert published == {
            "model": "com/nic",
            "parameters": [{"name": "queues", "type": "int", "initValue": "2", "allowedValues": ["1-4"]}],
        }

    def test_a_device_publishes_as_json_and_shows_values_in_its_own_files(self, place: Place) -> None:
        place.put("migration_info.json", info(com__nic={"queues": {"type": "int", "init_value": 2}}))
        place.put("migration/queues", "3\n")
        published = place.of_device()
        assert published is not None
        with HostPort(root=place.root).open("d") as directory:
            assert read_values(directory, "d", published) == ({"queues": "3"}, ())

    def test_one_of_several_models_is_the_one_that_the_device_names(self, place: Place) -> None:
        place.put("migration_info.json", info(a={}, b={}))
        place.put("migration/model", "b\n")
        assert place.of_device() == {"model": "b"}

    @pytest.mark.parametrize("named", [None, "c\n"], ids=["no name", "another name"])
    def test_one_of_several_models_that_is_not_said_is_a_schema_error(self, place: Place, named: str | None) -> None:
        place.put("migration_info.json", info(a={}, b={}))
        if named is not None:
            place.put("migration/model", named)
        published = place.of_device()
        assert published is not None and "any of the models" in published["schemaError"]


class TestWhichModel:
    A: Mapping[str, Any] = {"model": "a"}
    B: Mapping[str, Any] = {"model": "b"}

    def test_a_device_of_a_type_with_one_model_is_of_that(self, place: Place) -> None:
        assert place.chosen(self.A) == ("a", "")

    def test_the_device_says_it_in_its_values(self, place: Place) -> None:
        place.put("migration/model", "b\n")
        assert place.chosen(self.A, self.B) == ("b", "")

    def test_or_by_metadata_of_its_own_with_one_model(self, place: Place) -> None:
        place.put("migration_info.json", info(b={}))
        assert place.chosen(self.A, self.B) == ("b", "")

    def test_one_that_does_not_say_is_told(self, place: Place) -> None:
        model, told = place.chosen(self.A, self.B)
        assert model is None and "the device does not say which it is" in told
