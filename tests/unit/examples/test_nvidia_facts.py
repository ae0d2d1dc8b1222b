"""The example that fills a facts file from nvidia-smi, on what nvidia-smi prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mdev_node_agent.seeing.facts import Statement, read_facts

SCRIPT = Path(__file__).parents[3] / "docs" / "examples" / "nvidia_facts.py"
TWO_CARDS = """\
00000000:65:00.0, NVIDIA A40, Enabled, 550.90.05, 94.02.5C.00.02
00000000:B3:00.0, Tesla T4, [N/A], 550.90.05, 90.04.38.00.03
"""


def run(file: Path, printed: str, *, stdin: bool = True, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *(["--stdin"] if stdin else []), str(file)]
    environment = None if path is None else {"PATH": path}
    return subprocess.run(command, input=printed, capture_output=True, text=True, env=environment, timeout=60)


def statements(directory: Path) -> tuple[Statement, ...]:
    said = read_facts(directory)
    assert said.told == ()
    return said.statements


def test_what_nvidia_smi_prints_becomes_facts_that_the_agent_reads(tmp_path: Path) -> None:
    done = run(tmp_path / "nvidia.json", TWO_CARDS)

    assert (done.returncode, done.stderr) == (0, "")
    a40, t4 = statements(tmp_path)
    assert a40.names == {"0000:65:00.0"}
    assert a40.facts == {"gpu": "NVIDIA A40", "ecc": "on", "host-driver": "550.90.05", "vbios": "94.02.5C.00.02"}
    assert (t4.names, t4.facts["ecc"]) == ({"0000:b3:00.0"}, "off")


def test_it_asks_nvidia_smi_itself(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncase $1 in --query-gpu=*ecc.mode.current*) printf '%s' '{TWO_CARDS}';; esac\n")
    program.chmod(0o755)

    done = run(tmp_path / "nvidia.json", "", stdin=False, path=str(tmp_path))

    assert (done.returncode, done.stderr) == (0, "")
    assert len(statements(tmp_path)) == 2


def test_virtual_functions_have_the_facts_of_their_card(tmp_path: Path) -> None:
    namespace: dict[str, object] = {"__name__": "example"}
    exec(compile(SCRIPT.read_text(encoding="utf-8"), SCRIPT.name, "exec"), namespace)
    card = tmp_path / "0000:65:00.0"
    card.mkdir()
    for number in (0, 2, 10):
        (tmp_path / f"0000:65:00.{number}x").mkdir()
        (card / f"virtfn{number}").symlink_to(f"../0000:65:00.{number}x")

    read = namespace["facts"]
    assert callable(read)
    [statement, _] = read(TWO_CARDS, tmp_path)

    assert statement["parents"] == ["0000:65:00.0", "0000:65:00.0x", "0000:65:00.2x", "0000:65:00.10x"]


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("", "no GPU at all"),
        ("No devices were found\n", "1 fields instead of 5"),
        (TWO_CARDS.replace("Enabled", "Pending"), "the ECC mode 'Pending'"),
        (TWO_CARDS.replace("00000000:65", "00010000:65"), "the PCI address '00010000:65:00.0'"),
    ],
)
def test_what_is_not_understood_leaves_the_file_as_it_was(tmp_path: Path, printed: str, said: str) -> None:
    file = tmp_path / "nvidia.json"
    run(file, TWO_CARDS)
    before = file.read_bytes()

    done = run(file, printed)

    assert (done.returncode, file.read_bytes()) == (1, before)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_nvidia_smi_it_says_so(tmp_path: Path) -> None:
    done = run(tmp_path / "nvidia.json", "", stdin=False, path=str(tmp_path))

    assert (done.returncode, "nvidia-smi" in done.stderr, list(tmp_path.iterdir())) == (1, True, [])


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--help"]])
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr.startswith("usage: ")) == (1, True)
