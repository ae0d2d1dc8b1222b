"""Values, fuzzed: from whichever source a text comes, the answer is one canonical text or ValueFault, nothing else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine.metadata import ValueType
from mdev_api.strict_json import load
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
    to_json,
)

BOOL, INT, STR = ValueType.BOOL, ValueType.INT, ValueType.STR
TYPES = st.sampled_from(ValueType)
ANY_CHARACTER = st.characters(exclude_categories=())
ANY_TEXT = st.one_of(
    st.text(ANY_CHARACTER, max_size=30),
    st.text("0123456789-+ \t\n_.eE٣²", max_size=12),
    st.sampled_from(["on", "off", "true", "false", "Y", "n", "yes", "ON", "1", "0", "00", "-0"]).flatmap(
        lambda word: st.sampled_from([word, f"{word}\n", f" {word}", f"{word}\n\n", f"{word}\0", f"\ufeff{word}"])
    ),
    st.integers(MAX_TEXT_BYTES - 2, MAX_TEXT_BYTES + 2).flatmap(lambda n: st.sampled_from(["1" * n, "a" * n, "é" * n])),
)
JSON_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", fullmatch=True).filter(str.isascii)
ANY_OBJECT = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.tuples(st.sampled_from([4094, 4095, 5000]), st.sampled_from([1, -1])).map(lambda p: p[1] * 10 ** p[0]),
        st.floats(),
        st.binary(max_size=4),
        ANY_TEXT,
        JSON_NUMBERS.map(JsonNumber),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=2) | st.tuples(inner),
    max_leaves=8,
)
STRINGS = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=40)
DIGITS = st.one_of(
    st.integers(min_value=0).map(str), st.integers(1, MAX_TEXT_BYTES).map(lambda n: "9" * n), st.just("0")
)
SPELLED = {
    True: {"text": ["on", "true", "1"], "sysfs": ["on", "true", "1", "y", "Y"]},
    False: {"text": ["off", "false", "0"], "sysfs": ["off", "false", "0", "n", "N"]},
}
BLANKS = st.text(" \t\n", max_size=3)


def answered(parse: Any, value_type: ValueType, given_: object) -> str | None:
    """Canonical text, or None for ValueFault; any other exception fails the test."""
    try:
        answer = parse(value_type, given_)
    except ValueFault as fault:
        assert str(fault).isprintable()
        return None
    assert isinstance(answer, str)
    return answer


@settings(deadline=None, max_examples=500)
@given(TYPES, ANY_TEXT)
def test_of_any_text_a_parser_makes_canonical_text_or_a_value_fault(value_type: ValueType, text: str) -> None:
    for parse in (from_text, from_sysfs, from_raw):
        canonical = answered(parse, value_type, text)
        if canonical is not None:
            assert len(canonical.encode()) <= MAX_TEXT_BYTES
            assert from_text(value_type, canonical) == canonical


@settings(deadline=None, max_examples=500)
@given(TYPES, ANY_OBJECT)
def test_of_any_object_the_json_parsers_make_an_answer_or_a_value_fault(value_type: ValueType, value: object) -> None:
    canonical = answered(from_json, value_type, value)
    assert canonical is None or from_text(value_type, canonical) == canonical
    for listed in (value, [value]):
        with contextlib.suppress(ValueFault):
            allowed_from_json(value_type, listed)


@settings(deadline=None, max_examples=500)
@given(TYPES, ANY_TEXT, st.lists(ANY_TEXT, max_size=4))
def test_of_any_list_the_parsers_of_allowed_values_make_an_answer_or_a_value_fault(
    value_type: ValueType, text: str, entries: list[str]
) -> None:
    with contextlib.suppress(ValueFault):
        allowed_from_sysfs(value_type, text)
    with contextlib.suppress(ValueFault):
        allowed_from_entries(value_type, entries)


@st.composite
def spellings(draw: st.DrawFn) -> tuple[ValueType, bool | int | str, list[str]]:
    """A typed value, and what each source makes of one of its spellings there."""
    value_type = draw(TYPES)
    if value_type is BOOL:
        truth = draw(st.booleans())
        words = SPELLED[truth]
        text, sysfs, written = draw(st.sampled_from(words["text"])), draw(st.sampled_from(words["sysfs"])), truth
        spelled = draw(BLANKS) + sysfs + draw(BLANKS)
        made = [from_text(BOOL, text), from_sysfs(BOOL, spelled), from_json(BOOL, load(json.dumps(truth).encode()))]
        return BOOL, written, made
    if value_type is INT:
        digits = draw(DIGITS)
        spelled = draw(BLANKS) + digits + draw(BLANKS)
        made = [from_text(INT, digits), from_sysfs(INT, spelled), from_json(INT, load(digits.encode()))]
        return INT, len(digits) if len(digits) > 4000 else int(digits), made
    text = draw(STRINGS)
    newline = draw(st.sampled_from(["", "\n"]))
    made = [from_text(STR, text), from_sysfs(STR, text + newline), from_json(STR, load(json.dumps(text).encode()))]
    return STR, text, made


@settings(deadline=None, max_examples=500)
@given(spellings())
def test_every_source_and_every_spelling_of_a_value_has_the_same_canonical_text(
    spelled: tuple[ValueType, bool | int | str, list[str]],
) -> None:
    _, _, made = spelled
    assert len(set(made)) == 1


@settings(deadline=None, max_examples=500)
@given(spellings(), spellings())
def test_two_values_of_a_type_have_one_canonical_text_only_if_they_are_equal(
    one: tuple[ValueType, bool | int | str, list[str]], other: tuple[ValueType, bool | int | str, list[str]]
) -> None:
    if one[0] is other[0]:
        assert (one[1] == other[1]) == (one[2][0] == other[2][0])


@settings(deadline=None, max_examples=300)
@given(spellings())
def test_what_is_printed_is_parsed_as_the_same_value_in_every_form(
    spelled: tuple[ValueType, bool | int | str, list[str]],
) -> None:
    value_type, _, (text, *_) = spelled
    printed = json.dumps(text) if value_type is STR else {"on": "true", "off": "false"}.get(text, text)
    assert from_text(value_type, text) == text
    assert from_sysfs(value_type, f"{text}\n") == text
    assert from_raw(value_type, text) == text
    assert from_json(value_type, load(printed.encode())) == text
    assert from_json(value_type, to_json(value_type, text)) == text


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([(BOOL, INT), (BOOL, STR), (INT, BOOL), (INT, STR), (STR, BOOL), (STR, INT)]), st.data())
def test_a_json_value_of_one_type_is_none_of_another(types: tuple[ValueType, ValueType], data: st.DataObject) -> None:
    own, other = types
    value = data.draw({BOOL: st.booleans(), INT: st.integers(0, 10**20), STR: STRINGS}[own])
    assert answered(from_json, own, value) is not None
    assert answered(from_json, other, value) is None


SMALL = st.integers(0, 40)
ENTRIES = st.lists(
    st.one_of(SMALL, st.tuples(SMALL, SMALL).map(lambda p: f"{min(p)}-{max(p)}")), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=300)
@given(ENTRIES, st.integers(0, 45))
def test_an_int_list_allows_exactly_its_numbers_and_what_lies_in_its_ranges(entries: list[int | str], n: int) -> None:
    members: set[int] = set()
    for entry in entries:
        low, _, high = str(entry).partition("-")
        members |= set(range(int(low), int(high or low) + 1))
    texts = [str(entry) for entry in entries]
    for allowed in (
        allowed_from_json(INT, entries),
        allowed_from_sysfs(INT, " ".join(texts) + "\n"),
        allowed_from_entries(INT, texts),
    ):
        assert allows(allowed, INT, str(n)) == (n in members)


@settings(deadline=None, max_examples=300)
@given(st.lists(STRINGS.filter(bool) | st.sampled_from(["0-255", "9-1", "1", "on"]), min_size=1, max_size=5), STRINGS)
def test_a_str_list_allows_exactly_its_strings(entries: list[str], text: str) -> None:
    for allowed in (
        allowed_from_json(STR, entries),
        allowed_from_sysfs(STR, "\n".join(entries) + "\n"),
        allowed_from_entries(STR, entries),
    ):
        assert all(allows(allowed, STR, entry) for entry in entries)
        assert allows(allowed, STR, text) == (text in entries)


@settings(deadline=None, max_examples=300)
@given(TYPES, st.data())
def test_the_entries_of_either_form_are_canonical_and_parse_to_themselves(
    value_type: ValueType, data: st.DataObject
) -> None:
    with contextlib.suppress(ValueFault):
        entries = entries_from_sysfs(value_type, data.draw(ANY_TEXT))
        assert allowed_from_entries(value_type, entries) is not None
    with contextlib.suppress(ValueFault):
        entries = entries_from_json(value_type, data.draw(st.lists(ANY_OBJECT, max_size=3)))
        assert allowed_from_entries(value_type, entries) is not None


@settings(deadline=None, max_examples=300)
@given(st.tuples(DIGITS, DIGITS))
def test_a_range_is_taken_exactly_if_its_minimum_is_not_above_its_maximum(ends: tuple[str, str]) -> None:
    low, high = ends
    text = f"{low}-{high}"
    in_order = (len(low), low) <= (len(high), high)
    for parse in (allowed_from_json, allowed_from_entries):
        try:
            allowed = parse(INT, [text])
        except ValueFault:
            assert not in_order
        else:
            assert in_order
            assert allows(allowed, INT, low)
            assert allows(allowed, INT, high)
