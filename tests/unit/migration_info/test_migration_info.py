"""Migration info JSON: what cannot be used at all, what is a fault of what, and what is only a warning."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine.metadata import Allowed, Metadata, Parameter, SourceParameter, ValueType
from mdev_api.migration_info import DestinationInfo, UnusableError, parse_destination, parse_source

INT, BOOL, STR = ValueType.INT, ValueType.BOOL, ValueType.STR
GOOD = {"type": "int", "init_value": 1}


def destination(text: str) -> DestinationInfo:
    return parse_destination(text.encode())


def with_models(models: Any) -> DestinationInfo:
    return destination(json.dumps({"models": models}))


def only(body: str) -> Parameter:
    """The parameter p that is defined by this JSON text."""
    info = destination('{"models": {"m": {"params": {"p": ' + body + "}}}}")
    metadata = info.metadata_for("m")
    assert (metadata.fault, len(metadata.parameters)) == (None, 1)
    return metadata.parameters[0]


def refused_source(text: str) -> str:
    with pytest.raises(UnusableError) as caught:
        parse_source(text.encode())
    return str(caught.value)


NOT_JSON = {
    "nothing": b"",
    "blanks": b" \n",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "Latin-1": '{"é": 1}'.encode("latin-1"),
    "encoded surrogates": b'{"\xed\xa0\x80": 1}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": [Infinity]}',
    "minus Infinity": b'{"a": -Infinity}',
    "a leading zero": b'{"a": 01}',
    "single quotes": b"{'a': 1}",
    "a trailing comma": b'{"a": 1,}',
    "a comment": b"{} // no",
    "two documents": b"{} {}",
    "a raw newline in a string": b'{"a": "\n"}',
    "a form feed as blank": b"\x0c{}",
    "half an object": b'{"models": {',
    "nesting without end": b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_no_json_is_unusable_on_either_side(case: str) -> None:
    for parse in (parse_source, parse_destination):
        with pytest.raises(UnusableError) as caught:
            parse(NOT_JSON[case])
        assert str(caught.value).isprintable()


def test_a_byte_order_mark_is_told_as_such() -> None:
    with pytest.raises(UnusableError, match="begins with a byte order mark: UTF-8 without one is expected"):
        parse_source(NOT_JSON["a byte order mark"])


@pytest.mark.parametrize("text", ["[]", "null", "1", '"x"', "true", "[{}]"])
def test_what_is_no_object_is_unusable_on_either_side(text: str) -> None:
    for parse in (parse_source, parse_destination):
        with pytest.raises(UnusableError, match="must be a JSON object"):
            parse(text.encode())


def test_a_source_is_read_with_every_type() -> None:
    info = parse_source(
        b'{"model": "m", "params": {"b": {"type": "bool", "value": true, "off_value": false},'
        b' "i": {"type": "int", "value": 64}, "s": {"type": "str", "value": "x y"}}}'
    )
    assert info.source.model == "m"
    assert info.source.parameters == (
        SourceParameter(name="b", type=BOOL, value="on", off="off"),
        SourceParameter(name="i", type=INT, value="64"),
        SourceParameter(name="s", type=STR, value="x y"),
    )
    assert info.warnings == ()


@pytest.mark.parametrize("text", ['{"params": {}}', '{"model": null, "params": {}}'])
def test_a_source_without_model_names_none(text: str) -> None:
    assert parse_source(text.encode()).source.model is None


@pytest.mark.parametrize(
    ("body", "why"), [('{"type": "int"}', "value is missing"), ('{"type": "int", "value": null}', "value is null")]
)
def test_a_source_value_that_is_not_there_is_unreadable(body: str, why: str) -> None:
    parameter = parse_source(f'{{"model": "m", "params": {{"p": {body}}}}}'.encode()).source.parameters[0]
    assert (parameter.value, parameter.unreadable) == (None, why)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "params is missing"),
        ('{"model": "m"}', "params is missing"),
        ('{"model": "m", "params": null}', "params must be an object, not null"),
        ('{"model": "m", "params": []}', "params must be an object, not a list"),
        ('{"model": 1, "params": {}}', "model must be a string, not 1"),
        ('{"model": "", "params": {}}', "model name is empty"),
        ('{"model": "a b", "params": {}}', "U+0020"),
        ('{"model": "m", "model": "m", "params": {}}', 'key "model" occurs twice'),
        ('{"model": "m", "params": {}, "x": [{"y": {"z": 1, "z": 1}}]}', 'key "z" occurs twice'),
        ('{"model": null, "params": {"p": 1}}', "must be an object, not 1"),
        ('{"model": "m", "params": {"p": {"value": 1}}}', "type is missing"),
        ('{"model": "m", "params": {"p": {"type": null, "value": 1}}}', "type is null"),
        ('{"model": "m", "params": {"p": {"type": "Int", "value": 1}}}', "bool, int or str"),
        ('{"model": "m", "params": {"p": {"type": "int", "value": "1"}}}', 'value: "1" is no int'),
        ('{"model": "m", "params": {"p": {"type": "int", "value": 1.0}}}', "value: 1.0 is no int"),
        ('{"model": "m", "params": {"p": {"type": "int", "value": -0}}}', "value: -0 is no int"),
        ('{"model": "m", "params": {"p": {"type": "int", "value": true}}}', "value: true is no int"),
        ('{"model": "m", "params": {"p": {"type": "bool", "value": 1}}}', "value: 1 is no bool"),
        ('{"model": "m", "params": {"p": {"type": "str", "value": "a\\nb"}}}', "without newline"),
        ('{"model": "m", "params": {"p": {"type": "str", "value": "\\ud800"}}}', "UTF-8"),
        (
            '{"model": "m", "params": {"p": {"type": "int", "value": 1, "off_value": null}}}',
            "off_value: null is no int",
        ),
        ('{"model": "m", "params": {"p": {"type": "int", "off_value": "0"}}}', 'off_value: "0" is no int'),
        ('{"model": "m", "params": {"a=b": {"type": "int", "value": 1}}}', "has a ="),
        ('{"model": "m", "params": {"\\ud800": {"type": "int", "value": 1}}}', "UTF-8"),
        (f'{{"model": "m", "params": {{"p": {{"type": "int", "value": {"9" * 5000}}}}}}}', "at most 4095"),
    ],
)
def test_any_fault_of_a_source_is_told_in_a_sentence(text: str, words: str) -> None:
    message = refused_source(text)
    assert words in message
    assert message.isprintable()


def test_unknown_members_of_a_source_are_warned_of() -> None:
    info = parse_source(b'{"model": "m", "x": null, "params": {"p": {"type": "int", "value": 1, "init_value": 2}}}')
    assert info.warnings == (
        'the member "x" is unknown and ignored',
        'parameter "p": the member "init_value" is unknown and ignored',
    )


def test_a_destination_is_read_in_its_order_of_definition() -> None:
    info = destination(
        '{"models": {"m": {"params": {"z": {"type": "int", "init_value": 1, "off_value": 0,'
        ' "allowed_values": [0, "1-3"], "description": "d"}, "a": {"type": "bool", "init_value": true}}}}}'
    )
    assert info.metadata_for("m") == Metadata(
        model="m",
        parameters=(
            Parameter(name="z", type=INT, init="1", off="0", allowed=Allowed(texts=frozenset("0"), ranges=((1, 3),))),
            Parameter(name="a", type=BOOL, init="on"),
        ),
    )
    assert info.warnings == ()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("5", "must be an object, not 5"),
        ("null", "must be an object, not null"),
        ("{}", "type is missing; the member init_value is missing"),
        ('{"type": "int"}', "init_value is missing"),
        ('{"init_value": 1}', "type is missing"),
        ('{"type": "enum", "init_value": 1}', 'type is "enum"'),
        ('{"type": ["int"], "init_value": 1}', "type is a list"),
        ('{"type": "int", "init_value": null}', "init_value: null is no int"),
        ('{"type": "int", "init_value": "1"}', 'init_value: "1" is no int'),
        ('{"type": "int", "init_value": 1e0}', "init_value: 1e0 is no int"),
        ('{"type": "bool", "init_value": "on"}', 'init_value: "on" is no bool'),
        ('{"type": "str", "init_value": "a\\u0000"}', "without newline and NUL"),
        ('{"type": "int", "init_value": 1, "off_value": null}', "off_value: null is no int"),
        ('{"type": "int", "init_value": 1, "off_value": false}', "off_value: false is no int"),
        ('{"type": "int", "init_value": 1, "allowed_values": []}', "empty"),
        ('{"type": "int", "init_value": 1, "allowed_values": null}', "must be a list"),
        ('{"type": "int", "init_value": 1, "allowed_values": "1-2"}', "must be a list"),
        ('{"type": "int", "init_value": 1, "allowed_values": [1, "1"]}', "no range of int"),
        ('{"type": "int", "init_value": 1, "allowed_values": [1, true]}', "true is no int"),
        ('{"type": "int", "init_value": 1, "allowed_values": ["9-1"]}', "minimum is above"),
        ('{"type": "int", "init_value": 1, "allowed_values": [2, "3-9"]}', 'init_value "1" is not among'),
        ('{"type": "str", "init_value": "5", "allowed_values": ["0-9"]}', 'init_value "5" is not among'),
        ('{"type": "int", "init_value": 1, "description": 5}', "description must be a string"),
        ('{"type": "int", "init_value": 1, "type": "int"}', 'key "type" occurs twice'),
        ('{"type": "int", "init_value": 1, "x": [{"y": 1, "y": 2}]}', 'key "y" occurs twice'),
    ],
)
def test_a_fault_inside_a_parameter_is_that_parameter_s(body: str, words: str) -> None:
    parameter = only(body)
    assert parameter.fault is not None
    assert words in parameter.fault
    assert (parameter.type, parameter.init, parameter.allowed) == (None, None, None)


def test_a_parameter_that_is_defined_twice_is_faulty() -> None:
    info = destination('{"models": {"m": {"params": {"p": {"type": "int", "init_value": 1}, "p": {}, "q": {}}}}}')
    assert [(p.name, "twice" in (p.fault or "")) for p in info.metadata_for("m").parameters] == [
        ("p", True),
        ("q", False),
    ]


def test_an_illegal_parameter_name_is_that_parameter_s_fault() -> None:
    parameter = with_models({"m": {"params": {"a b": GOOD}}}).metadata_for("m").parameters[0]
    assert (parameter.name, "U+0020" in (parameter.fault or "")) == ("a b", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "models is missing"),
        ('{"models": null}', "models must be an object, not null"),
        ('{"models": []}', "models must be an object, not a list"),
        ('{"models": {"m": {"params": {}}}, "models": {"m": {"params": {}}}}', 'key "models" occurs twice'),
    ],
)
def test_a_fault_that_hides_all_models_is_of_the_whole(text: str, words: str) -> None:
    metadata = destination(text).metadata_for("m")
    assert metadata.model is None
    assert words in (metadata.fault or "")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("7", "must be an object, not 7"),
        ("{}", "params is missing"),
        ('{"params": null}', "params must be an object, not null"),
        ('{"params": {}, "params": {}}', 'key "params" occurs twice'),
    ],
)
def test_a_fault_that_hides_the_parameters_is_of_the_whole(body: str, words: str) -> None:
    metadata = destination('{"models": {"m": ' + body + "}}").metadata_for("m")
    assert (metadata.model, metadata.parameters, metadata.parameters_known) == ("m", (), False)
    assert words in (metadata.fault or "")


def test_a_model_that_is_there_twice_has_no_definition() -> None:
    metadata = destination('{"models": {"m": {"params": {}}, "m": {"params": {}}}}').metadata_for("m")
    assert (metadata.fault, metadata.parameters_known) == ('model "m" occurs twice', False)


@pytest.mark.parametrize(
    "text",
    [
        '{"models": {"m": {"params": {"p": {"type": "int", "init_value": 1}}}}, "x": 1, "x": 2}',
        '{"models": {"m": {"params": {"p": {"type": "int", "init_value": 1}}}}, "x": {"y": 1, "y": 2}}',
        '{"models": {"m": {"params": {"p": {"type": "int", "init_value": 1}}, "x": [{"y": 1, "y": 2}]}}}',
    ],
)
def test_a_duplicate_key_beside_the_definitions_leaves_them_known(text: str) -> None:
    metadata = destination(text).metadata_for("m")
    assert "occurs twice" in (metadata.fault or "")
    assert (metadata.parameters_known, [p.fault for p in metadata.parameters]) == (True, [None])


def test_of_several_models_only_the_equal_one_s_faults_count() -> None:
    info = destination('{"models": {"n": 5, "m": {"params": {}}, "o": {"params": {"p": {}}}, "": {}, "n": 5}}')
    assert info.metadata_for("m") == Metadata(model="m")


def test_without_the_equal_model_there_is_another_one() -> None:
    info = with_models({"z": 5, "b": {"params": {}}, "": {}})
    assert info.metadata_for("m").model == "b"


def test_a_name_that_is_not_legal_names_no_model() -> None:
    metadata = with_models({"a b": {"params": {}}}).metadata_for("m")
    assert metadata.model is None
    assert "U+0020" in (metadata.fault or "")


@pytest.mark.parametrize("text", ['{"models": {}}', '{"models": {}, "x": 1, "x": 1}'])
def test_no_models_at_all_is_no_fault(text: str) -> None:
    assert destination(text).metadata_for("m") == Metadata(model=None)


def test_an_off_value_outside_is_a_warning() -> None:
    info = with_models({"m": {"params": {"p": {**GOOD, "allowed_values": [1], "off_value": 0}}}})
    assert info.metadata_for("m").parameters[0].fault is None
    assert info.warnings == ('model "m", parameter "p": off_value "0" is not among the allowed values',)


def test_unknown_members_of_a_destination_are_warned_of() -> None:
    info = destination(json.dumps({"v": 3, "models": {"m": {"w": 1, "params": {"p": {**GOOD, "unit": "MB"}}}}}))
    assert info.warnings == (
        'the member "v" is unknown and ignored',
        'model "m": the member "w" is unknown and ignored',
        'model "m", parameter "p": the member "unit" is unknown and ignored',
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["int", "1-5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["models", "params", "model", "type", "value", "init_value", "off_value", "allowed_values", "m"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


WHOLE = json.dumps(
    {"models": {"vendor.com/é": {"params": {"p": {**GOOD, "off_value": 0, "allowed_values": [1, "2-9"]}}}}},
    ensure_ascii=False,
).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good document with a few bytes taken out, put in or changed."""
    data = bytearray(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@given(damaged())
@settings(deadline=None)
def test_a_damaged_document_is_read_or_refused_with_the_place_of_the_damage(data: bytes) -> None:
    try:
        info = parse_destination(data)
    except UnusableError as error:
        place = r"line \d+ column \d+|byte \d+|it begins with|must be a JSON object|NaN"
        assert re.search(place, str(error)), error
    else:
        assert info.fault is not None or info.models is not None


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None)
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    for parse in (parse_source, parse_destination):
        try:
            parse(data)
        except UnusableError as error:
            assert str(error).isprintable()
