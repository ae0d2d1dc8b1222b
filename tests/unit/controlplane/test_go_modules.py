"""The module that builds Kubernetes outside of its own tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.controlplane.go_modules import GO_TOOLCHAIN, build, go_mod, tools_go
from tests.controlplane.programs import PROGRAMS

UPSTREAM = """module k8s.io/kubernetes

go 1.26.0

require k8s.io/api v0.0.0

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/mount-utils => ./staging/src/k8s.io/mount-utils
)

replace github.com/other/thing => github.com/fork/thing v1.2.3
"""


def test_each_staged_module_is_replaced_by_the_version_released_with_it() -> None:
    assert go_mod(UPSTREAM) == (
        "module controlplane.test\n\n"
        "go 1.26.0\n\n"
        "require (\n\tgo.etcd.io/etcd/server/v3 v3.6.8\n\tk8s.io/kubernetes v1.36.3\n)\n\n"
        "replace (\n\tk8s.io/api => k8s.io/api v0.36.3\n\tk8s.io/mount-utils => k8s.io/mount-utils v0.36.3\n)\n"
    )


def test_a_go_mod_that_stages_nothing_is_not_that_of_kubernetes() -> None:
    with pytest.raises(ValueError, match="replaces no module"):
        go_mod("module example.com/other\n\ngo 1.26.0\n")


def test_every_program_is_imported_so_that_tidy_keeps_its_checksums() -> None:
    text = tools_go(PROGRAMS)
    assert text.count("\t_ ") == len(PROGRAMS)
    assert '\t_ "go.etcd.io/etcd/server/v3"\n' in text
    assert '\t_ "k8s.io/kubernetes/cmd/kube-controller-manager"\n' in text


@pytest.mark.parametrize(
    ("version", "toolchain"), [("go1.26", "local"), ("go1.26.8", "local"), ("go1.27.1", GO_TOOLCHAIN)]
)
def test_another_series_of_go_is_asked_for_the_toolchain_that_works(
    version: str, toolchain: str, fake_go: Callable[..., Path], tmp_path: Path
) -> None:
    directory = fake_go(version=version)
    build(["etcd"], tmp_path, environment={"PATH": str(directory)}, say=lambda _line: None, done=lambda _path: None)
    asked, *others = (directory / "toolchains").read_text().splitlines()
    assert asked == ""
    assert set(others) == {toolchain}
