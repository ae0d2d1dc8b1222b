"""The in-memory kernel answers as the real one was measured to answer (tests/kernel/test_twin.py compares the two)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mbochs import Mbochs
from tests.memkernel.mdpy import Mdpy
from tests.memkernel.mtty import Mtty
from tests.waiting import wait_until

TREES = Path(__file__).resolve().parents[2] / "kernel/trees"
UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(1, 41)]
FIRST, SECOND = UUIDS[:2]
PARAMETERS = "module/gfx/parameters"


@pytest.fixture
def kernel() -> MemoryKernel:
    return MemoryKernel(drivers=[Gfx(parents=2), Mtty(), Mdpy(), Mbochs()])


def types(type_id: str, parent: str | None = None) -> str:
    return f"class/mdev_bus/{parent or type_id.partition('-')[0]}/mdev_supported_types/{type_id}"


def create(kernel: MemoryKernel, type_id: str, uuid: str = FIRST, parent: str | None = None) -> None:
    kernel.write(f"{types(type_id, parent)}/create", uuid)


def value(parameter: str, uuid: str = FIRST) -> str:
    return f"bus/mdev/devices/{uuid}/migration/{parameter}"


def answer(operation: Callable[[], object]) -> str:
    """``OK`` or the name of the errno."""
    try:
        operation()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "OK"


def available(kernel: MemoryKernel, type_id: str, parent: str | None = None) -> int:
    return int(kernel.read(f"{types(type_id, parent)}/available_instances"))


def test_the_tree_is_that_of_the_real_kernel_byte_by_byte() -> None:
    kernel = MemoryKernel(drivers=[Gfx(parents=2)])
    for uuid, name in zip(UUIDS, ("4GB", "8GB", "varGB", "nic"), strict=False):
        create(kernel, f"gfx-{name}", uuid, "gfx0")
    assert kernel.dump_tree() == (TREES / "gfx.txt").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FIRST, "OK"),
        (f"{FIRST}\n", "OK"),
        (f"{FIRST}x", "OK"),
        (f"{FIRST}\0", "OK"),
        (f"{FIRST}xx", "EINVAL"),
        (FIRST[:-1], "EINVAL"),
        (FIRST.replace("-", ""), "EINVAL"),
        (f"{{{FIRST[:-2]}}}", "EINVAL"),
        (f" {FIRST}", "EINVAL"),
        (FIRST.replace("8000", "800g"), "EINVAL"),
        ("00000000-0000-0000-0000-000000000000", "OK"),
    ],
)
def test_create_takes_36_characters_and_any_37th(kernel: MemoryKernel, text: str, expected: str) -> None:
    assert answer(lambda: create(kernel, "mtty-1", text)) == expected


def test_creating_with_nothing_does_nothing(kernel: MemoryKernel) -> None:
    create(kernel, "mtty-1", "")
    assert kernel.devices() == []


def test_a_uuid_is_kept_in_lower_case(kernel: MemoryKernel) -> None:
    create(kernel, "mtty-1", "ABCDEFAB-509f-382f-3c1e-e6bfe0fa0005")
    assert kernel.devices() == ["abcdefab-509f-382f-3c1e-e6bfe0fa0005"]


@pytest.mark.parametrize("type_id", ["mtty-1", "mtty-2", "mdpy-hd"])
def test_a_uuid_exists_once_on_the_whole_machine(kernel: MemoryKernel, type_id: str) -> None:
    create(kernel, "mtty-1", FIRST)
    assert answer(lambda: create(kernel, type_id, FIRST.upper())) == "EEXIST"


@pytest.mark.parametrize(
    ("type_id", "count", "expected"),
    [
        ("mtty-1", 24, "ENOSPC"),
        ("mtty-2", 12, "ENOSPC"),
        ("mbochs-large", 4, "ENOSPC"),
        ("mbochs-medium", 16, "ENOSPC"),
        ("mdpy-vga", 4, "EUSERS"),
    ],
)
def test_a_spent_parent_answers_with_its_drivers_errno(
    kernel: MemoryKernel, type_id: str, count: int, expected: str
) -> None:
    assert available(kernel, type_id) == count
    for uuid in UUIDS[:count]:
        create(kernel, type_id, uuid)
    assert answer(lambda: create(kernel, type_id, UUIDS[count])) == expected
    assert len(kernel.devices()) == count


def test_types_of_one_parent_share_its_room(kernel: MemoryKernel) -> None:
    create(kernel, "mtty-2")
    assert (available(kernel, "mtty-1"), available(kernel, "mtty-2")) == (22, 11)


@pytest.mark.parametrize(
    ("text", "expected", "left"),
    [("0", "OK", 1), ("x", "EINVAL", 1), ("-1", "EINVAL", 1), ("", "OK", 1), ("2\n", "OK", 0)],
)
def test_remove_takes_any_number_but_zero(kernel: MemoryKernel, text: str, expected: str, left: int) -> None:
    create(kernel, "mtty-1")
    assert answer(lambda: kernel.write(f"bus/mdev/devices/{FIRST}/remove", text)) == expected
    assert len(kernel.devices()) == left


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda k: k.read(f"{types('mtty-1')}/create"), "EACCES"),
        (lambda k: k.write(f"{types('mtty-1')}/name", "x"), "EACCES"),
        (lambda k: k.write(f"{types('gfx-4GB', 'gfx0')}/migration/model", "x"), "EACCES"),
        (lambda k: k.read("class/mdev_bus/mtty/power/autosuspend_delay_ms"), "EIO"),
        (lambda k: k.write(f"bus/mdev/devices/{SECOND}/remove", "1"), "ENOENT"),
    ],
)
def test_sysfs_itself_refuses(kernel: MemoryKernel, operation: Callable[[MemoryKernel], object], expected: str) -> None:
    assert answer(lambda: operation(kernel)) == expected


def test_one_of_eight_threads_makes_the_device(kernel: MemoryKernel) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: answer(lambda: create(kernel, "mtty-1")), range(8)))
    assert sorted(answers) == ["EEXIST"] * 7 + ["OK"]


def test_forty_threads_get_what_is_there(kernel: MemoryKernel) -> None:
    with ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(lambda uuid: answer(lambda: create(kernel, "mtty-1", uuid)), UUIDS[:40]))
    assert (answers.count("OK"), answers.count("ENOSPC")) == (24, 16)


class Removal:
    """A ``remove`` that waits in a thread of its own."""

    def __init__(self, kernel: MemoryKernel, threads: ThreadPoolExecutor) -> None:
        self.future: Future[str] = threads.submit(answer, lambda: kernel.write(f"bus/mdev/devices/{FIRST}/remove", "1"))
        wait_until(lambda: kernel.devices() == [], timeout=5, what="the device to leave the bus")


def test_remove_of_an_open_device_waits_until_it_is_closed(kernel: MemoryKernel) -> None:
    create(kernel, "mtty-2")
    kernel.open_device(FIRST)
    with ThreadPoolExecutor() as threads:
        removal = Removal(kernel, threads)
        assert not removal.future.done()
        kernel.close_device(FIRST)
        assert removal.future.result(timeout=5) == "OK"
    assert available(kernel, "mtty-1") == 24


def test_a_device_in_removal_keeps_its_uuid_its_share_and_its_directory(kernel: MemoryKernel) -> None:
    create(kernel, "mtty-2")
    kernel.open_device(FIRST)
    with ThreadPoolExecutor() as threads:
        removal = Removal(kernel, threads)
        with kernel.open(f"class/mdev_bus/mtty/{FIRST}") as husk:
            left = husk.list()
        seen = (
            left,
            available(kernel, "mtty-1"),
            answer(lambda: create(kernel, "mtty-1")),
            answer(lambda: kernel.write(f"bus/mdev/devices/{FIRST}/remove", "1")),
        )
        kernel.close_device(FIRST)
        removal.future.result(timeout=5)
    assert seen == (["iommu_group", "vfio-dev"], 22, "EEXIST", "ENOENT")


def test_a_device_opens_only_once(kernel: MemoryKernel) -> None:
    create(kernel, "mtty-1")
    kernel.open_device(FIRST)
    assert answer(lambda: kernel.open_device(FIRST)) == "EBUSY"


def test_a_pinned_directory_never_reaches_a_device_made_anew(kernel: MemoryKernel) -> None:
    create(kernel, "gfx-4GB", parent="gfx0")
    with kernel.open(f"bus/mdev/devices/{FIRST}") as pinned:
        kernel.write(f"bus/mdev/devices/{FIRST}/remove", "1")
        create(kernel, "gfx-8GB", parent="gfx0")
        assert answer(lambda: pinned.read("uevent")) == "ENOENT"
        assert pinned.list() == []


def test_a_driver_is_not_unloaded_while_a_device_is_open(kernel: MemoryKernel) -> None:
    gfx = Gfx()
    other = MemoryKernel(drivers=[gfx])
    create(other, "gfx-4GB", parent="gfx0")
    other.open_device(FIRST)
    assert answer(lambda: other.unload(gfx)) == "EAGAIN"
    other.close_device(FIRST)
    other.unload(gfx)
    assert other.dump_tree() == ""


def test_after_a_reboot_all_mdevs_are_gone_and_the_boot_is_another(kernel: MemoryKernel) -> None:
    before, boot = kernel.dump_tree(), kernel.boot_id()
    create(kernel, "mtty-1")
    kernel.reboot()
    assert kernel.dump_tree() == before
    assert kernel.boot_id() != boot


def test_a_reboot_ends_a_removal_that_waits(kernel: MemoryKernel) -> None:
    create(kernel, "mtty-1")
    kernel.open_device(FIRST)
    with ThreadPoolExecutor() as threads:
        removal = Removal(kernel, threads)
        kernel.reboot()
        assert removal.future.result(timeout=5) == "ENODEV"
