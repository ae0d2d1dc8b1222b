"""Paths that a unix socket can have: pytest's own are too long for its 107 bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kl") as directory:
        yield Path(directory)
