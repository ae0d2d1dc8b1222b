"""The hierarchy form: what a type publishes, what is wrong with it, and what an instance's values are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mdev_node_agent.metadata.hierarchy import read_published
from mdev_node_agent.metadata.publication import Publication
from mdev_node_agent.metadata.published import read_values
from mdev_node_agent.seeing.observation import Unreadable
from mdev_node_agent.sysfs.host import HostPort

Files = dict[str, str | bytes]
MEMORY: Files = {"type": "int\n", "init_value": "4096\n"}


def publish(root: Path, parameters: dict[str, Files], model: str | None = "com.example/card\n") -> Publication:
    """What is read of a type with these files."""
    params = root / "type/migration/params"
    params.mkdir(parents=True)
    if model is not None:
        (params.parent / "model").write_text(model)
    for name, files in parameters.items():
        (params / name).mkdir()
        for file, content in files.items():
            (params / name / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(root)


def read(root: Path) -> Publication:
    with HostPort(root=root).open("type") as directory:
        publication = read_published(directory, "type")
    assert publication is not None
    return publication


def only_parameter(publication: Publication) -> dict[str, Any]:
    assert publication.published is not None
    (parameter,) = publication.published["parameters"]
    assert isinstance(parameter, dict)
    return parameter


def test_a_type_without_migration_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "type").mkdir()
    with HostPort(root=tmp_path).open("type") as directory:
        assert read_published(directory, "type") is None


def test_every_file_becomes_canonical_text_and_parameters_stand_by_name(tmp_path: Path) -> None:
    publication = publish(
        tmp_path,
        {
            "rx mode".replace(" ", "-"): {
                "type": "str\n",
                "init_value": "all on\n",
                "allowed_values": "all on\nnone\n",
            },
            "feature": {
                "type": "bool\n",
                "init_value": "Y\n",
                "off_value": "n\n",
                "allowed_values": "0 1\n",
                "runtime_writable": "1\n",
                "description": "offload\n",
            },
            "queues": {"type": "int\n", "init_value": "4\n", "allowed_values": "0 2-64\n"},
        },
    )
    assert publication.published == {
        "model": "com.example/card",
        "parameters": [
            {
                "name": "feature",
                "type": "bool",
                "initValue": "on",
                "offValue": "off",
                "allowedValues": ["off", "on"],
                "runtimeWritable": True,
                "description": "offload",
            },
            {"name": "queues", "type": "int", "initValue": "4", "allowedValues": ["0", "2-64"]},
            {"name": "rx-mode", "type": "str", "initValue": "all on", "allowedValues": ["all on", "none"]},
        ],
    }
    assert publication.unreadable == ()


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"init_value": "4096\n"}, "type: ENOENT"),
        ({"type": "int\n"}, "init_value: ENOENT"),
        ({**MEMORY, "type": "float\n"}, 'type: "float" is no type'),
        ({**MEMORY, "init_value": "04096\n"}, 'init_value: "04096" is no int'),
        ({**MEMORY, "init_value": b"\xff\n"}, "init_value"),
        ({**MEMORY, "off_value": "none\n"}, 'off_value: "none" is no int'),
        ({**MEMORY, "allowed_values": "\n"}, "allowed_values: the list of allowed values is empty"),
        ({**MEMORY, "allowed_values": "9-1\n"}, "allowed_values"),
        ({**MEMORY, "allowed_values": "1024 2048\n"}, 'init_value: "4096" is not among the allowed values'),
        ({**MEMORY, "runtime_writable": "maybe\n"}, 'runtime_writable: "maybe" is no bool'),
        ({**MEMORY, "allowed_values": " ".join(map(str, range(4096, 4161))) + "\n"}, "65 entries, at most 64"),
    ],
)
def test_what_is_wrong_with_one_parameter_is_that_parameters_fault(tmp_path: Path, files: Files, fault: str) -> None:
    publication = publish(tmp_path, {"memory": files})
    assert fault in only_parameter(publication)["schemaError"]


def test_one_faulty_parameter_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    publication = publish(tmp_path, {"memory": MEMORY, "broken": {"type": "int\n"}})
    assert publication.published is not None
    assert [("schemaError" in p) for p in publication.published["parameters"]] == [True, False]


def test_an_off_value_outside_the_allowed_values_is_no_fault_but_a_warning(tmp_path: Path) -> None:
    publication = publish(tmp_path, {"memory": {**MEMORY, "off_value": "0\n", "allowed_values": "4096\n"}})
    assert "schemaError" not in only_parameter(publication)
    where = 'model "com.example/card", parameter "memory"'
    assert publication.warnings == (f'{where}: off_value "0" is not among the allowed values',)


@pytest.mark.parametrize("files", [MEMORY, {**MEMORY, "off_value": "0\n", "allowed_values": "0 4096\n"}])
def test_metadata_as_it_should_be_gives_no_warning(tmp_path: Path, files: Files) -> None:
    assert publish(tmp_path, {"memory": files}).warnings == ()


def test_files_that_the_form_does_not_know_are_ignored_with_a_warning(tmp_path: Path) -> None:
    publish(tmp_path, {"memory": {**MEMORY, "colour": "red\n", "uevent": "\n"}})
    (tmp_path / "type/migration/version").write_text("1\n")
    publication = read(tmp_path)
    assert publication.warnings == (
        'model "com.example/card": the file "version" is unknown and ignored',
        'model "com.example/card", parameter "memory": the file "colour" is unknown and ignored',
    )
    assert only_parameter(publication) == {"name": "memory", "type": "int", "initValue": "4096"}


def test_the_fault_of_a_profile_names_no_place(tmp_path: Path) -> None:
    publication = publish(tmp_path, {"memory": {"type": "int\n"}})
    assert "type/migration" not in only_parameter(publication)["schemaError"]


@pytest.mark.parametrize("model", ["", "\n", "two words\n", "bad\tname\n"])
def test_a_malformed_model_is_a_fault_of_the_whole(tmp_path: Path, model: str) -> None:
    publication = publish(tmp_path, {"memory": MEMORY}, model)
    assert publication.published is not None
    assert set(publication.published) == {"schemaError"}


def test_an_illegal_parameter_name_is_a_fault_of_the_whole(tmp_path: Path) -> None:
    publication = publish(tmp_path, {"memory": MEMORY, "a=b": MEMORY})
    assert publication.published is not None
    assert "a=b" in publication.published["schemaError"]


def test_a_migration_directory_without_its_model_is_told_for_a_later_look(tmp_path: Path) -> None:
    publication = publish(tmp_path, {"memory": MEMORY}, model=None)
    assert publication.published == {"schemaError": "migration/model: ENOENT (No such file or directory)"}
    assert [(u.path, u.errno) for u in publication.unreadable] == [("type/migration/model", "ENOENT")]


def test_a_migration_directory_without_params_is_told_for_a_later_look(tmp_path: Path) -> None:
    (tmp_path / "type/migration").mkdir(parents=True)
    (tmp_path / "type/migration/model").write_text("com.example/card\n")
    publication = read(tmp_path)
    assert publication.published is not None
    assert publication.published["model"] == "com.example/card"
    assert "params: ENOENT" in publication.published["schemaError"]
    assert [u.name for u in publication.unreadable] == ["params"]


def test_more_parameters_than_the_api_holds_are_a_fault_of_the_whole(tmp_path: Path) -> None:
    publication = publish(tmp_path, {f"p{n}": MEMORY for n in range(65)})
    assert publication.published == {
        "model": "com.example/card",
        "schemaError": "migration/params: 65 parameters, at most 64 are expected",
    }


def test_a_model_without_parameters_is_whole(tmp_path: Path) -> None:
    assert publish(tmp_path, {}).published == {"model": "com.example/card"}


PUBLISHED = {
    "model": "com.example/card",
    "parameters": [
        {"name": "feature", "type": "bool"},
        {"name": "memory", "type": "int"},
        {"name": "strange", "schemaError": "type: ENOENT"},
    ],
}


def values(root: Path, files: dict[str, str]) -> tuple[dict[str, str], tuple[Unreadable, ...]]:
    group = root / "device/migration"
    group.mkdir(parents=True)
    for name, content in files.items():
        (group / name).write_text(content)
    with HostPort(root=root).open("device") as device:
        return read_values(device, "device", PUBLISHED)


def test_values_are_canonical_text(tmp_path: Path) -> None:
    found, _ = values(tmp_path, {"feature": "Y\n", "memory": "4096\n", "strange": "x\n"})
    assert found == {"feature": "on", "memory": "4096"}


def test_text_that_is_not_of_the_type_is_unreadable_without_an_errno(tmp_path: Path) -> None:
    _, told = values(tmp_path, {"feature": "Y\n", "memory": "lots\n"})
    assert [(u.name, u.errno) for u in told] == [("memory", ""), ("strange", "")]


def test_a_missing_value_is_unreadable_with_its_errno(tmp_path: Path) -> None:
    _, told = values(tmp_path, {"feature": "Y\n"})
    assert ("memory", "ENOENT") in [(u.name, u.errno) for u in told]


def test_an_empty_description_is_none(tmp_path: Path) -> None:
    assert "description" not in only_parameter(publish(tmp_path, {"memory": {**MEMORY, "description": "\n"}}))


def test_a_str_with_a_newline_too_many_is_not_made_fit(tmp_path: Path) -> None:
    publication = publish(tmp_path, {"mode": {"type": "str\n", "init_value": "normal\n\n"}})
    assert "init_value" in only_parameter(publication)["schemaError"]
