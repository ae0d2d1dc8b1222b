"""Which names are legal, and the words for those that are not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.names import model_name_fault, parameter_name_fault


@pytest.mark.parametrize(
    "name", ["memory", "rx-mode", "a", "...", ".hidden", "back\\slash", "é", "日本", "a" * 255, "a\u200db"]
)
def test_a_legal_parameter_name_has_no_fault(name: str) -> None:
    assert parameter_name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "reserved"),
        (".", "reserved"),
        ("..", "reserved"),
        ("a=b", "has a ="),
        ("a/b", "has a /"),
        ("../x", "has a /"),
        ("a b", "U+0020"),
        ("a\u00a0b", "U+00A0"),
        ("a\u3000b", "U+3000"),
        ("a\u2028", "U+2028"),
        ("a\u0085", "U+0085"),
        ("a\0b", "U+0000"),
        ("a\x7f", "U+007F"),
        ("a" * 256, "256 bytes"),
        ("é" * 128, "256 bytes"),
        ("\ud800", "UTF-8"),
    ],
)
def test_an_illegal_parameter_name_is_told_why(name: str, words: str) -> None:
    fault = parameter_name_fault(name)
    assert fault is not None
    assert words in fault


@pytest.mark.parametrize("name", ["com.gfx/GPU", "vendor-a.com/my-nic", "a=b", "é", "x" * 5000])
def test_a_legal_model_name_has_no_fault(name: str) -> None:
    assert model_name_fault(name) is None


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a\u200d", "a\ue000", "\ud800", "a\u0378", "a\u2029", "\ufeffa"])
def test_an_illegal_model_name_has_a_fault(name: str) -> None:
    assert model_name_fault(name) is not None


@settings(deadline=None)
@given(st.text(st.characters(), min_size=1))
def test_a_model_name_is_legal_iff_no_character_is_of_category_c_or_z(name: str) -> None:
    assert (model_name_fault(name) is None) == all(unicodedata.category(c)[0] not in "CZ" for c in name)


@settings(deadline=None)
@given(st.text(st.characters()))
def test_a_fault_is_one_printable_line(name: str) -> None:
    for fault in (parameter_name_fault(name), model_name_fault(name)):
        assert fault is None or (fault.isprintable() and len(fault) < 600)
