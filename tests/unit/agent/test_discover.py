"""``mdev-node-agent discover``: what it prints, and how it fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import mdev_node_agent.run as run_module
from mdev_api.hashing import profile_name
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.cli import main
from mdev_node_agent.discover_command import as_document, as_table
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.observation import Observation
from mdev_node_agent.settings import RunSettings
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty

DEVICE = "83b8f4f2-509f-382f-3c1e-e6bfe0fa0001"


@pytest.fixture(scope="module")
def seen() -> Observation:
    kernel = MemoryKernel(drivers=[Gfx(parents=2), Mtty()])
    MdevBackend().create(kernel, parent="gfx0", type_id="gfx-nic", instance=DEVICE)
    kernel.write("module/gfx/parameters/fail_read", "rx-mode")
    return observe(kernel, [MdevBackend()])


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A sysfs of files with one parent of one type."""
    parent = tmp_path / "devices/card0"
    home = parent / "mdev_supported_types/card-1"
    params = home / "migration/params/memory"
    params.mkdir(parents=True)
    for place in ("bus/mdev/devices", "class/mdev_bus", "class/card"):
        (tmp_path / place).mkdir(parents=True)
    (parent / "subsystem").symlink_to("../../class/card")
    (tmp_path / "class/mdev_bus/card0").symlink_to("../../devices/card0")
    files = {home / "available_instances": "3", home / "name": "Card", home / "migration/model": "com.example/card"}
    for path, text in {**files, params / "type": "int", params / "init_value": "on"}.items():
        path.write_text(f"{text}\n")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, out, err


def test_an_instance_shows_typed_values_and_why_one_is_missing(seen: Observation) -> None:
    (instance,) = as_document(seen)["instances"]
    assert instance["values"] == [
        {"name": "new-feature", "type": "bool", "value": "on"},
        {"name": "num-queues", "type": "int", "value": "4"},
        {"name": "rx-limit", "type": "int", "value": "0"},
    ]
    (told,) = instance["unreadable"]
    assert (told["name"], told["errno"]) == ("rx-mode", "EIO")


def test_an_offer_shows_model_and_typed_parameters(seen: Observation) -> None:
    offers = {o["type"]: o for p in as_document(seen)["parents"] for o in p["offers"]}
    assert offers["gfx-4GB"]["model"] == "com.gfx/GPU"
    assert [(p["name"], p["type"]) for p in offers["gfx-4GB"]["parameters"]] == [("memory", "int")]
    assert "model" not in offers["mtty-2"]


def test_a_profile_stands_once_under_the_name_that_the_api_gives_it(seen: Observation) -> None:
    profiles = {p["name"]: p["spec"] for p in as_document(seen)["profiles"]}
    assert len(profiles) == 4 + 2
    assert all(name == profile_name(spec) for name, spec in profiles.items())


def test_the_table_shows_offers_parameters_instances_and_failures(seen: Observation) -> None:
    table = as_table(seen, 200)
    for words in ("gfx-varGB", "Dual port serial", "0 100-10000", DEVICE, "num-queues=4", "EIO (Input/output error)"):
        assert words in table


def test_json_and_yaml_say_the_same(sysfs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = []
    for output, parse in (("json", json.loads), ("yaml", yaml.safe_load)):
        status, out, _ = run(capsys, "discover", "--sysfs", str(sysfs), "-o", output)
        assert status == 0
        documents.append(parse(out))
    assert documents[0] == documents[1]
    assert documents[0]["parents"][0]["name"] == "card0"


def test_a_schema_error_is_shown(sysfs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "discover", "--sysfs", str(sysfs))
    assert status == 0
    assert 'init_value: "on" is no int' in " ".join(out.split())


def test_the_fault_of_a_whole_model_is_shown_beside_its_name(sysfs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(sysfs / "devices/card0/mdev_supported_types/card-1/migration/params")
    _, out, _ = run(capsys, "discover", "--sysfs", str(sysfs))
    assert "com.example/card (migration/params: ENOENT (No such file or directory))" in " ".join(out.split())


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_what_is_published_and_ignored_is_a_warning_on_stderr(
    sysfs: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    (sysfs / "devices/card0/mdev_supported_types/card-1/migration/params/memory/colour").write_text("red\n")
    status, _, err = run(capsys, "discover", "--sysfs", str(sysfs), "-o", output)
    where = 'card-1 on card0: model "com.example/card", parameter "memory"'
    assert (status, err) == (0, f'warning: {where}: the file "colour" is unknown and ignored\n')


def test_warnings_stand_beside_their_type_in_json(sysfs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = sysfs / "devices/card0/mdev_supported_types/card-1"
    shutil.rmtree(home / "migration")
    (home / "migration_info.json").write_text('{"models": {"m": {"params": {}, "colour": 1}}}')
    _, out, _ = run(capsys, "discover", "--sysfs", str(sysfs), "-o", "json")
    (offer,) = json.loads(out)["parents"][0]["offers"]
    assert offer["warnings"] == ['model "m": the member "colour" is unknown and ignored']


def test_a_node_without_devices_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bus").mkdir()
    (tmp_path / "class").mkdir()
    status, out, _ = run(capsys, "discover", "--sysfs", str(tmp_path))
    assert (status, "no VFIO devices" in out) == (0, True)
    _, out, _ = run(capsys, "discover", "--sysfs", str(tmp_path), "-o", "json")
    assert json.loads(out)["parents"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["discover", "--sysfs", "/absent"], "cannot read the kernel below /absent: ENOENT"),
        (["discover", "--sysfs", "/etc/passwd"], "ENOTDIR"),
        (["discover", "--sysfs", "/dev"], "/dev is no sysfs"),
        (["discover", "-o", "xml"], "xml"),
        (["discover", "--colour"], "--colour"),
        (["run"], "--node-name"),
        (["run", "--node-name", "n1", "--sysfs", "/absent"], "cannot read the kernel below /absent"),
        (["undo"], "undo"),
        ([], "command"),
    ],
)
def test_wrong_usage_ends_with_3_and_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (3, "")
    assert words in err
    assert "Traceback" not in err


def test_run_starts_with_what_the_command_line_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sysfs: Path
) -> None:
    told: list[RunSettings] = []
    monkeypatch.setattr(run_module, "run_until_signalled", told.append)
    arguments = ["--node-name", "n1", "--sysfs", str(sysfs), "--kubeconfig", "/k", "--in-use", "none"]
    status, _, _ = run(capsys, "run", *arguments, "--rescan-seconds", "3600", "--facts-dir", "/f")
    assert status == 0
    settings = RunSettings(node="n1", sysfs=sysfs, kubeconfig=Path("/k"), in_use="none", rescan_seconds=3600)
    assert told == [replace(settings, facts_dir=Path("/f"))]


def test_run_without_credentials_ends_with_3_and_a_sentence(
    capsys: pytest.CaptureFixture[str], sysfs: Path, tmp_path: Path
) -> None:
    arguments = ["--node-name", "n1", "--sysfs", str(sysfs), "--kubeconfig", str(tmp_path / "absent")]
    status, _, err = run(capsys, "run", *arguments)
    assert status == 3
    assert str(tmp_path / "absent") in err


def test_a_reader_that_goes_away_is_no_error(sysfs: Path) -> None:
    command = [sys.executable, "-m", "mdev_node_agent", "discover", "--sysfs", str(sysfs), "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 0


def test_discover_starts_without_what_only_run_needs() -> None:
    code = (
        "import sys, mdev_node_agent.cli\n"
        "print(sorted({'aiohttp', 'pydantic', 'rich.table', 'structlog', 'yaml'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert shown.stdout == "[]\n"
