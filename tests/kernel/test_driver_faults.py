"""What goes wrong on request in the sample driver, and what it tells of it: `driver/README.md`, "Module parameters".

Each fault is tried on and off, so that a test elsewhere that asks for one knows that it really happens, and only there.
"""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterator

import pytest

from tests.kernel.conftest import BootGuest
from tests.kernel.gfx import UUIDS, Gfx, Load, loading, refused
from tests.kernel.guest.errors import CommandTimeoutError
from tests.kernel.guest.guest import Guest
from tests.kernel.guest.process import Process
from tests.waiting import wait_until

A, B = UUIDS[:2]


@pytest.fixture(scope="module")
def guest(boot_guest: BootGuest) -> Guest:
    return boot_guest("driver", [])


@pytest.fixture
def load(guest: Guest) -> Iterator[Load]:
    with loading(guest) as load_gfx:
        yield load_gfx


@pytest.fixture
def gfx(load: Load) -> Gfx:
    return load("")


# Faults


def test_fail_create_fails_with_its_errno_and_leaves_nothing_behind(gfx: Gfx) -> None:
    for number in (errno.EIO, errno.EPERM, errno.ENODEV):
        gfx.put("fail_create", number)
        with refused(number):
            gfx.create("gfx-8GB", A)
    left = gfx.instances(), gfx.available("gfx-8GB")
    gfx.put("fail_create", 0)
    gfx.create("gfx-8GB", A)
    assert (left, gfx.instances()) == ((set(), 2), {A})


def test_fail_write_fails_writes_of_that_parameter_alone(gfx: Gfx) -> None:
    gfx.create("gfx-nic", A)
    gfx.put("fail_write", "rx-mode")
    with refused(errno.EIO):
        gfx.write(A, "rx-mode", "promiscuous")
    gfx.put("fail_write_errno", errno.ETIMEDOUT)
    with refused(errno.ETIMEDOUT):
        gfx.write(A, "rx-mode", "not even a value")
    gfx.write(A, "num-queues", "8")
    failed = gfx.read(A, "rx-mode")
    gfx.put("fail_write", "")
    gfx.write(A, "rx-mode", "promiscuous")
    assert (failed, gfx.read(A, "rx-mode")) == ("normal\n", "promiscuous\n")


CLAMPS = [
    ("new-feature", "on", "off"),
    ("new-feature", "off", "on"),
    ("num-queues", "1", "2"),
    ("num-queues", "7", "1"),
    ("rx-mode", "normal", "all multicast"),
    ("rx-mode", "promiscuous", "normal"),
    ("rx-limit", "0", "100"),
    ("rx-limit", "100", "0"),
]


def test_clamp_write_stores_the_first_other_allowed_value(gfx: Gfx) -> None:
    gfx.create("gfx-nic", A)
    stored = []
    for parameter, text, _ in CLAMPS:
        gfx.put("clamp_write", parameter)
        gfx.write(A, parameter, text)
        clamped = gfx.read(A, parameter)
        gfx.put("clamp_write", "")
        gfx.write(A, parameter, text)
        stored.append((clamped, gfx.read(A, parameter)))
    assert stored == [(f"{clamped}\n", f"{text}\n") for _, text, clamped in CLAMPS]


def test_clamp_write_has_no_other_value_where_only_one_is_allowed(gfx: Gfx) -> None:
    gfx.create("gfx-4GB", A)
    gfx.put("clamp_write", "memory")
    gfx.write(A, "memory", "4096")
    assert gfx.read(A, "memory") == "4096\n"


def test_the_pool_must_have_room_for_the_clamped_value(load: Load) -> None:
    gfx = load("pool_mb=1024")
    gfx.create("gfx-varGB", A)
    gfx.write(A, "memory", "1024")
    gfx.put("clamp_write", "memory")
    with refused(errno.ENOSPC):
        gfx.write(A, "memory", "1024")


def test_clamp_write_does_not_make_a_forbidden_value_legal(gfx: Gfx) -> None:
    gfx.create("gfx-nic", A)
    gfx.put("clamp_write", "num-queues")
    with refused(errno.EINVAL):
        gfx.write(A, "num-queues", "65")


def test_hang_write_holds_up_that_parameter_alone_until_the_fault_ends(gfx: Gfx) -> None:
    for uuid in (A, B):
        gfx.create("gfx-nic", uuid)
    gfx.put("hang_write", "rx-mode")
    writer = gfx.start_writing(A, "rx-mode", "promiscuous")
    wait_until(lambda: gfx.get("write_count") == "1", timeout=10, what="the write to begin")
    gfx.write(A, "num-queues", "8")
    gfx.write(B, "rx-limit", "100")
    during = gfx.read(A, "rx-mode"), writer.alive()
    gfx.put("hang_write", "")
    assert (during, writer.wait(timeout=10), gfx.read(A, "rx-mode")) == (("normal\n", True), 0, "promiscuous\n")


def _begin_to_hang(gfx: Gfx, uuid: str) -> Process:
    """A write of memory that waits in the driver."""
    gfx.put("hang_write", "memory")
    writer = gfx.start_writing(uuid, "memory", "2048")
    wait_until(lambda: gfx.get("write_count") == "1", timeout=10, what="the write to begin")
    return writer


def test_a_killed_writer_that_hangs_ends_and_stores_nothing(gfx: Gfx) -> None:
    writer = _begin_to_hang(gfx, gfx.create("gfx-varGB", A))
    writer.kill()
    assert (writer.wait(timeout=10), gfx.read(A, "memory")) == (-signal.SIGKILL, "1024\n")


def test_without_hang_killable_not_even_sigkill_ends_a_hanging_write(gfx: Gfx, guest: Guest) -> None:
    gfx.put("hang_killable", "N")
    writer = _begin_to_hang(gfx, gfx.create("gfx-varGB", A))
    writer.kill()
    with pytest.raises(CommandTimeoutError):
        writer.wait(timeout=0.5)
    state = guest.read(f"/proc/{writer.pid}/status")
    gfx.put("hang_write", "")
    assert "State:\tD" in state
    assert (writer.wait(timeout=10), gfx.read(A, "memory")) == (-signal.SIGKILL, "2048\n")


def test_hang_killable_means_the_writes_that_begin_later(gfx: Gfx) -> None:
    writer = _begin_to_hang(gfx, gfx.create("gfx-varGB", A))
    gfx.put("hang_killable", "N")
    writer.kill()
    assert writer.wait(timeout=10) == -signal.SIGKILL


def test_a_write_that_hung_goes_on_to_the_faults_that_follow(gfx: Gfx) -> None:
    writer = _begin_to_hang(gfx, gfx.create("gfx-varGB", A))
    gfx.put("fail_write", "memory")
    gfx.put("hang_write", "")
    assert (writer.wait(timeout=10) != 0, gfx.read(A, "memory")) == (True, "1024\n")


def test_remove_waits_for_a_hanging_write_to_that_instance(gfx: Gfx) -> None:
    writer = _begin_to_hang(gfx, gfx.create("gfx-varGB", A))
    remover = gfx.start_removing(A)
    wait_until(lambda: "mdev_type" not in gfx.guest.names(f"{gfx.parent_path()}/{A}"), timeout=10, what="removal")
    with pytest.raises(CommandTimeoutError):
        remover.wait(timeout=0.5)
    gfx.put("hang_write", "")
    assert (writer.wait(timeout=10), remover.wait(timeout=10), gfx.instances()) == (0, 0, set())


def test_fail_read_fails_reads_of_that_parameter_alone(gfx: Gfx) -> None:
    gfx.create("gfx-nic", A)
    gfx.put("fail_read", "rx-limit")
    with refused(errno.EIO):
        gfx.read(A, "rx-limit")
    gfx.read(A, "rx-mode")
    gfx.put("fail_read", "")
    assert gfx.read(A, "rx-limit") == "0\n"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        *[(fault, "no-such") for fault in ("fail_write", "clamp_write", "hang_write", "fail_read")],
        *[("fail_create", "134"), ("fail_create", "-5"), ("fail_write_errno", "0"), ("hang_killable", "maybe")],
    ],
)
def test_a_fault_that_can_never_happen_is_refused(gfx: Gfx, fault: str, text: str) -> None:
    before = gfx.get(fault)
    with refused(errno.EINVAL):
        gfx.put(fault, text)
    assert gfx.get(fault) == before


# What happened


def test_the_log_tells_every_event_with_its_result(gfx: Gfx, guest: Guest) -> None:
    gfx.create("gfx-varGB", A)
    gfx.put("clamp_write", "memory")
    gfx.write(A, "memory", "2048\n")
    with refused(errno.EINVAL):
        gfx.write(A, "memory", "1\t2\0 and more than 24 bytes of it")
    gfx.put("fail_create", errno.EIO)
    with refused(errno.EIO):
        gfx.create("gfx-nic", B)
    gfx.remove(A)
    expected = [
        f"1 {A} create gfx-varGB 0",
        f"2 {A} write memory 0 2048",
        f"3 {A} write memory -22 1?2? and more than 24 by",
        f"4 {B} create gfx-nic -5",
        f"5 {A} remove gfx-varGB 0",
    ]
    in_kernel_log = re.findall(r"gfx: (\d+ [0-9a-f-]{36} .*)", guest.dmesg())
    assert (gfx.log(), in_kernel_log) == (expected, expected)


def test_a_killed_write_is_logged_as_interrupted(gfx: Gfx) -> None:
    writer = _begin_to_hang(gfx, gfx.create("gfx-varGB", A))
    writer.kill()
    writer.wait(timeout=10)
    assert gfx.log()[-1] == f"2 {A} write memory -4 2048"


def test_the_log_keeps_the_last_40_events_and_the_counters_all(gfx: Gfx, guest: Guest) -> None:
    gfx.create("gfx-nic", A)
    guest.run(f"for n in $(seq 101 150); do echo $n > {gfx.value_path(A, 'rx-limit')}; done")
    log = gfx.log()
    counts = gfx.get("create_count"), gfx.get("write_count")
    assert (len(log), log[0], log[-1], counts) == (
        40,
        f"12 {A} write rx-limit 0 111",
        f"51 {A} write rx-limit 0 150",
        ("1", "50"),
    )


@pytest.mark.parametrize(
    "name",
    ["parents", "pool_mb", "nics", "types", "memory_allowed", "rx_limit_max", "create_count", "write_count", "log"],
)
def test_what_holds_since_loading_cannot_be_set_later(gfx: Gfx, name: str) -> None:
    with refused(errno.EACCES):
        gfx.put(name, "1")
