"""One test for each way in which pydantic's JSON schema differs from a structural schema."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from mdev_api.kinds.common import ATOMIC, KEEP_DEFAULT, ApiModel, list_map, rules
from mdev_api.manifests.structural import ManifestError, structural_schema

Text = Annotated[str, Field(max_length=8)]


class Colour(StrEnum):
    """A colour."""

    RED = "Red"


class Part(ApiModel):
    """A part."""

    name: Text
    """Name of the part."""


def member(annotation: Any, default: Any = ..., **options: Any) -> dict[str, Any]:
    """Schema of the one member of a model."""
    model = type(
        "Model",
        (BaseModel,),
        {"__annotations__": {"it": annotation}, "it": Field(default, **options), "__module__": __name__},
    )
    schema: dict[str, Any] = structural_schema(model)["properties"]["it"]
    return schema


def test_a_reference_is_written_out() -> None:
    assert member(Part) == {
        "type": "object",
        "description": "A part.",
        "required": ["name"],
        "properties": {"name": {"type": "string", "maxLength": 8, "description": "Name of the part."}},
    }


def test_what_stands_beside_a_reference_wins_over_its_target() -> None:
    assert member(Part, description="The part that counts.")["description"] == "The part that counts."


def test_an_optional_member_is_a_member_that_is_not_required() -> None:
    class Model(ApiModel):
        it: Text | None = None

    assert structural_schema(Model) == {"type": "object", "properties": {"it": {"type": "string", "maxLength": 8}}}


def test_an_optional_reference_keeps_its_rules() -> None:
    class Ruled(ApiModel):
        model_config = ConfigDict(json_schema_extra=rules(("true", "never")))

    assert member(Ruled | None, None)["x-kubernetes-validations"] == [{"rule": "true", "message": "never"}]


def test_a_constant_is_an_enum_of_one() -> None:
    assert member(Literal["one"]) == {"type": "string", "enum": ["one"]}


def test_an_enum_keeps_its_values_and_loses_its_title() -> None:
    assert member(Colour) == {"type": "string", "description": "A colour.", "enum": ["Red"]}


def test_a_map_keeps_the_schema_of_its_values() -> None:
    schema = member(dict[str, Text], max_length=4)

    assert schema == {
        "type": "object",
        "maxProperties": 4,
        "additionalProperties": {"type": "string", "maxLength": 8},
    }


@pytest.mark.parametrize("key", [Field(pattern="^k$"), Field(max_length=3)], ids=["pattern", "length"])
def test_a_map_with_bounded_keys_keeps_the_schema_of_its_values(key: Any) -> None:
    assert member(dict[Annotated[str, key], Text])["additionalProperties"] == {"type": "string", "maxLength": 8}


def test_a_tuple_is_an_array_with_its_list_type() -> None:
    annotation = Annotated[tuple[Part, ...], Field(max_length=2, json_schema_extra=list_map("name"))]

    schema = member(annotation)

    assert (schema["type"], schema["maxItems"]) == ("array", 2)
    assert (schema["x-kubernetes-list-type"], schema["x-kubernetes-list-map-keys"]) == ("map", ["name"])
    assert schema["items"]["required"] == ["name"]


def test_a_list_type_survives_an_optional_list() -> None:
    annotation = Annotated[tuple[Text, ...], Field(max_length=2, json_schema_extra=ATOMIC)] | None

    assert member(annotation, None)["x-kubernetes-list-type"] == "atomic"


def test_an_integer_has_a_format_and_its_bounds() -> None:
    assert member(int, ge=1, le=9) == {"type": "integer", "format": "int64", "minimum": 1, "maximum": 9}


def test_exclusive_bounds_of_an_integer_become_inclusive() -> None:
    assert member(int, gt=0, lt=9) == {"type": "integer", "format": "int64", "minimum": 1, "maximum": 8}


def test_exclusive_bounds_of_a_fraction_are_refused() -> None:
    with pytest.raises(ManifestError, match=r"Model\.it: exclusiveMinimum"):
        member(float, gt=0)


def test_members_are_named_as_on_the_wire() -> None:
    class Model(ApiModel):
        boot_id: Text = Field(alias="bootID")
        off_value: Text

    assert sorted(structural_schema(Model)["properties"]) == ["bootID", "offValue"]
    assert sorted(structural_schema(Model)["required"]) == ["bootID", "offValue"]


def test_a_date_keeps_its_format() -> None:
    assert member(Annotated[str, Field(json_schema_extra={"format": "date-time"})]) == {
        "type": "string",
        "format": "date-time",
    }


def test_a_default_that_says_something_is_kept() -> None:
    assert member(Colour, Colour.RED)["default"] == "Red"


@pytest.mark.parametrize(("annotation", "default"), [(tuple[Text, ...], ()), (dict[str, Text], {}), (Text, "")])
def test_an_empty_default_is_left_out(annotation: Any, default: Any) -> None:
    assert "default" not in member(annotation, default)


def test_an_empty_default_that_is_meant_is_kept() -> None:
    schema = member(tuple[Text, ...], (), json_schema_extra=KEEP_DEFAULT)

    assert schema == {"type": "array", "default": [], "items": {"type": "string", "maxLength": 8}}


def test_a_status_has_no_defaults_at_any_depth() -> None:
    class Inner(ApiModel):
        colour: Colour = Colour.RED

    class Status(ApiModel):
        inner: Inner = Inner()

    assert "default" not in str(structural_schema(Status, defaults=False))


def test_a_description_is_one_line() -> None:
    class Model(ApiModel):
        """First line,
        second line."""

    assert structural_schema(Model)["description"] == "First line, second line."


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (int | str, "anyOf of 2 types"),
        (tuple[int, str], "prefixItems"),
        (set[str], "uniqueItems"),
        (Any, "no type"),
    ],
)
def test_what_has_no_structural_form_is_refused_with_its_place(annotation: Any, said: str) -> None:
    with pytest.raises(ManifestError, match=rf"^Model\.it: .*{said}"):
        member(annotation)


class Tree(ApiModel):
    """A tree."""

    children: tuple[Tree, ...] = ()


def test_recursion_is_refused() -> None:
    with pytest.raises(ManifestError, match="Tree contains itself"):
        structural_schema(Tree)
