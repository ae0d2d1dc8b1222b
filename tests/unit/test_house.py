"""Rules of the house that a machine can hold: how packages and tests are built, and what no file says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PRODUCT = [TOP / package / "src" for package in ("crds", "operator", "node-agent", "cli")]
MOST_LINES = 430
"""About 400 is the aim; from here on a file is to be split."""

MOST_LINES_OF_A_FUNCTION = 50
ANY_ADDRESS = re.compile(r"https?://|index[-_]url|find-links")
REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted|proxy\.golang\.org|sum\.golang\.org|artifactory|devpi")
ONE_SAMPLE_DEVICE = re.compile(r"mtty|com\.gfx", re.IGNORECASE)


def python_files(*roots: Path) -> list[Path]:
    return sorted(path for root in roots for path in root.rglob("*.py"))


def own_files() -> Iterator[Path]:
    """Every text file that is part of the project, generated and cached ones apart."""
    for top in ("crds", "operator", "node-agent", "cli", "tests", "demo", "deploy", "docs", ".ci"):
        for path in sorted((TOP / top).rglob("*")):
            if path.is_file() and not {"__pycache__", "node_modules"} & set(path.parts):
                yield path
    yield from (TOP / name for name in ("README.md", "Makefile", "pyproject.toml", "requirements.in"))


def shown(path: Path) -> str:
    return str(path.relative_to(TOP))


def test_the_folder_of_the_operator_is_no_python_package() -> None:
    assert not (TOP / "operator" / "__init__.py").exists()  # it would shadow the standard library's operator


def test_the_product_knows_no_sample_device() -> None:
    naming = [shown(p) for root in PRODUCT for p in root.rglob("*.*") if p.suffix in (".py", ".yaml", ".json", ".md")]
    assert [p for p in naming if ONE_SAMPLE_DEVICE.search((TOP / p).read_text(encoding="utf-8"))] == []


def test_no_file_is_longer_than_one_reads_at_a_time() -> None:
    files = python_files(*PRODUCT, TOP / "tests", TOP / "demo")
    assert len(files) > 100
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_function_is_longer_than_one_reads_at_a_time() -> None:
    found = {}
    for path in python_files(*PRODUCT, TOP / "tests", TOP / "demo"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_LINES_OF_A_FUNCTION:
                    found[f"{shown(path)}:{node.name}"] = length
    assert found == {}


def test_the_lock_file_names_no_registry() -> None:
    lines = (TOP / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 100
    assert [line for line in lines if ANY_ADDRESS.search(line)] == []


def test_no_file_names_the_host_of_a_registry() -> None:
    naming = []
    for path in own_files():
        if path == Path(__file__).resolve():
            continue
        if REGISTRY_HOST.search(path.read_text(encoding="utf-8", errors="replace")):
            naming.append(shown(path))
    assert naming == []


def test_every_dependency_is_explained() -> None:
    explained = (TOP / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1] for row in explained.splitlines() if row.startswith("|")]
    named = {name.strip() for row in rows for name in row.split(",")}
    lines = (TOP / "requirements.in").read_text(encoding="utf-8").splitlines()
    wanted = {re.split(r"[><=\[; ]", line)[0] for line in lines if line and not line.startswith("#")}
    assert wanted
    assert wanted - named == set()


def test_every_dependency_of_a_package_is_pinned_for_the_checkout() -> None:
    lines = (TOP / "requirements.in").read_text(encoding="utf-8").splitlines()
    pinned = {re.split(r"[><=\[; ]", line)[0].lower() for line in lines if line and not line.startswith("#")}
    needed = set()
    for root in PRODUCT:
        text = (root.parent / "pyproject.toml").read_text(encoding="utf-8")
        lists = re.findall(r"^(?:dependencies|cel) = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL)
        needed |= {
            re.split(r"[><=\[; ]", name)[0].lower() for found in lists for name in re.findall(r'"([^"]+)"', found)
        }
    assert needed > {"aiohttp", "mdev-api"}
    assert needed - pinned - {"mdev-api"} == set()
