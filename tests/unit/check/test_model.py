"""``kubectl-mdev model test``: what DeviceModels make of what an agent saw, without a cluster."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.discover_command import as_document
from mdev_node_agent.seeing.discovery import observe
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty
from tests.unit.check.command import Command, Ran

SHIPPED = Path(__file__).parents[3] / "deploy" / "models"
SEEN = as_document(observe(MemoryKernel(drivers=[Gfx(), Mtty()]), [MdevBackend()]))


def model(name: str = "serial", expression: str = "profile.type.id == 'mtty-1'", **spec: Any) -> dict[str, Any]:
    matches = [{"name": "q", "expression": expression}]
    return {
        "apiVersion": "mdev-operator.io/v1alpha1",
        "kind": "DeviceModel",
        "metadata": {"name": name},
        "spec": {"model": f"vendor.com/{name}", "matches": matches} | spec,
    }


class Trial:
    """Runs the command on DeviceModels and on what was discovered."""

    def __init__(self, command: Command, directory: Path) -> None:
        self._command = command
        self._directory = directory

    def __call__(self, *models: Any, seen: Any = SEEN, output: str = "json") -> Ran:
        arguments = []
        for number, content in enumerate(models):
            path = self._directory / f"model{number}.yaml"
            text = content if isinstance(content, str) else yaml.safe_dump(content)
            path.write_text(text, encoding="utf-8")
            arguments += ["-f", str(path)]
        profiles = self._directory / "seen.json"
        profiles.write_text(seen if isinstance(seen, str) else json.dumps(seen), encoding="utf-8")
        return self._command("model", "test", *arguments, "--profiles", str(profiles), "-o", output)


@pytest.fixture
def trial(command: Command, tmp_path: Path) -> Trial:
    return Trial(command, tmp_path)


def reasons(ran: Ran) -> dict[str, str]:
    """How each profile that the driver does not describe is read, by where it is offered."""
    return {offer: p["reason"] for p in ran.answer["profiles"] for offer in p["offers"] if p["reason"] != "Published"}


def test_what_matches_is_shown_with_what_is_derived(trial: Trial) -> None:
    ran = trial((SHIPPED / "mtty.yaml").read_text(encoding="utf-8"))

    assert (ran.code, ran.err) == (0, "")
    assert ran.answer["models"] == [{"name": "mtty", "model": "kernel.org/mtty", "valid": True, "matchedProfiles": 2}]
    [two] = [p for p in ran.answer["profiles"] if p["offers"] == ["mtty-2 on mtty"]]
    assert (two["model"], two["from"], two["resolved"]) == ("kernel.org/mtty", "DeviceModel/mtty", True)
    assert [(p["name"], p["initValue"]) for p in two["parameters"]] == [("ports", "2")]


def test_what_the_driver_publishes_is_shown_beside(trial: Trial) -> None:
    ran = trial(model())

    published = [p for p in ran.answer["profiles"] if p["reason"] == "Published"]
    assert {p["model"] for p in published} >= {"com.gfx/GPU"}
    assert reasons(ran) == {"mtty-1 on mtty": "Matched", "mtty-2 on mtty": "NoModel"}


def test_the_table_tells_models_profiles_and_parameters(trial: Trial) -> None:
    ran = trial((SHIPPED / "mtty.yaml").read_text(encoding="utf-8"), output="table")

    lines = [line.split() for line in ran.out.splitlines()]
    assert ran.out.startswith("DeviceModel mtty: can be used\n")
    assert ["mtty-2", "on", "mtty", "ports", "int", "2", "-", "2", "-"] in lines


def test_a_model_that_matches_nothing_ends_with_2(trial: Trial) -> None:
    assert trial(model(expression="false")).code == 2


@pytest.mark.parametrize("output", ["json", "table"])
def test_a_bad_expression_ends_with_1_and_its_position(trial: Trial, output: str) -> None:
    ran = trial(model(expression="profile.typ.id == ''"), output=output)

    assert (ran.code, ran.err) == (1, "")
    assert "spec.matches[q].expression: 1:12: " in ran.out


def test_a_match_that_fails_ends_with_1_and_names_model_and_match(trial: Trial) -> None:
    ran = trial(model(expression="profile.facts['ecc'] == 'on'"))

    assert (ran.code, set(reasons(ran).values())) == (1, {"MatchFailed"})
    assert "DeviceModel serial, match q" in ran.out


def test_models_count_together(trial: Trial) -> None:
    ran = trial(model("one"), model("two"))

    assert (ran.code, reasons(ran)["mtty-1 on mtty"]) == (1, "AmbiguousModel")


def test_of_two_with_one_model_the_second_is_the_duplicate(trial: Trial) -> None:
    ran = trial(model("z", model="vendor.com/x"), model("a", model="vendor.com/x"))

    assert {m["name"]: m.get("reason") for m in ran.answer["models"]} == {"z": None, "a": "Duplicate"}


def test_a_file_may_have_several_models(trial: Trial) -> None:
    ran = trial("---\n" + "---\n".join(yaml.safe_dump(model(name, "false")) for name in ("a", "b")))

    assert [m["name"] for m in ran.answer["models"]] == ["a", "b"]


def test_facts_of_the_node_count(trial: Trial) -> None:
    seen = json.loads(json.dumps(SEEN))
    for profile in seen["profiles"]:
        profile["spec"]["facts"] = [{"name": "ecc", "value": "on"}]

    assert trial(model(expression="profile.facts.ecc == 'on'"), seen=seen).code == 0


def test_profiles_can_be_piped_in(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(SEEN).encode())))

    assert command("model", "test", "-f", str(SHIPPED / "mtty.yaml"), "--profiles", "-", "-o", "json").code == 0


MATCH = {"name": "q", "expression": "true"}
PORTS = {"name": "ports", "initValue": {"literal": "1"}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ("spec: [", "line 1, column 8: it is not YAML"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: it is not YAML: the key a occurs twice"),
        ("[]", "a DeviceModel is expected"),
        ("a\x07b", "it is not YAML"),
        ({**model(), "kind": "Pod"}, 'not "Pod"'),
        ({**model(), "apiVersion": "v1"}, 'of "v1"'),
        ({**model(), "metadata": {}}, "metadata.name is missing"),
        ({**model(), "specs": 1}, "DeviceModel serial: specs: no DeviceModel has such a member"),
        ({k: v for k, v in model().items() if k != "spec"}, "spec: "),
        (model(model=5), "spec.model: 5: a string is expected, so write it in quotes"),
        (
            model(matches=[{**MATCH, "parameters": [{"name": "ports", "initValue": {"literal": 1}}]}]),
            "spec.matches[0].parameters[0].initValue.literal: 1: a string is expected, so write it in quotes",
        ),
        (
            model(matches=[{**MATCH, "parameters": [{**PORTS, "allowedvalues": {"literals": ["1"]}}]}]),
            "spec.matches[0].parameters[0].allowedvalues: there is no such member",
        ),
        (model(parameters=[{"name": "ports", "type": "float"}]), "spec.parameters[0].type: "),
    ],
)
def test_a_file_that_is_no_device_model_is_told_with_the_place(trial: Trial, content: Any, said: str) -> None:
    ran = trial(content)

    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: ") and "model0.yaml: " in ran.err
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_two_models_of_one_name_are_told(trial: Trial) -> None:
    ran = trial(model(), model())

    assert (ran.code, 'two DeviceModels are named "serial"' in ran.err) == (3, True)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it is not what mdev-node-agent discover -o json prints: the document: "),
        ("{}", "profiles: Field required"),
        ({"profiles": [{"name": "p", "spec": {"backend": "mdev"}}]}, "profiles[0].spec.driver: "),
    ],
)
def test_what_discover_did_not_print_is_told(trial: Trial, seen: Any, said: str) -> None:
    ran = trial(model(), seen=seen)

    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: profiles: ")
    assert said in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("model",),
        ("model", "test"),
        ("model", "test", "-f", "x"),
        ("model", "try"),
        ("model", "test", "-f", "-", "--profiles", "-"),
    ],
)
def test_wrong_usage_is_told_on_stderr_alone(command: Command, arguments: tuple[str, ...]) -> None:
    ran = command(*arguments)

    assert (ran.code, ran.out, "kubectl-mdev -h" in ran.err) == (3, "", True)


def test_a_file_that_cannot_be_read_is_told_with_its_name(command: Command) -> None:
    ran = command("model", "test", "-f", "/absent.yaml", "--profiles", "/absent.json")

    assert (ran.code, ran.err) == (3, "error: model: cannot read '/absent.yaml': No such file or directory\n")


def test_the_offline_commands_need_no_kubernetes(tmp_path: Path) -> None:
    (tmp_path / "seen.json").write_text(json.dumps(SEEN), encoding="utf-8")
    arguments = ["model", "test", "-f", str(SHIPPED / "mtty.yaml"), "--profiles", str(tmp_path / "seen.json")]
    code = (
        "import sys\n"
        "from mdev_cli.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as ended: print(ended.code, file=sys.stderr)\n"
        "of_kubernetes = {'aiohttp', 'kubernetes', 'kopf', 'structlog', 'mdev_api.kube'}\n"
        "print(sorted(of_kubernetes & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stderr == "0\n[]\n"
