"""``kubectl-mdev check``: answers on stdout, exit codes, messages on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdev_api.migration_info import UnusableError
from mdev_cli.check import check
from mdev_cli.output import as_json, as_table
from tests.unit.check.command import Command, Ran

SOURCE = '{"model": "m", "params": {"p": {"type": "int", "value": 4}}}'
FOUR = '{"type": "int", "init_value": 4}'
DESTINATION = '{"models": {"m": {"params": {"p": {"type": "int", "init_value": 1, "allowed_values": ["1-9"]}}}}}'


Check = Callable[..., Ran]


@pytest.fixture
def checked(command: Command, tmp_path: Path) -> Check:
    def run(source: str | bytes, destination: str | bytes, output: str = "json") -> Ran:
        paths = []
        for name, content in (("S.json", source), ("D.json", destination)):
            path = tmp_path / name
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            paths.append(str(path))
        return command("check", "--source", paths[0], "--destination", paths[1], "-o", output)

    return run


def params(body: str) -> str:
    """A destination of model m with these parameters."""
    return '{"models": {"m": {"params": ' + body + "}}}"


def codes(ran: Ran) -> list[tuple[str, str | None]]:
    return [(reason["code"], reason["parameter"]) for reason in ran.answer["reasons"]]


def test_a_compatible_pair_is_answered_with_list_and_writes(checked: Check) -> None:
    ran = checked(SOURCE, DESTINATION)
    assert (ran.code, ran.err) == (0, "")
    assert ran.answer == {
        "verdict": "Compatible",
        "reasons": [],
        "parameterList": {"p": 4},
        "writes": [{"parameter": "p", "value": 4}],
    }


def test_an_incompatible_pair_is_answered_with_every_reason(checked: Check) -> None:
    there = '{"p": {"type": "int", "init_value": 1, "allowed_values": [1]}, "q": {"type": "bool", "init_value": true}}'
    ran = checked(SOURCE, params(there))
    assert ran.code == 1
    assert ran.answer == {
        "verdict": "Incompatible",
        "reasons": [
            {"code": "ValueNotAllowed", "parameter": "p", "message": "the source has 4; the destination allows 1"},
            {
                "code": "CannotDisable",
                "parameter": "q",
                "message": "it is not in the source's list, and the destination has no off value for it",
            },
        ],
        "parameterList": {"p": 4},
        "writes": [],
    }


@pytest.mark.parametrize(
    ("source", "destination", "code", "reasons"),
    [
        ('{"params": {}}', DESTINATION, 2, [("NoModel", None)]),
        ('{"model": null, "params": {"p": {"type": "int"}}}', "{}", 2, [("NoModel", None)]),
        (SOURCE, '{"models": {}}', 2, [("NoModel", None)]),
        ('{"model": "m", "params": {"p": {"type": "int", "value": null}}}', DESTINATION, 2, [("Unreadable", "p")]),
        (
            '{"model": "m", "params": {"p": {"type": "str"}}}',
            DESTINATION,
            1,
            [("TypeMismatch", "p"), ("Unreadable", "p")],
        ),
        (SOURCE, '{"models": {"n": 5}}', 1, [("ModelMismatch", None)]),
        (
            SOURCE,
            '{"models": {"n": {"params": {}}, "o": {"params": {}}}, "x": 1, "x": 1}',
            1,
            [("ModelMismatch", None)],
        ),
        (SOURCE, '{"models": {"a b": {"params": {}}}}', 2, [("SchemaError", None)]),
        (SOURCE, "{}", 2, [("SchemaError", None)]),
        (SOURCE, '{"models": null}', 2, [("SchemaError", None)]),
        (SOURCE, '{"models": {"m": {}}}', 2, [("SchemaError", None)]),
        (SOURCE, '{"models": {"m": {"params": {}}, "m": {"params": {}}}}', 2, [("SchemaError", None)]),
        (SOURCE, params('{"p": {"type": "int"}}'), 2, [("SchemaError", "p")]),
        (SOURCE, params('{"p": {"type": "int", "init_value": 4}, "q": {}}'), 2, [("SchemaError", "q")]),
        (SOURCE, params('{"q": {}}'), 1, [("UnknownParameter", "p"), ("SchemaError", "q")]),
        (SOURCE, params('{}, "x": 1, "x": 2'), 1, [("UnknownParameter", "p"), ("SchemaError", None)]),
        (
            '{"model": "m", "params": {"p": {"type": "int"}}}',
            '{"models": {"m": {}}}',
            2,
            [("Unreadable", "p"), ("SchemaError", None)],
        ),
        (SOURCE, params(f'{{"p": {FOUR}, "p": {FOUR}}}'), 2, [("SchemaError", "p")]),
        (SOURCE, params(f'{{"p": {FOUR}, "a/b": {FOUR}}}'), 2, [("SchemaError", "a/b")]),
        (SOURCE, '{"models": {"n": {}, "m": {"params": {"p": {"type": "int", "init_value": 4}}}}}', 0, []),
    ],
)
def test_what_counts_as_which(
    checked: Check, source: str, destination: str, code: int, reasons: list[tuple[str, str | None]]
) -> None:
    ran = checked(source, destination)
    assert (ran.code, codes(ran)) == (code, reasons)


@pytest.mark.parametrize("bad", ["", "[]", "{", "\ufeff{}", '{"models": NaN}', "null"])
def test_a_destination_that_is_no_json_object_is_unusable(checked: Check, bad: str) -> None:
    ran = checked(SOURCE, bad)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: destination: ")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "[]",
        "{}",
        '{"model": "m"}',
        '{"model": "m", "params": {"p": {"type": "int", "value": "4"}}}',
        '{"model": "m", "model": "m", "params": {}}',
        '{"model": "m", "params": {"p": {"type": "int", "value": 4}, "p": {"type": "int", "value": 4}}}',
        '{"model": "m", "params": {"": {"type": "int", "value": 4}}}',
        '{"model": "m", "params": {"p": {"type": "int", "value": -4}}}',
    ],
)
def test_any_fault_of_the_source_is_unusable(checked: Check, bad: str) -> None:
    ran = checked(bad, DESTINATION)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: source: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("output", ["json", "table"])
def test_warnings_go_to_stderr_beside_the_answer(checked: Check, output: str) -> None:
    ran = checked(
        SOURCE.replace('"params"', '"x": 1, "params"'), DESTINATION.replace('"type"', '"y": 1, "type"'), output
    )
    assert ran.code == 0
    assert ran.err == (
        'warning: source: the member "x" is unknown and ignored\n'
        'warning: destination: model "m", parameter "p": the member "y" is unknown and ignored\n'
    )


def test_an_off_value_outside_is_only_warned_of_while_it_is_not_needed(checked: Check) -> None:
    ran = checked(SOURCE, DESTINATION.replace('"type"', '"off_value": 0, "type"'))
    assert (ran.code, "off_value" in ran.err) == (0, True)


def test_of_several_other_models_all_are_named(checked: Check) -> None:
    ran = checked(SOURCE, '{"models": {"z": {"params": {}}, "b": {"params": {}}}}')
    assert 'none of its models is the source\'s: "b", "z"' in ran.err


def test_values_keep_their_types(checked: Check) -> None:
    source = '{"model": "m", "params": {"b": {"type": "bool", "value": true}, "i": {"type": "int", "value": 1}, "s": {"type": "str", "value": "true"}}}'  # noqa: E501
    there = '{"s": {"type": "str", "init_value": ""}, "i": {"type": "int", "init_value": 0}, "b": {"type": "bool", "init_value": false}}'  # noqa: E501
    answer = checked(source, params(there)).answer
    assert json.dumps(answer["parameterList"]) == '{"b": true, "i": 1, "s": "true"}'
    assert [(w["parameter"], w["value"]) for w in answer["writes"]] == [("s", "true"), ("i", 1), ("b", True)]


def test_the_greatest_int_stays_an_int(checked: Check) -> None:
    digits = "9" * 4095
    ran = checked(SOURCE.replace("4", digits), DESTINATION.replace("1-9", f"1-{digits}"))
    assert (ran.code, f'"p": {digits}' in ran.out) == (0, True)


def test_an_int_beyond_the_limit_is_a_fault_of_whoever_has_it(checked: Check) -> None:
    digits = "9" * 100_000
    assert checked(SOURCE.replace("4", digits), DESTINATION).code == 3
    ran = checked(SOURCE, DESTINATION.replace('"init_value": 1', f'"init_value": {digits}'))
    assert (ran.code, codes(ran)) == (2, [("SchemaError", "p")])


def test_nesting_beyond_all_measure_is_unusable(checked: Check) -> None:
    deep = '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert [
        (ran.code, ran.out, "nested" in ran.err) for ran in (checked(deep, DESTINATION), checked(SOURCE, deep))
    ] == [(3, "", True)] * 2


def test_json_is_ascii_whatever_the_names_are(checked: Check) -> None:
    ran = checked(SOURCE, params('{"\\ud800": {"type": "int", "init_value": 1}, "é b": {}}'))
    assert ran.out.isascii()
    assert ("SchemaError", "\ud800") in codes(ran)


def test_a_table_tells_the_same_as_json(checked: Check) -> None:
    ran = checked(SOURCE, DESTINATION, "table")
    assert ran.out.splitlines()[0] == "Compatible"
    assert [line.split() for line in ran.out.splitlines() if line.startswith("p ")] == [["p", "4"], ["p", "4"]]


def test_a_table_has_every_reason(checked: Check) -> None:
    ran = checked(
        SOURCE, params('{"p": {"type": "int", "init_value": 1, "allowed_values": [1]}, "[red]q": {}}'), "table"
    )
    assert ran.code == 1
    lines = [line.split()[:2] for line in ran.out.splitlines()]
    assert ["ValueNotAllowed", "p"] in lines
    assert ["SchemaError", "[red]q"] in lines


def test_a_table_says_when_nothing_is_written(checked: Check) -> None:
    assert "nothing is written" in checked(SOURCE, DESTINATION.replace(": 1,", ": 4,"), "table").out


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert ("\x1b" in as_table(check(SOURCE.encode(), DESTINATION.encode()), terminal=terminal)) is terminal


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("check",),
        ("check", "--source", "S"),
        ("check", "--source"),
        ("check", "--source", "S", "--destination", "D", "-o", "yaml"),
        ("check", "--source", "S", "--destination", "D", "extra"),
        ("check", "--wrong"),
        ("--wrong",),
        ("unknown",),
        ("",),
    ],
)
def test_wrong_usage_is_told_on_stderr_alone(command: Command, arguments: tuple[str, ...]) -> None:
    ran = command(*arguments)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: ")
    assert "kubectl-mdev -h" in ran.err


@pytest.mark.parametrize("arguments", [("-h",), ("--help",), ("check", "-h"), ("check", "--help")])
def test_help_is_no_error(command: Command, arguments: tuple[str, ...]) -> None:
    ran = command(*arguments)
    assert (ran.code, ran.err) == (0, "")
    assert "Usage: kubectl-mdev" in ran.out


def test_help_says_what_the_exit_status_means(command: Command) -> None:
    words = " ".join(command("check", "-h").out.split())
    assert "0 Compatible, 1 Incompatible, 2 Unknown, 3 unusable input or wrong usage" in words


@pytest.mark.parametrize("path", ["/", "", "/nonexistent/S.json", "a\0b", "x" * 5000])
def test_a_file_that_cannot_be_read_is_told_with_its_name(command: Command, path: str) -> None:
    ran = command("check", "--source", path, "--destination", path)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: source: cannot read ")


VALUES = st.sampled_from(["0", "1", "-1", "1.0", "true", "null", '"x"', '"1-5"', "[]", "[1]", '["1-5", 7]', "{}"])


@st.composite
def odd_objects(draw: st.DrawFn, members: tuple[str, ...], values: st.SearchStrategy[str] = VALUES) -> str:
    """Text of an object whose members may be missing, repeated or unknown."""
    pairs = draw(st.lists(st.tuples(st.sampled_from((*members, "x")), values), max_size=3))
    return "{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}"


TYPES = st.sampled_from(['"int"', '"bool"', '"str"', "5"]) | VALUES
PARAMETERS = odd_objects(
    ("p", "q"), odd_objects(("type", "type", "value", "init_value", "off_value", "allowed_values"), TYPES)
)
SOURCES = odd_objects(("model", "params"), st.just('"m"') | PARAMETERS)
DESTINATIONS = odd_objects(("models",), odd_objects(("m", "n"), odd_objects(("params",), PARAMETERS)))


@given(SOURCES | st.just(SOURCE), DESTINATIONS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_odd_input_is_answered_or_refused_in_a_sentence(source: str, destination: str) -> None:
    try:
        checked = check(source.encode(), destination.encode())
    except UnusableError as error:
        assert str(error).startswith(("source: ", "destination: "))
    else:
        answer = json.loads(as_json(checked))
        assert (answer["verdict"] == "Compatible") == (answer["reasons"] == [])
        assert as_table(checked, terminal=False).startswith(answer["verdict"])
