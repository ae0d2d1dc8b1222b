"""The generated gRPC code is what its ``.proto`` files say."""

from __future__ import annotations

from pathlib import Path

from tests.setup.protos import PROTOS, SOURCE, generate


def _generated(below: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (below / PROTOS).glob("*_pb2*.py*")}


def test_the_generated_code_is_what_make_protos_generates_now(tmp_path: Path) -> None:
    generate(tmp_path)
    assert _generated(SOURCE) == _generated(tmp_path)
