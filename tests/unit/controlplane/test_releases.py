"""Downloads: nothing is kept that was not published."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from tests.controlplane import releases
from tests.controlplane.programs import PROGRAMS, UnavailableError
from tests.controlplane.releases import ETCD_SITE, KUBERNETES_SITE, ChecksumError, Sites, download, sites_from
from tests.unit.controlplane.release_site import ReleaseSite


def fetch(program: str, directory: Path, site: ReleaseSite) -> Path:
    return download(program, directory, sites=sites_from(site.environment), say=lambda _line: None)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_with_the_published_checksum_is_kept_and_executable(
    program: str, release_site: ReleaseSite, tmp_path: Path
) -> None:
    path = fetch(program, tmp_path, release_site)
    assert path.read_text() == f"the program {program}"
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_with_another_checksum_is_refused_and_deleted(
    program: str, release_site: ReleaseSite, tmp_path: Path
) -> None:
    release_site.alter(program)
    with pytest.raises(ChecksumError, match=r"sha\d+ is [0-9a-f]+, published is [0-9a-f]+"):
        fetch(program, tmp_path, release_site)
    assert list(tmp_path.iterdir()) == []


def test_sha256_is_enough_where_there_is_no_sha512(release_site: ReleaseSite, tmp_path: Path) -> None:
    del release_site.files[release_site.path("kubectl") + ".sha512"]
    assert fetch("kubectl", tmp_path, release_site).exists()


def test_a_program_without_any_checksum_is_not_even_fetched(release_site: ReleaseSite, tmp_path: Path) -> None:
    for suffix in (".sha512", ".sha256"):
        del release_site.files[release_site.path("kubectl") + suffix]
    with pytest.raises(UnavailableError, match=r"sha256: 404"):
        fetch("kubectl", tmp_path, release_site)
    assert release_site.path("kubectl") not in release_site.asked


def test_a_login_page_instead_of_a_checksum_is_no_checksum(release_site: ReleaseSite, tmp_path: Path) -> None:
    for suffix in (".sha512", ".sha256"):
        release_site.files[release_site.path("kubectl") + suffix] = b"<html>please log in</html>"
    with pytest.raises(UnavailableError, match="is no sha256 checksum"):
        fetch("kubectl", tmp_path, release_site)


def test_an_etcd_archive_that_is_not_listed_is_not_fetched(release_site: ReleaseSite, tmp_path: Path) -> None:
    sums = next(path for path in release_site.files if path.endswith("SHA256SUMS"))
    release_site.files[sums] = f"{'0' * 64}  other.tar.gz\n".encode()
    with pytest.raises(UnavailableError, match=r"SHA256SUMS lists no etcd-v"):
        fetch("etcd", tmp_path, release_site)


def test_a_transfer_that_ends_early_is_unavailable_and_not_a_wrong_checksum(
    release_site: ReleaseSite, tmp_path: Path
) -> None:
    release_site.cut_short.add(release_site.path("kubectl"))
    with pytest.raises(UnavailableError, match="bytes"):
        fetch("kubectl", tmp_path, release_site)
    assert list(tmp_path.iterdir()) == []


def test_a_site_that_does_not_answer_is_given_up_after_one_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="timed out"):
            download("kubectl", tmp_path, sites=Sites(kubernetes=url), say=lambda _line: None)
        assert time.monotonic() - began < 2


def test_the_default_sites_are_the_official_ones() -> None:
    assert sites_from({}) == Sites(kubernetes=KUBERNETES_SITE, etcd=ETCD_SITE)
