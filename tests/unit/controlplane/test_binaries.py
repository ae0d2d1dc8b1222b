"""Where programs are found, and what happens when they are not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.controlplane.binaries import cache_directory, ensure, find
from tests.controlplane.programs import PROGRAMS, UnavailableError
from tests.controlplane.releases import ChecksumError
from tests.unit.controlplane.release_site import ReleaseSite

NO_SITE = {"MDEV_RELEASE_URL": "", "MDEV_ETCD_RELEASE_URL": ""}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine with an empty cache and nothing else."""
    return {"MDEV_CACHE": str(tmp_path / "cache"), "PATH": "", **NO_SITE}


def put(directory: Path, *programs: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for program in programs:
        (directory / program).write_text("#!/bin/sh\n")
        (directory / program).chmod(0o755)
    return directory


def test_kubebuilder_assets_come_before_path_and_path_before_the_cache(
    environment: dict[str, str], tmp_path: Path
) -> None:
    cache = put(cache_directory(environment), "etcd", "kubectl", "kube-apiserver")
    environment["PATH"] = str(put(tmp_path / "path", "etcd", "kubectl"))
    environment["KUBEBUILDER_ASSETS"] = str(put(tmp_path / "assets", "etcd"))
    assert find(environment=environment) == {
        "etcd": tmp_path / "assets" / "etcd",
        "kubectl": tmp_path / "path" / "kubectl",
        "kube-apiserver": cache / "kube-apiserver",
    }


def test_a_file_that_cannot_be_executed_is_passed_over(environment: dict[str, str], tmp_path: Path) -> None:
    cache = put(cache_directory(environment), "etcd")
    environment["PATH"] = str(put(tmp_path / "path", "etcd"))
    (tmp_path / "path" / "etcd").chmod(0o644)
    assert find(["etcd"], environment=environment) == {"etcd": cache / "etcd"}


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"MDEV_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c/controlplane/v1.36.3/bin"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/mdev-operator/controlplane/v1.36.3/bin"),
        ({}, "/home/u/.cache/mdev-operator/controlplane/v1.36.3/bin"),
    ],
)
def test_the_cache_is_below_mdev_cache_else_the_users_cache(
    variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    assert cache_directory(variables) == Path(wanted)


def test_what_is_there_is_used_without_a_word_or_a_look_at_the_network(environment: dict[str, str]) -> None:
    put(cache_directory(environment), *PROGRAMS)
    said: list[str] = []
    assert set(ensure(environment=environment, say=said.append)) == set(PROGRAMS)
    assert said == []


def test_only_what_is_missing_is_downloaded(
    environment: dict[str, str], release_site: ReleaseSite, tmp_path: Path
) -> None:
    environment |= release_site.environment
    environment["PATH"] = str(put(tmp_path / "path", "kubectl"))
    found = ensure(environment=environment, say=lambda _line: None)
    assert {program: path.parent for program, path in found.items()} == {
        program: tmp_path / "path" if program == "kubectl" else cache_directory(environment) for program in PROGRAMS
    }
    assert not [path for path in release_site.asked if "kubectl" in path]


def test_after_a_wrong_checksum_nothing_is_kept_and_nothing_built(
    environment: dict[str, str], release_site: ReleaseSite, fake_go: Callable[..., Path]
) -> None:
    release_site.alter("kube-apiserver")
    environment |= release_site.environment
    environment["PATH"] = str(fake_go())
    with pytest.raises(ChecksumError):
        ensure(["kube-apiserver"], environment=environment, say=lambda _line: None)
    assert list(cache_directory(environment).parent.rglob("kube-apiserver")) == []


def test_without_a_release_site_they_are_built_with_go(
    environment: dict[str, str], fake_go: Callable[..., Path]
) -> None:
    environment["PATH"] = str(fake_go())
    said: list[str] = []
    found = ensure(environment=environment, say=said.append)
    assert {program: path.read_text().strip() for program, path in found.items()} == {
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    }
    assert "building kube-apiserver (about 3 minutes) ..." in said


def test_one_site_that_is_gone_does_not_stop_the_other(
    environment: dict[str, str], release_site: ReleaseSite, fake_go: Callable[..., Path]
) -> None:
    environment |= release_site.environment | {"MDEV_ETCD_RELEASE_URL": ""}
    environment["PATH"] = str(fake_go())
    said: list[str] = []
    ensure(environment=environment, say=said.append)
    assert [line.split()[1] for line in said if line.startswith("built ")] == ["etcd"]


def test_a_program_built_before_a_failure_is_not_built_again(
    environment: dict[str, str], fake_go: Callable[..., Path]
) -> None:
    environment["PATH"] = str(fake_go(fails_on="etcd/server"))
    with pytest.raises(UnavailableError, match="the compiler is out of memory"):
        ensure(environment=environment, say=lambda _line: None)
    environment["PATH"] = str(fake_go())
    said: list[str] = []
    ensure(environment=environment, say=said.append)
    assert [line.split()[1] for line in said if line.startswith("built ")] == ["etcd"]


def test_a_failure_leaves_no_half_made_directory_in_the_cache(
    environment: dict[str, str], fake_go: Callable[..., Path]
) -> None:
    environment["PATH"] = str(fake_go(fails_on="kube-apiserver"))
    with pytest.raises(UnavailableError):
        ensure(environment=environment, say=lambda _line: None)
    assert sorted(path.name for path in cache_directory(environment).parent.iterdir()) == ["bin", "lock"]


def test_two_runs_at_once_build_once(environment: dict[str, str], fake_go: Callable[..., Path]) -> None:
    environment["PATH"] = str(fake_go())
    said: list[str] = []
    runs = [
        threading.Thread(target=lambda: ensure(environment=environment, say=said.append), daemon=True) for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(timeout=60)
    assert sorted(line.split()[1] for line in said if line.startswith("built ")) == sorted(PROGRAMS)


def test_without_any_way_the_message_names_what_is_missing_what_helps_and_what_still_works(
    environment: dict[str, str],
) -> None:
    with pytest.raises(UnavailableError) as raised:
        ensure(environment=environment, say=lambda _line: None)
    message = str(raised.value)
    for wanted in (*PROGRAMS, "no Go on PATH", "KUBEBUILDER_ASSETS", "MDEV_RELEASE_URL", "pytest tests/unit"):
        assert wanted in message
