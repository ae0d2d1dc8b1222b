"""What the generated manifests have in common, and that the checked-in ones are the generated ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdev_api.kube import resources
from mdev_api.manifests.cli import differences, files, main
from mdev_api.manifests.definitions import DEFINITIONS, manifest

CRDS = Path(__file__).resolve().parents[3] / "crds"
MANIFESTS = [manifest(definition) for definition in DEFINITIONS]
NAMES = [content["spec"]["names"]["kind"] for content in MANIFESTS]
SYSTEM = {"apiVersion", "kind", "metadata"}


def schema_of(content: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = content["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def members(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """(path, schema, is it a named member) of everything that this project defines."""
    for name, member in schema.get("properties", {}).items():
        if path or name not in SYSTEM:
            yield f"{path}.{name}", member, True
            yield from members(member, f"{path}.{name}")
    for keyword, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in schema:
            yield f"{path}{suffix}", schema[keyword], False
            yield from members(schema[keyword], f"{path}{suffix}")


def test_the_checked_in_manifests_are_the_generated_ones() -> None:
    assert differences(CRDS) == [], "run mdev-api-manifests crds"


@pytest.mark.parametrize("content", MANIFESTS, ids=NAMES)
def test_every_member_says_what_it_is(content: dict[str, Any]) -> None:
    assert [
        path for path, schema, named in members(schema_of(content)) if named and not schema.get("description")
    ] == []


@pytest.mark.parametrize("content", MANIFESTS, ids=NAMES)
def test_every_string_list_and_map_is_bounded(content: dict[str, Any]) -> None:
    def unbounded(schema: dict[str, Any]) -> bool:
        if schema["type"] == "string":
            return not schema.keys() & {"maxLength", "enum"} and schema.get("format") != "date-time"
        if schema["type"] == "array":
            return "maxItems" not in schema
        return "additionalProperties" in schema and "maxProperties" not in schema

    assert [path for path, schema, _ in members(schema_of(content)) if unbounded(schema)] == []


@pytest.mark.parametrize("content", MANIFESTS, ids=NAMES)
def test_every_list_says_how_it_is_merged(content: dict[str, Any]) -> None:
    lists = [(path, schema) for path, schema, _ in members(schema_of(content)) if schema["type"] == "array"]

    assert [path for path, schema in lists if "x-kubernetes-list-type" not in schema] == []


@pytest.mark.parametrize("content", MANIFESTS, ids=NAMES)
def test_status_is_a_subresource_without_defaults(content: dict[str, Any]) -> None:
    assert content["spec"]["versions"][0]["subresources"] == {"status": {}}
    status = schema_of(content)["properties"]["status"]
    assert [path for path, schema, _ in members(status, ".status") if "default" in schema] == []


def test_a_profile_spec_has_no_defaults_because_its_name_is_a_hash_of_it() -> None:
    spec = schema_of(MANIFESTS[NAMES.index("DeviceProfile")])["properties"]["spec"]

    assert [path for path, schema, _ in members(spec, ".spec") if "default" in schema] == []


def test_the_manifests_are_of_the_resources_that_the_toolkit_talks_to() -> None:
    toolkit = (
        resources.DEVICE_MODELS,
        resources.DEVICE_PROFILES,
        resources.NODE_DEVICES,
        resources.NODE_RESERVATIONS,
        resources.DEVICE_MIGRATIONS,
        resources.COMPATIBILITY_CLASSES,
    )

    generated = {
        (c["spec"]["group"], c["spec"]["names"]["plural"], c["spec"]["names"]["kind"], c["spec"]["scope"])
        for c in MANIFESTS
    }

    assert generated == {(r.group, r.plural, r.kind, "Namespaced" if r.namespaced else "Cluster") for r in toolkit}


def test_the_files_have_no_anchors() -> None:
    events = [event for text in files().values() for event in yaml.parse(text)]

    assert [event for event in events if getattr(event, "anchor", None)] == []


def test_written_files_pass_the_check(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda directory: (directory / "nodedevices.yaml").unlink(), "nodedevices.yaml is missing"),
        (lambda directory: (directory / "nodedevices.yaml").write_text("a: 1\n"), "differs from the kinds"),
        (lambda directory: (directory / "other.yaml").write_text("a: 1\n"), "other.yaml belongs to no kind"),
    ],
    ids=["missing", "outdated", "strange"],
)
def test_the_check_tells_which_file_is_not_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any, said: str
) -> None:
    main([str(tmp_path)])
    spoil(tmp_path)

    assert main(["--check", str(tmp_path)]) == 1
    assert said in capsys.readouterr().err


def test_a_directory_that_is_not_there_is_a_wrong_command_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "absent")])
