"""Values: every spelling to one canonical text, and what is refused with which words."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine.metadata import Allowed, ValueType
from mdev_api.values import (
    MAX_TEXT_BYTES,
    JsonNumber,
    ValueFault,
    allowed_from_entries,
    allowed_from_json,
    allowed_from_sysfs,
    allows,
    entries_from_json,
    entries_from_sysfs,
    from_json,
    from_raw,
    from_sysfs,
    from_text,
    number,
    shown,
    to_json,
)

BOOL, INT, STR = ValueType.BOOL, ValueType.INT, ValueType.STR
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=50)
TYPED = st.one_of(
    st.tuples(st.just(BOOL), st.booleans()),
    st.tuples(st.just(INT), st.integers(min_value=0)),
    st.tuples(st.just(STR), TEXTS),
)


@pytest.mark.parametrize("word", ["on", "true", "1"])
def test_a_true_bool_is_spelled_on(word: str) -> None:
    assert from_text(BOOL, word) == "on"


@pytest.mark.parametrize("word", ["off", "false", "0"])
def test_a_false_bool_is_spelled_off(word: str) -> None:
    assert from_text(BOOL, word) == "off"


@pytest.mark.parametrize("word", ["y", "n", "Y", "yes", "ON", "True", "", " on", "on\n", "2", "01"])
def test_the_api_takes_no_other_spelling_of_a_bool(word: str) -> None:
    with pytest.raises(ValueFault, match="is no bool: on or off is expected"):
        from_text(BOOL, word)


@pytest.mark.parametrize(("text", "canonical"), [("Y\n", "on"), ("y", "on"), ("N\n", "off"), ("n", "off"), ("1", "on")])
def test_sysfs_may_say_y_and_n_in_either_case(text: str, canonical: str) -> None:
    assert from_sysfs(BOOL, text) == canonical


@pytest.mark.parametrize("text", ["0", "7", "4096", "9" * MAX_TEXT_BYTES])
def test_an_int_is_its_own_canonical_text(text: str) -> None:
    assert from_text(INT, text) == text


@pytest.mark.parametrize(
    "text", ["", "-1", "-0", "+1", "01", "00", "1.0", "1e3", "0x10", " 1", "1\n", "1_000", "٣", "²"]
)
def test_an_int_has_no_other_spelling(text: str) -> None:
    with pytest.raises(ValueFault, match="is no int: decimal digits"):
        from_text(INT, text)


def test_an_int_from_sysfs_loses_the_blanks_around_it() -> None:
    assert from_sysfs(INT, " 42 \n") == "42"


@pytest.mark.parametrize("text", ["", " two words ", "0-255", "true", "日本", "a\tb", "\r"])
def test_a_str_is_kept_as_it_is(text: str) -> None:
    assert from_text(STR, text) == text


def test_a_str_from_sysfs_loses_one_newline_and_nothing_else() -> None:
    assert from_sysfs(STR, " a \n") == " a "


def test_a_str_from_sysfs_with_a_second_newline_is_refused() -> None:
    with pytest.raises(ValueFault, match="without newline and NUL"):
        from_sysfs(STR, "a\n\n")


def test_a_str_that_has_lost_its_newline_loses_no_second_one() -> None:
    assert from_raw(STR, "a ") == "a "
    with pytest.raises(ValueFault, match="without newline and NUL"):
        from_raw(STR, "a\n")


@pytest.mark.parametrize("text", ["a\nb", "a\0b"])
def test_a_str_has_neither_newline_nor_nul(text: str) -> None:
    with pytest.raises(ValueFault, match="without newline and NUL"):
        from_text(STR, text)


def test_a_str_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(ValueFault, match="UTF-8"):
        from_json(STR, "\ud800")


def test_the_limit_counts_bytes_and_not_characters() -> None:
    assert from_text(STR, "é" * 2047) == "é" * 2047
    with pytest.raises(ValueFault, match="4096 bytes: at most 4095"):
        from_text(STR, "é" * 2048)


def test_an_int_above_the_limit_is_refused_in_every_form() -> None:
    digits = "1" * 4096
    for parse in (from_text, from_sysfs):
        with pytest.raises(ValueFault, match="at most 4095"):
            parse(INT, digits)
    with pytest.raises(ValueFault, match="at most 4095"):
        from_json(INT, JsonNumber(digits))
    with pytest.raises(ValueFault, match="more than 4095 digits"):
        from_json(INT, 10**4095)


def test_the_longest_int_that_python_holds_is_written_out() -> None:
    assert from_json(INT, 10**4095 - 1) == "9" * 4095


@pytest.mark.parametrize("value", ["on", 1, 0, JsonNumber("1"), None, [], 1.0])
def test_a_json_bool_is_true_or_false_only(value: object) -> None:
    with pytest.raises(ValueFault, match="is no bool: true or false is expected"):
        from_json(BOOL, value)


@pytest.mark.parametrize("text", ["-1", "-0", "1.0", "1e2", "0.5", "1E400"])
def test_a_json_int_has_no_sign_fraction_or_exponent(text: str) -> None:
    with pytest.raises(ValueFault, match="is no int: a number without sign"):
        from_json(INT, JsonNumber(text))


@pytest.mark.parametrize("value", [True, False, "4", None, 4.0, -1, {}])
def test_a_json_int_is_a_number_only(value: object) -> None:
    with pytest.raises(ValueFault, match="is no int"):
        from_json(INT, value)


@pytest.mark.parametrize("value", [True, 4, JsonNumber("4"), None, ["a"]])
def test_a_json_str_is_a_string_only(value: object) -> None:
    with pytest.raises(ValueFault, match="is no str: a string is expected"):
        from_json(STR, value)


@settings(deadline=None)
@given(TYPED)
def test_a_value_survives_json_text_and_sysfs(typed: tuple[ValueType, bool | int | str]) -> None:
    value_type, value = typed
    text = from_json(value_type, value)
    back = to_json(value_type, text)
    assert (type(back), back) == (type(value), value)
    assert from_text(value_type, text) == text
    assert from_sysfs(value_type, text + "\n") == text


@settings(deadline=None)
@given(st.sampled_from(ValueType), st.text(max_size=20))
def test_canonical_text_is_unique_per_typed_value(value_type: ValueType, text: str) -> None:
    for parse in (from_text, from_sysfs):
        try:
            canonical = parse(value_type, text)
        except ValueFault as fault:
            assert "expected" in str(fault) or "UTF-8" in str(fault)
        else:
            assert from_json(value_type, to_json(value_type, canonical)) == canonical


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**1500))
def test_number_reads_what_str_writes(value: int) -> None:
    assert number(str(value)) == value


@pytest.mark.parametrize(
    ("value_type", "text", "entries"),
    [
        (BOOL, "off on\n", ("off", "on")),
        (BOOL, "Y n", ("on", "off")),
        (INT, "0 100-10000\n", ("0", "100-10000")),
        (INT, " 1\t2\n3 ", ("1", "2", "3")),
        (STR, "normal\nall multicast\n0-255\n", ("normal", "all multicast", "0-255")),
        (STR, "a\n\nb\n", ("a", "", "b")),
        (STR, "a\na\n", ("a",)),
    ],
)
def test_an_allowed_values_file_is_split_by_its_type(
    value_type: ValueType, text: str, entries: tuple[str, ...]
) -> None:
    assert entries_from_sysfs(value_type, text) == entries


@pytest.mark.parametrize("value_type", list(ValueType))
@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_allowed_values_file_is_refused(value_type: ValueType, text: str) -> None:
    with pytest.raises(ValueFault, match="empty"):
        entries_from_sysfs(value_type, text)


@pytest.mark.parametrize("entry", ["1-", "-1", "2-1", "1-2-3", "a-b", "01-2", "1-02", "1 - 2", "٣-٤", "10-9"])
def test_a_malformed_range_is_refused(entry: str) -> None:
    with pytest.raises(ValueFault, match="is no range of int"):
        allowed_from_entries(INT, [entry])


@pytest.mark.parametrize("value", ["5", "", "1-", "1..2", "5-3"])
def test_every_string_in_a_json_int_list_must_be_a_range(value: str) -> None:
    with pytest.raises(ValueFault, match="is no range of int"):
        entries_from_json(INT, [JsonNumber("1"), value])


@pytest.mark.parametrize("values", [None, {}, "1-2", True, JsonNumber("1")])
def test_json_allowed_values_must_be_a_list(values: object) -> None:
    with pytest.raises(ValueFault, match="must be a list"):
        allowed_from_json(INT, values)


@pytest.mark.parametrize("value_type", list(ValueType))
def test_an_empty_json_list_is_refused(value_type: ValueType) -> None:
    with pytest.raises(ValueFault, match="empty"):
        allowed_from_json(value_type, [])


@pytest.mark.parametrize(
    ("value_type", "values"), [(BOOL, ["on"]), (BOOL, [1]), (INT, [True]), (STR, [1]), (STR, [None]), (INT, [[1]])]
)
def test_a_json_entry_of_another_type_is_refused(value_type: ValueType, values: list[object]) -> None:
    with pytest.raises(ValueFault):
        allowed_from_json(value_type, values)


def test_ranges_include_both_ends() -> None:
    allowed = allowed_from_json(INT, ["10-20", 512])
    assert [n for n in range(600) if allows(allowed, INT, str(n))] == [*range(10, 21), 512]


def test_a_range_in_a_str_list_is_only_that_string() -> None:
    allowed = allowed_from_json(STR, ["0-255"])
    assert (allows(allowed, STR, "0-255"), allows(allowed, STR, "7")) == (True, False)


def test_without_allowed_values_everything_is_allowed() -> None:
    assert allows(None, STR, "anything")


def test_allowed_values_are_the_same_in_every_form_and_order() -> None:
    assert (
        allowed_from_json(INT, [7, "1-3", "5-6", 7])
        == allowed_from_sysfs(INT, "5-6 7 1-3\n")
        == allowed_from_entries(INT, ["1-3", "7", "5-6"])
        == Allowed(texts=frozenset({"7"}), ranges=((1, 3), (5, 6)))
    )


def test_huge_ranges_and_numbers_cost_no_more_than_their_length() -> None:
    begin = time.perf_counter()
    allowed = allowed_from_entries(INT, [f"1{'0' * 4094}-{'9' * 3_000_000}"])
    assert allows(allowed, INT, "9" * 4095)
    assert not allows(allowed, INT, "9" * 4094)
    with pytest.raises(ValueFault):
        from_text(INT, "9" * 3_000_000)
    assert time.perf_counter() - begin < 2


def test_a_range_beyond_every_value_allows_none() -> None:
    allowed = allowed_from_entries(INT, [f"1{'0' * 4095}-2{'0' * 4095}"])
    assert not allows(allowed, INT, "9" * 4095)


@settings(deadline=None)
@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.none())))
def test_what_a_message_shows_is_one_short_printable_line(value: object) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) < 400


def test_a_long_value_is_shortened_in_the_middle() -> None:
    assert shown("a" * 50 + "b" * 50) == f'"{"a" * 30}"..."{"b" * 30}" (100 characters)'


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner)))
def test_no_json_breaks_the_parsers(value: object) -> None:
    for value_type in ValueType:
        for parse in (from_json, allowed_from_json):
            with contextlib.suppress(ValueFault):
                parse(value_type, json.loads(json.dumps(value)))
