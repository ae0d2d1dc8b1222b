"""A release site and a Go that cost nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.controlplane.release_site import ReleaseSite, serve

UPSTREAM = """module k8s.io/kubernetes

go 1.26.0

replace (
	k8s.io/api => ./staging/src/k8s.io/api
)
"""

GO = """#!/bin/sh
case "$1" in
env) echo {version} ;;
build)
    for last; do
        case "$last" in -o=*) out="${{last#-o=}}" ;; esac
    done
    case "$last" in *{fails_on}*) echo "the compiler is out of memory" >&2; exit 1 ;; esac
    echo "$last" > "$out"; /bin/chmod 755 "$out" ;;
mod)
    if [ "$2" = download ]; then echo '{module}'; fi ;;
esac
echo "$GOTOOLCHAIN" >> {toolchains}
"""


@pytest.fixture
def release_site() -> Iterator[ReleaseSite]:
    """A site with every program."""
    site = ReleaseSite()
    site.publish()
    with serve(site):
        yield site


@pytest.fixture
def fake_go(tmp_path: Path) -> Callable[..., Path]:
    """Make a directory with a ``go`` whose builds are files that name their package; return the directory."""

    def make(*, fails_on: str = "no such package", version: str = "go1.26.8") -> Path:
        directory = tmp_path / "go"
        directory.mkdir(exist_ok=True)
        (directory / "upstream.mod").write_text(UPSTREAM)
        script = GO.format(
            version=version,
            fails_on=fails_on.replace(" ", "\\ "),
            module=json.dumps({"GoMod": str(directory / "upstream.mod")}),
            toolchains=directory / "toolchains",
        )
        (directory / "go").write_text(script)
        (directory / "go").chmod(0o755)
        return directory

    return make
