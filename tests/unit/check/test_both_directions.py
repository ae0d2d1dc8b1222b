"""``kubectl-mdev check``: the way back, stdin, and the arguments of a vfio-user program."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_cli.arguments import for_the_shell
from tests.unit.check.command import Command, Ran

SOURCE = {"model": "m", "params": {"memory": {"type": "int", "off_value": 0, "value": 4096}}}


def info(init: int, allowed: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    memory = {"type": "int", "init_value": init, "off_value": 0, **({"allowed_values": allowed} if allowed else {})}
    return {"models": {"m": {"params": {"memory": memory, **more}}}}


class Files:
    """Runs the check on documents."""

    def __init__(self, command: Command, directory: Path) -> None:
        self._command = command
        self._directory = directory

    def __call__(self, *extra: str, output: str = "json", **documents: Any) -> Ran:
        arguments = []
        for side, document in documents.items():
            path = self._directory / f"{side}.json"
            path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
            arguments += [f"--{side.replace('_', '-')}", str(path)]
        return self._command("check", *arguments, *extra, "-o", output)


@pytest.fixture
def checked(command: Command, tmp_path: Path) -> Files:
    return Files(command, tmp_path)


def both(checked: Files, destination: Any, home: Any, output: str = "json") -> Ran:
    return checked("--both-directions", source=SOURCE, destination=destination, source_info=home, output=output)


def test_the_way_back_takes_the_destinations_init_values_as_its_source(checked: Files) -> None:
    ran = both(checked, info(8192, [4096, 8192]), info(4096, [4096, 8192]))

    assert ran.code == 0
    assert (ran.answer["parameterList"], ran.answer["back"]["parameterList"]) == ({"memory": 4096}, {"memory": 8192})
    assert ran.answer["back"]["writes"] == [{"parameter": "memory", "value": 8192}]


def test_a_new_instance_that_is_off_lists_nothing_on_the_way_back(checked: Files) -> None:
    ran = both(checked, info(0), info(4096))

    assert ran.answer["back"]["parameterList"] == {}
    assert ran.answer["back"]["writes"] == [{"parameter": "memory", "value": 0}]


def test_there_and_back_may_differ_and_the_worse_one_is_the_exit_status(checked: Files) -> None:
    ran = both(checked, info(8192, [4096, 8192]), info(4096, [4096]))

    assert (ran.code, ran.answer["verdict"]) == (1, "Compatible")
    assert [reason["code"] for reason in ran.answer["back"]["reasons"]] == ["ValueNotAllowed"]


@pytest.mark.parametrize(
    ("destination", "home", "code"),
    [
        (info(4096), {}, 2),
        (info(4096), {"models": {}}, 2),
        (info(4096), {"models": {"n": {"params": {}}}}, 1),
        (info(8192, [8192]), {"models": {}}, 1),
        ({}, info(4096), 2),
        ({"models": {"m": {}}}, info(4096), 2),
        ({"models": {"m": {"params": {"memory": {"type": "int"}}}}}, info(4096), 2),
        ({"models": {"n": {"params": {}}}}, {"models": {"n": {"params": {}}}}, 1),
    ],
    ids=["no info", "no model", "other model", "worse there", "D empty", "D hidden", "D faulty", "back alone"],
)
def test_incompatible_beats_unknown_beats_compatible_over_both_ways(
    checked: Files, destination: Any, home: Any, code: int
) -> None:
    assert both(checked, destination, home).code == code


def test_what_hides_the_destinations_parameters_says_nothing_about_the_way_back(checked: Files) -> None:
    ran = both(checked, {"models": {"m": {}}}, info(4096))

    assert [(r["code"], r["parameter"]) for r in ran.answer["back"]["reasons"]] == [("SchemaError", None)]


@pytest.mark.parametrize("bad", ["", "[]", "{", "null"])
def test_a_source_info_that_is_no_json_object_is_unusable(checked: Files, bad: str) -> None:
    ran = both(checked, info(4096), bad)

    assert (ran.code, ran.out, ran.err.startswith("error: source-info: ")) == (3, "", True)


def test_warnings_about_the_source_info_name_it(checked: Files) -> None:
    home = {**info(4096), "x": 1}

    assert both(checked, info(4096), home).err == 'warning: source-info: the member "x" is unknown and ignored\n'


@pytest.mark.parametrize("extra", [["--both-directions"], ["--source-info", "x"]])
def test_one_without_the_other_is_wrong_usage(checked: Files, extra: list[str]) -> None:
    ran = checked(*extra, source=SOURCE, destination=info(4096))

    assert (ran.code, ran.out) == (3, "")
    assert "--both-directions and --source-info belong together" in ran.err


def test_without_the_way_back_the_answer_has_the_four_members_it_always_had(checked: Files) -> None:
    ran = checked(source=SOURCE, destination=info(4096))

    assert list(ran.answer) == ["verdict", "reasons", "parameterList", "writes"]


def test_the_table_tells_both_ways(checked: Files) -> None:
    lines = both(checked, info(8192, [4096, 8192]), info(4096, [4096]), "table").out.splitlines()

    assert lines[:2] == ["There", "Compatible"]
    assert lines[lines.index("Back") + 1] == "Incompatible"


def test_a_programs_output_can_be_piped_in(checked: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(info(1)).encode())))

    ran = checked("--destination", "-", source=SOURCE)

    assert (ran.code, ran.answer["writes"]) == (0, [{"parameter": "memory", "value": 4096}])


def test_stdin_is_only_one_file(command: Command) -> None:
    ran = command("check", "--source", "-", "--destination", "-")

    assert (ran.code, ran.out, "only one of the files" in ran.err) == (3, "", True)


def test_the_arguments_name_every_parameter_of_the_program(checked: Files) -> None:
    more = {
        "new-feature": {"type": "bool", "init_value": True, "off_value": False},
        "mode": {"type": "str", "init_value": "a b", "off_value": "a b"},
    }

    ran = checked("--arguments", "vfio-user", source=SOURCE, destination=info(4096, **more))

    assert ran.answer["arguments"] == ["--m-memory=4096", "--m-new-feature=off", "--m-mode=a b"]
    assert ran.answer["writes"] == [{"parameter": "new-feature", "value": False}]


def test_where_it_cannot_move_there_are_no_arguments(checked: Files) -> None:
    ran = checked("--arguments", "vfio-user", source=SOURCE, destination=info(1, [1]))

    assert (ran.code, ran.answer["arguments"]) == (1, [])


def test_the_table_ends_in_a_line_for_the_shell(checked: Files) -> None:
    source = {"model": "m", "params": {"mode": {"type": "str", "value": "it's $HOME"}}}
    there = {"models": {"m": {"params": {"mode": {"type": "str", "init_value": ""}}}}}

    ran = checked("--arguments", "vfio-user", source=source, destination=there, output="table")

    assert shlex.split(ran.out.splitlines()[-1]) == ["--m-mode=it's $HOME"]


def test_a_long_line_for_the_shell_stays_one_line(checked: Files) -> None:
    source = {"model": "m", "params": {"mode": {"type": "str", "value": "x y" * 200}}}
    there = {"models": {"m": {"params": {"mode": {"type": "str", "init_value": ""}}}}}

    ran = checked("--arguments", "vfio-user", source=source, destination=there, output="table")

    assert shlex.split(ran.out.splitlines()[-1]) == ["--m-mode=" + "x y" * 200]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"), max_size=12)


@given(st.lists(TEXTS | st.sampled_from(["'", "\\", "%s", "\x1b[31m", "é", "$(id)", "\\047", "\x7f"]), max_size=6))
def test_the_shell_reads_back_every_argument_as_it_is(values: list[str]) -> None:
    arguments = tuple(f"--m-{number}={value}" for number, value in enumerate(values))
    line = for_the_shell(arguments)

    read = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, env={"LC_ALL": "C"}
    ).stdout

    assert line.isascii() and (line.isprintable() or not line)
    assert read.split(b"\0")[: len(values)] == [argument.encode() for argument in arguments]
