"""What guests are made from: the cache, the host's programs, and which kernel is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.guest import cache, debian, host
from tests.kernel.guest.prepare import Images, driver_sources
from tests.kernel.guest.qemu import Machine, command_line


@pytest.fixture(autouse=True)
def cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MDEV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernel"


def test_the_cache_is_where_mdev_cache_says(cache_directory: Path) -> None:
    assert cache.root() == cache_directory


def test_the_cache_is_in_the_users_cache_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MDEV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert cache.root() == tmp_path / "mdev-operator" / "kernel"


def test_what_is_made_appears_only_when_it_is_complete(cache_directory: Path) -> None:
    target = cache_directory / "thing"
    with cache.making(target) as scratch:
        (scratch / "file").write_text("x")
        assert not target.exists()

    assert (target / "file").read_text() == "x"


def test_what_fails_half_way_leaves_nothing(cache_directory: Path) -> None:
    with pytest.raises(RuntimeError), cache.making(cache_directory / "thing") as scratch:
        (scratch / "file").write_text("x")
        raise RuntimeError("no space")

    assert list(cache_directory.iterdir()) == []


def test_a_second_process_waits_for_the_lock(cache_directory: Path) -> None:
    script = "from tests.kernel.guest import cache\nwith cache.locked(): print('mine', flush=True)"
    with cache.locked():
        other = subprocess.Popen([sys.executable, "-c", script], stdout=-1, stderr=-1, text=True, cwd=Path.cwd())
        assert other.stderr is not None
        assert "another process is preparing guests" in other.stderr.readline()
    out, _ = other.communicate(timeout=20)

    assert out == "mine\n"


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_the_content_hash_changes_with_what_goes_into_it(tmp_path: Path, change: str) -> None:
    file = tmp_path / "a.c"
    file.write_text("int a;")
    before = cache.content_hash([file], "6.1")
    if change == "content":
        file.write_text("int b;")
    elif change == "name":
        file = file.rename(tmp_path / "b.c")

    assert cache.content_hash([file], "6.2" if change == "more" else "6.1") != before


def test_what_a_build_leaves_behind_is_no_source_of_the_driver(tmp_path: Path) -> None:
    for name in ("main.c", "gfx.h", "Kbuild", "gfx.mod.c", "gfx.o", "README.md"):
        (tmp_path / name).touch()

    assert {path.name for path in driver_sources(tmp_path)} == {"main.c", "gfx.h", "Kbuild"}


def test_a_host_without_apt_is_told_which_packages_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(host.HostLacksError, match=r"qemu-system-x86 busybox-static util-linux .*no apt-get here"):
        host.need(host.TO_BOOT)


def test_who_is_not_root_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(host.HostLacksError, match=r"run `sudo apt-get install .* make`"):
        host.need({"make": "make"})


def test_a_busybox_that_needs_libraries_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "busybox").write_bytes(b"\x7fELF" + b"\0" * 100 + b"/lib64/ld-linux-x86-64.so.2\0")
    (tmp_path / "busybox").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert host.missing({"busybox": "busybox-static"}) == ["busybox-static"]


def test_a_failing_host_program_is_an_error_with_its_words() -> None:
    with pytest.raises(RuntimeError, match=r"`sh -c echo no disk >&2; exit 4` failed with exit status 4: no disk"):
        host.command(["sh", "-c", "echo no disk >&2; exit 4"])


def _cached_kernel(cache_directory: Path, name: str) -> Path:
    (cache_directory / name).mkdir(parents=True)
    (cache_directory / name / "vmlinux").touch()
    return cache_directory / name


def test_a_warm_cache_is_enough_when_apt_has_no_kernel(
    cache_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _cached_kernel(cache_directory, "6.1.0-9-amd64_6.1.27-1")
    newest = _cached_kernel(cache_directory, "6.1.0-56-amd64_6.1.192-2")
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt

    assert debian.kernel_directory() == newest
    assert "using the cached kernel 6.1.0-56-amd64_6.1.192-2" in capsys.readouterr().err


def test_apt_is_not_asked_again_until_its_lists_change(
    cache_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = _cached_kernel(cache_directory, "6.1.0-56-amd64_6.1.192-2")
    _cached_kernel(cache_directory, "6.1.0-57-amd64_6.1.200-1")
    (cache_directory / "current").write_text(kernel.name)
    lists = tmp_path / "lists"
    lists.mkdir()
    monkeypatch.setattr(debian, "APT_LISTS", lists)
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt: asking it falls back on the newest

    os.utime(lists, (0, 0))
    assert debian.kernel_directory() == kernel
    os.utime(lists)
    os.utime(cache_directory / "current", (1, 1))
    assert debian.kernel_directory().name == "6.1.0-57-amd64_6.1.200-1"


def test_without_apt_and_without_cache_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(host.HostLacksError, match="no apt here to get Debian's kernel from"):
        debian.kernel_directory()


def test_a_comma_in_a_path_does_not_end_a_qemu_option() -> None:
    images = Images(kernel=Path("/k"), initrd=Path("/i"), inside=Path("/p"), modules={})
    machine = Machine(images=images, share=Path("/a,b/share"), console=Path("/c"), memory=256)

    assert "local,id=share,path=/a,,b/share,security_model=none,multidevs=remap" in command_line(
        machine, doorbell=3, monitor=4
    )


def test_only_a_machine_with_cards_has_an_iommu() -> None:
    images = Images(kernel=Path("/k"), initrd=Path("/i"), inside=Path("/p"), modules={})

    def line(cards: int) -> str:
        machine = Machine(images=images, share=Path("/s"), console=Path("/c"), memory=256, cards=cards)
        return " ".join(command_line(machine, doorbell=3, monitor=4))

    assert "iommu" not in line(0)
    assert "intel_iommu=on" in line(2)
    assert line(2).count("sriov_max_vfs=4") == 2
