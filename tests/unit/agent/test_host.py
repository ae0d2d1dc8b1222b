"""The real port over a directory tree: pinned handles, single components, and the kernel's own errnos."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_node_agent.sysfs.host import HostPort, component
from mdev_node_agent.sysfs.port import LARGEST_ATTRIBUTE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    device = tmp_path / "devices/virtual/mtty/mtty"
    device.mkdir(parents=True)
    (device / "name").write_text("serial\n")
    (tmp_path / "class/mdev_bus").mkdir(parents=True)
    (tmp_path / "class/mdev_bus/mtty").symlink_to("../../devices/virtual/mtty/mtty")
    return tmp_path


def test_a_directory_opened_through_a_link_has_the_name_of_what_the_link_leads_to(root: Path) -> None:
    (root / "class/mdev_bus/alias").symlink_to("../../devices/virtual/mtty/mtty")
    with HostPort(root=root).open("class/mdev_bus") as parents, parents.open("alias") as parent:
        assert parent.name == "mtty"
        assert parents.link("alias") == "mtty"


def test_a_pinned_directory_never_reaches_a_successor_of_the_same_name(root: Path) -> None:
    device = root / "devices/virtual/mtty/mtty"
    with HostPort(root=root).open("class/mdev_bus/mtty") as pinned:
        (device / "name").unlink()
        device.rmdir()
        device.mkdir()
        (device / "name").write_text("another\n")
        with pytest.raises(FileNotFoundError):
            pinned.read("name")


def test_an_attribute_that_is_a_link_is_not_followed(root: Path) -> None:
    (root / "secret").write_text("secret")
    (root / "devices/virtual/mtty/mtty/trap").symlink_to(root / "secret")
    with HostPort(root=root).open("class/mdev_bus/mtty") as device:
        with pytest.raises(OSError) as reading:
            device.read("trap")
        with pytest.raises(OSError) as writing:
            device.write("trap", b"x")
    assert (reading.value.errno, writing.value.errno) == (errno.ELOOP, errno.ELOOP)
    assert (root / "secret").read_text() == "secret"


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "a/b", "/etc", "a\0b"])
def test_a_name_that_is_not_one_component_is_refused(root: Path, name: str) -> None:
    with HostPort(root=root).open("class/mdev_bus/mtty") as device:
        for operation in (device.open, device.read, device.link, lambda n: device.write(n, b"x")):
            with pytest.raises(ValueError):
                operation(name)


def test_a_path_with_dots_is_refused_as_a_whole(root: Path) -> None:
    with pytest.raises(ValueError):
        HostPort(root=root / "class").open("mdev_bus/../../devices")


@given(st.text(min_size=1))
def test_what_component_accepts_can_never_leave_its_directory(name: str) -> None:
    try:
        accepted = component(name)
    except ValueError:
        return
    assert (Path("/base") / accepted).parent == Path("/base")


def test_a_long_attribute_is_read_whole(root: Path) -> None:
    content = b"0123456789abcdef" * 40_000
    (root / "devices/virtual/mtty/mtty/blob").write_bytes(content)
    with HostPort(root=root).open("class/mdev_bus/mtty") as device:
        assert device.read("blob") == content


@pytest.mark.parametrize(("beyond", "number"), [(0, None), (1, errno.EFBIG), (1 << 32, errno.EFBIG)])
def test_an_attribute_beyond_the_largest_is_refused_and_not_read_on(
    root: Path, beyond: int, number: int | None
) -> None:
    with (root / "devices/virtual/mtty/mtty/blob").open("wb") as file:
        file.truncate(LARGEST_ATTRIBUTE + beyond)
    answer = None
    with HostPort(root=root).open("class/mdev_bus/mtty") as device:
        try:
            assert len(device.read("blob")) == LARGEST_ATTRIBUTE
        except OSError as error:
            answer = error.errno
    assert answer == number


def test_a_write_goes_to_an_existing_file_and_makes_none(root: Path) -> None:
    with HostPort(root=root).open("class/mdev_bus/mtty") as device:
        device.write("name", b"longer than before\n")
        with pytest.raises(FileNotFoundError):
            device.write("new", b"x")
    assert (root / "devices/virtual/mtty/mtty/name").read_text() == "longer than before\n"


def test_names_are_listed_in_order(root: Path) -> None:
    for name in ("b", "a", "c"):
        (root / name).mkdir()
    with HostPort(root=root).open("") as directory:
        assert directory.list() == ["a", "b", "c", "class", "devices"]


@pytest.mark.parametrize(
    ("operation", "number"),
    [
        (lambda d: d.open("absent"), errno.ENOENT),
        (lambda d: d.open("name"), errno.ENOTDIR),
        (lambda d: d.link("absent"), errno.ENOENT),
        (lambda d: d.link("name"), errno.EINVAL),
        (lambda d: d.read("absent"), errno.ENOENT),
    ],
)
def test_errors_carry_the_kernels_errno(root: Path, operation, number: int) -> None:
    with HostPort(root=root).open("class/mdev_bus/mtty") as device, pytest.raises(OSError) as caught:
        operation(device)
    assert caught.value.errno == number


def test_a_handle_may_be_closed_twice(root: Path) -> None:
    directory = HostPort(root=root).open("class")
    directory.close()
    directory.close()
    with pytest.raises(OSError):
        directory.list()


def test_the_boot_id_is_the_kernels_word_without_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True)
    path.write_text("569464a8-dad9-4e7f-87be-88141cc55003\n")
    assert HostPort(proc=tmp_path).boot_id() == "569464a8-dad9-4e7f-87be-88141cc55003"
