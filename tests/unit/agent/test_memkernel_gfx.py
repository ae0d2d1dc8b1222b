"""The twin of the sample driver gfx: the eight steps of a write, the pool, the faults, the record."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import wait_until

UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(1, 10)]
FIRST, SECOND = UUIDS[:2]


class Node:
    """A kernel with gfx, and its files by name."""

    def __init__(self, driver: Gfx) -> None:
        self.kernel = MemoryKernel(drivers=[driver])

    def create(self, name: str, uuid: str = FIRST) -> None:
        self.kernel.write(f"class/mdev_bus/gfx0/mdev_supported_types/gfx-{name}/create", uuid)

    def remove(self, uuid: str = FIRST) -> None:
        self.kernel.write(f"bus/mdev/devices/{uuid}/remove", "1")

    def write(self, parameter: str, text: str, uuid: str = FIRST) -> None:
        self.kernel.write(f"bus/mdev/devices/{uuid}/migration/{parameter}", text)

    def read(self, parameter: str, uuid: str = FIRST) -> str:
        return self.kernel.read(f"bus/mdev/devices/{uuid}/migration/{parameter}")

    def put(self, name: str, text: str) -> None:
        self.kernel.write(f"module/gfx/parameters/{name}", f"{text}\n")

    def get(self, name: str) -> str:
        return self.kernel.read(f"module/gfx/parameters/{name}")

    def available(self, name: str) -> int:
        return int(self.kernel.read(f"class/mdev_bus/gfx0/mdev_supported_types/gfx-{name}/available_instances"))

    def types(self) -> list[str]:
        with self.kernel.open("class/mdev_bus/gfx0/mdev_supported_types") as directory:
            return directory.list()


@pytest.fixture
def node() -> Node:
    return Node(Gfx())


def answer(operation: Callable[[], object]) -> str:
    try:
        operation()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "OK"


@pytest.mark.parametrize(
    ("parameter", "text", "expected"),
    [
        ("new-feature", "off", "OK"),
        ("new-feature", "off\n", "OK"),
        ("new-feature", "0", "EINVAL"),
        ("new-feature", "off\n\n", "EINVAL"),
        ("num-queues", "64", "OK"),
        ("num-queues", "007", "OK"),
        ("num-queues", "65", "EINVAL"),
        ("num-queues", "+4", "EINVAL"),
        ("num-queues", " 4", "EINVAL"),
        ("num-queues", "4294967297", "EINVAL"),
        ("num-queues", "4\0", "EINVAL"),
        ("rx-mode", "all multicast", "OK"),
        ("rx-mode", "all", "EINVAL"),
        ("rx-limit", "99", "EINVAL"),
        ("rx-limit", "100", "OK"),
        ("rx-limit", "", "OK"),
    ],
)
def test_a_write_takes_exactly_one_allowed_value(node: Node, parameter: str, text: str, expected: str) -> None:
    node.create("nic")
    before = node.read(parameter)
    assert answer(lambda: node.write(parameter, text)) == expected
    if expected != "OK" or not text:
        assert node.read(parameter) == before


def test_an_int_is_read_back_without_leading_zeros(node: Node) -> None:
    node.create("nic")
    node.write("num-queues", "007")
    assert node.read("num-queues") == "7"


def test_memory_comes_from_the_pool_at_every_write(node: Node) -> None:
    node.create("varGB")
    node.write("memory", "8192")
    assert (node.available("8GB"), node.available("varGB")) == (1, 8)


def test_memory_that_is_not_there_is_enospc_and_changes_nothing(node: Node) -> None:
    node.create("8GB", SECOND)
    node.create("4GB", UUIDS[2])
    node.create("varGB")
    assert answer(lambda: node.write("memory", "8192")) == "ENOSPC"
    assert answer(lambda: node.write("memory", "4096")) == "OK"


def test_an_open_device_takes_only_runtime_writable_parameters(node: Node) -> None:
    node.create("nic")
    node.kernel.open_device(FIRST)
    assert answer(lambda: node.write("num-queues", "4")) == "EBUSY"
    assert answer(lambda: node.write("rx-limit", "100")) == "OK"


def test_a_malformed_value_comes_before_a_busy_device(node: Node) -> None:
    node.create("nic")
    node.kernel.open_device(FIRST)
    assert answer(lambda: node.write("num-queues", "many")) == "EINVAL"


def test_nics_have_a_room_of_their_own() -> None:
    node = Node(Gfx(nics=1))
    node.create("nic")
    assert answer(lambda: node.create("nic", SECOND)) == "ENOSPC"
    assert node.available("4GB") == 4


def test_create_fails_as_told_and_leaves_nothing(node: Node) -> None:
    node.put("fail_create", "5")
    assert answer(lambda: node.create("4GB")) == "EIO"
    assert (node.kernel.devices(), node.available("4GB")) == ([], 4)
    node.put("fail_create", "0")
    assert answer(lambda: node.create("4GB")) == "OK"


def test_writes_of_one_parameter_fail_as_told(node: Node) -> None:
    node.create("nic")
    node.put("fail_write", "num-queues")
    node.put("fail_write_errno", "110")
    assert answer(lambda: node.write("num-queues", "8")) == "ETIMEDOUT"
    assert answer(lambda: node.write("rx-mode", "promiscuous")) == "OK"


@pytest.mark.parametrize(
    ("parameter", "written", "stored"),
    [("num-queues", "8", "1"), ("num-queues", "1", "2"), ("new-feature", "on", "off"), ("rx-limit", "0", "100")],
)
def test_a_clamped_write_stores_the_first_other_allowed_value(
    node: Node, parameter: str, written: str, stored: str
) -> None:
    node.create("nic")
    node.put("clamp_write", parameter)
    node.write(parameter, written)
    assert node.read(parameter) == stored


def test_a_clamp_with_one_allowed_value_does_nothing(node: Node) -> None:
    node.create("4GB")
    node.put("clamp_write", "memory")
    node.write("memory", "4096")
    assert node.read("memory") == "4096"


def test_reads_of_one_parameter_fail_as_told(node: Node) -> None:
    node.create("nic")
    node.put("fail_read", "rx-mode")
    assert answer(lambda: node.read("rx-mode")) == "EIO"
    assert answer(lambda: node.read("rx-limit")) == "OK"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fail_write", "nothing"),
        ("fail_create", "134"),
        ("fail_write_errno", "0"),
        ("hang_killable", "x"),
        ("fail_create", "-1"),
    ],
)
def test_a_fault_that_cannot_happen_is_refused(node: Node, name: str, text: str) -> None:
    assert answer(lambda: node.put(name, text)) == "EINVAL"


class HangingWrite:
    """A write of num-queues that waits in a thread of its own."""

    def __init__(self, node: Node, threads: ThreadPoolExecutor, text: str = "8") -> None:
        node.put("hang_write", "num-queues")
        begun = int(node.get("write_count"))
        self.future: Future[str] = threads.submit(answer, lambda: node.write("num-queues", text))
        wait_until(lambda: int(node.get("write_count")) > begun, timeout=5, what="the write to reach the driver")


def test_a_hanging_write_ends_with_the_fault_and_stores_its_value(node: Node) -> None:
    node.create("nic")
    with ThreadPoolExecutor() as threads:
        write = HangingWrite(node, threads)
        assert not write.future.done()
        node.put("hang_write", "")
        assert write.future.result(timeout=5) == "OK"
    assert node.read("num-queues") == "8"


def test_a_hanging_write_holds_nobody_else_up(node: Node) -> None:
    node.create("nic")
    with ThreadPoolExecutor() as threads:
        write = HangingWrite(node, threads)
        others = (answer(lambda: node.write("rx-limit", "200")), answer(lambda: node.create("4GB", SECOND)))
        node.put("hang_write", "")
        write.future.result(timeout=5)
    assert others == ("OK", "OK")


def test_a_locked_device_answers_no_read_until_a_hanging_write_ends() -> None:
    node = Node(Gfx(locked=True))
    node.create("nic")
    node.create("nic", SECOND)
    with ThreadPoolExecutor() as threads:
        write = HangingWrite(node, threads)
        read = threads.submit(node.read, "num-queues")
        other = threads.submit(node.read, "num-queues", SECOND).result(timeout=20)
        node.put("hang_write", "")
        assert (write.future.result(timeout=20), read.result(timeout=20), other) == ("OK", "8", "4")


def test_a_removal_waits_for_a_hanging_write(node: Node) -> None:
    node.create("nic")
    with ThreadPoolExecutor() as threads:
        write = HangingWrite(node, threads)
        removal = threads.submit(answer, node.remove)
        wait_until(lambda: node.kernel.devices() == [], timeout=5, what="the device to leave the bus")
        assert not removal.done()
        node.put("hang_write", "")
        assert (write.future.result(timeout=5), removal.result(timeout=5)) == ("OK", "OK")


def test_a_killed_writer_stores_nothing() -> None:
    driver = Gfx()
    node = Node(driver)
    node.create("nic")
    with ThreadPoolExecutor() as threads:
        write = HangingWrite(node, threads)
        driver.kill_writers()
        assert write.future.result(timeout=5) == "EINTR"
    assert node.read("num-queues") == "4"


def test_an_unkillable_writer_waits_on() -> None:
    driver = Gfx()
    node = Node(driver)
    node.create("nic")
    node.put("hang_killable", "N")
    with ThreadPoolExecutor() as threads:
        write = HangingWrite(node, threads)
        driver.kill_writers()
        assert not write.future.done()
        node.put("hang_write", "")
        assert write.future.result(timeout=5) == "OK"


def test_the_log_tells_what_reached_the_driver(node: Node) -> None:
    node.create("varGB")
    node.write("memory", "8192\n")
    assert answer(lambda: node.write("memory", "x\ty" + "z" * 40)) == "EINVAL"
    node.remove()
    assert node.get("log").splitlines() == [
        f"1 {FIRST} create gfx-varGB 0",
        f"2 {FIRST} write memory 0 8192",
        f"3 {FIRST} write memory -22 x?y{'z' * 21}",
        f"4 {FIRST} remove gfx-varGB 0",
    ]


def test_the_log_keeps_forty_lines(node: Node) -> None:
    node.create("nic")
    for _ in range(50):
        node.write("rx-limit", "100")
    lines = node.get("log").splitlines()
    assert (len(lines), lines[0].split()[0], node.get("write_count")) == (40, "12", "50")


def test_an_older_driver_offers_only_what_its_memory_allows() -> None:
    assert Node(Gfx(memory_allowed=[4096])).types() == ["gfx-4GB", "gfx-nic"]


def test_a_narrowed_type_keeps_the_values_that_are_left() -> None:
    node = Node(Gfx(memory_allowed=[1024, 4096], types=["varGB"]))
    path = "class/mdev_bus/gfx0/mdev_supported_types/gfx-varGB/migration/params/memory/allowed_values"
    assert node.kernel.read(path) == "1024 4096"


def test_an_older_driver_takes_only_a_lower_receive_limit() -> None:
    node = Node(Gfx(rx_limit_max=1000))
    path = "class/mdev_bus/gfx0/mdev_supported_types/gfx-nic/migration/params/rx-limit/allowed_values"
    assert node.kernel.read(path) == "0 100-1000"


@pytest.mark.parametrize(
    "driver",
    [
        *(Gfx(parents=5), Gfx(parents=0), Gfx(types=["16GB"]), Gfx(types=["8GB"], memory_allowed=[4096])),
        *(Gfx(rx_limit_max=99), Gfx(rx_limit_max=10001)),
    ],
)
def test_loading_with_nonsense_is_einval(driver: Gfx) -> None:
    assert answer(lambda: Node(driver)) == "EINVAL"
