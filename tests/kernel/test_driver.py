"""The sample driver gfx keeps what `driver/README.md` promises, in a real kernel.

Every other test of the product believes that page, so each promise is tried here: what a file says, and which errno an
operation gives. `test_driver_faults.py` does the same for what goes wrong on request. One guest serves all; each test
loads the driver anew.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import BootGuest
from tests.kernel.gfx import UUIDS, Gfx, Load, held, loading, refused
from tests.kernel.guest.errors import CommandTimeoutError
from tests.kernel.guest.guest import Guest
from tests.waiting import wait_until

TREES = Path(__file__).parent / "trees"
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


# What sysfs shows


def test_the_tree_is_the_kept_one_byte_by_byte(load: Load, guest: Guest, tmp_path: Path) -> None:
    gfx = load("parents=2")
    for type_name, uuid in zip(["gfx-4GB", "gfx-8GB", "gfx-varGB", "gfx-nic"], UUIDS, strict=False):
        gfx.create(type_name, uuid)
    shown = guest.run([sys.executable, "-I", "-S", "-B", str(TREES / "dump.py")]).stdout
    (tmp_path / "gfx.txt").write_text(shown)
    kept = (TREES / "gfx.txt").read_text()
    assert shown.splitlines() == kept.splitlines(), f"if the change is meant, keep {tmp_path / 'gfx.txt'} instead"


def test_published_metadata_cannot_be_written(gfx: Gfx, guest: Guest) -> None:
    with refused(errno.EACCES):
        guest.write(f"{gfx.type_path('gfx-4GB')}/migration/params/memory/init_value", "8192")


# The text of values

ACCEPTED = [
    ("memory", "2048", "2048"),
    ("memory", "8192\n", "8192"),
    ("memory", "0004096", "4096"),
    ("new-feature", "off", "off"),
    ("new-feature", "on\n", "on"),
    ("num-queues", "1", "1"),
    ("num-queues", "64", "64"),
    ("rx-mode", "all multicast\n", "all multicast"),
    ("rx-limit", "100", "100"),
    ("rx-limit", "0", "0"),
]
REFUSED = [
    *[
        ("memory", text)
        for text in ("", " 2048", "2048 ", "2048x", "+2048", "-2048", "0x800", "2,048", "3000", "0", "2048\0")
    ],
    *[("memory", text) for text in ("2048\n\n", "4294969344", "18446744073709553664", "٢٠٤٨")],
    *[("new-feature", text) for text in ("1", "0", "y", "true", "On", "o", "offf")],
    *[("num-queues", text) for text in ("0", "65", "1-64")],
    *[("rx-mode", text) for text in ("all", "NORMAL", "normal ", "normal\nall multicast")],
    *[("rx-limit", text) for text in ("1", "99", "10001")],
]


def _instance_of_each_model(gfx: Gfx) -> dict[str, str]:
    gpu, nic = gfx.create("gfx-varGB", A), gfx.create("gfx-nic", B)
    return {"memory": gpu, "new-feature": nic, "num-queues": nic, "rx-mode": nic, "rx-limit": nic}


def test_a_value_is_read_back_in_canonical_text(gfx: Gfx) -> None:
    holder = _instance_of_each_model(gfx)
    read_back = []
    for parameter, text, _ in ACCEPTED:
        gfx.write(holder[parameter], parameter, text)
        read_back.append((parameter, text, gfx.read(holder[parameter], parameter)))
    assert read_back == [(parameter, text, f"{canonical}\n") for parameter, text, canonical in ACCEPTED]


def test_malformed_text_and_values_that_are_not_allowed_are_invalid_and_change_nothing(gfx: Gfx) -> None:
    holder = _instance_of_each_model(gfx)
    before = {parameter: gfx.read(uuid, parameter) for parameter, uuid in holder.items()}
    for parameter, text in REFUSED:
        with refused(errno.EINVAL):
            gfx.write(holder[parameter], parameter, text if text else "\n")
    assert {parameter: gfx.read(uuid, parameter) for parameter, uuid in holder.items()} == before


def test_a_write_of_nothing_never_reaches_the_driver(gfx: Gfx) -> None:
    gfx.create("gfx-varGB", A)
    gfx.write(A, "memory", "")
    assert gfx.get("write_count") == "0"


# The pool


def test_all_gpus_of_a_parent_share_one_pool_and_no_other(load: Load) -> None:
    gfx = load("parents=2")
    gfx.create("gfx-8GB", A)
    gfx.create("gfx-varGB", B)
    kinds = ["gfx-4GB", "gfx-8GB", "gfx-varGB", "gfx-nic"]
    assert [gfx.available(kind) for kind in kinds] == [1, 0, 7, 8]
    assert [gfx.available(kind, "gfx1") for kind in kinds] == [4, 2, 16, 8]


def test_memory_that_is_written_moves_the_pool_and_remove_gives_it_back(gfx: Gfx) -> None:
    gfx.create("gfx-varGB", A)
    gfx.write(A, "memory", "8192")
    after_write = gfx.available("gfx-8GB"), gfx.available("gfx-varGB")
    gfx.remove(A)
    assert (after_write, gfx.available("gfx-varGB")) == ((1, 8), 16)


def test_create_without_room_in_the_pool_leaves_nothing_behind(load: Load) -> None:
    gfx = load("pool_mb=8191")
    with refused(errno.ENOSPC):
        gfx.create("gfx-8GB", A)
    assert (gfx.instances(), gfx.available("gfx-4GB")) == (set(), 1)


def test_nics_are_counted_apart_from_the_pool(load: Load) -> None:
    gfx = load("nics=1 pool_mb=1")
    gfx.create("gfx-nic", A)
    with refused(errno.ENOSPC):
        gfx.create("gfx-nic", B)
    gfx.remove(A)
    gfx.create("gfx-nic", B)


def test_a_memory_write_may_use_the_free_pool_and_its_own_share_and_no_more(load: Load) -> None:
    gfx = load("pool_mb=8192")
    gfx.create("gfx-4GB", A)
    gfx.create("gfx-varGB", B)
    with refused(errno.ENOSPC):
        gfx.write(B, "memory", "8192")
    gfx.write(B, "memory", "4096")
    assert (gfx.read(B, "memory"), gfx.available("gfx-varGB")) == ("4096\n", 0)


@pytest.mark.parametrize(("uuid", "number"), [("not-a-uuid", errno.EINVAL), (A, errno.EEXIST)])
def test_the_core_refuses_a_malformed_or_known_uuid_before_the_driver_sees_it(gfx: Gfx, uuid: str, number: int) -> None:
    gfx.create("gfx-nic", A)
    with refused(number):
        gfx.create("gfx-4GB", uuid)
    assert gfx.get("create_count") == "1"


# Open devices


def test_an_open_device_takes_only_what_is_runtime_writable(gfx: Gfx, guest: Guest) -> None:
    gfx.create("gfx-nic", A)
    with held(guest, A):
        for parameter, text in [("new-feature", "off"), ("num-queues", "8"), ("rx-mode", "promiscuous")]:
            with refused(errno.EBUSY):
                gfx.write(A, parameter, text)
        gfx.write(A, "rx-limit", "100")
    gfx.write(A, "num-queues", "8")
    assert (gfx.read(A, "rx-limit"), gfx.read(A, "num-queues")) == ("100\n", "8\n")


def test_a_write_to_an_open_device_is_busy_even_with_the_value_that_is_set(gfx: Gfx, guest: Guest) -> None:
    gfx.create("gfx-nic", A)
    with held(guest, A), refused(errno.EBUSY):
        gfx.write(A, "num-queues", "4")


def test_the_memory_of_an_open_gpu_is_busy(gfx: Gfx, guest: Guest) -> None:
    gfx.create("gfx-varGB", A)
    with held(guest, A), refused(errno.EBUSY):
        gfx.write(A, "memory", "2048")


def test_remove_waits_until_the_device_is_closed_and_keeps_its_share_so_long(gfx: Gfx, guest: Guest) -> None:
    gfx.create("gfx-8GB", A)
    with held(guest, A):
        remover = gfx.start_removing(A)
        wait_until(lambda: A not in gfx.instances(), timeout=10, what="the removal to begin")
        with pytest.raises(CommandTimeoutError):
            remover.wait(timeout=0.5)
        during = gfx.available("gfx-8GB")
    assert (remover.wait(timeout=10), during, gfx.available("gfx-8GB")) == (0, 1, 2)


def test_the_values_of_an_instance_go_as_soon_as_its_removal_begins(gfx: Gfx, guest: Guest) -> None:
    gfx.create("gfx-nic", A)

    def files() -> list[str]:
        return guest.names(f"{gfx.parent_path()}/{A}")

    assert "migration" in files()
    with held(guest, A):
        remover = gfx.start_removing(A)
        wait_until(lambda: "migration" not in files(), timeout=10, what="the values to go")
        waits = remover.alive()
    assert (waits, remover.wait(timeout=10)) == (True, 0)


def test_the_driver_cannot_be_unloaded_while_a_device_is_open(gfx: Gfx, guest: Guest) -> None:
    gfx.create("gfx-nic", A)
    with held(guest, A), refused(errno.EAGAIN):
        guest.rmmod("gfx")


# Loading


@pytest.mark.parametrize(
    "parameters",
    [
        "parents=0",
        "parents=5",
        "types=4GB,16GB",
        "types=",
        "types=8GB memory_allowed=4096",
        "nics=-1",
        "memory_allowed=4k",
        "rx_limit_max=99",
        "rx_limit_max=10001",
    ],
)
def test_loading_refuses_what_makes_no_driver(load: Load, guest: Guest, parameters: str) -> None:
    with refused(errno.EINVAL):
        load(parameters)


def test_types_offers_only_those(load: Load) -> None:
    assert load("types=8GB,nic").types() == {"gfx-8GB", "gfx-nic"}


def test_an_older_driver_keeps_only_the_types_whose_init_value_is_allowed(load: Load) -> None:
    assert load("memory_allowed=4096").types() == {"gfx-4GB", "gfx-nic"}


def test_an_older_driver_takes_only_the_memory_that_it_publishes(load: Load, guest: Guest) -> None:
    gfx = load("memory_allowed=4096,1024")
    published = guest.read(f"{gfx.type_path('gfx-varGB')}/migration/params/memory/allowed_values")
    gfx.create("gfx-varGB", A)
    gfx.write(A, "memory", "4096")
    with refused(errno.EINVAL):
        gfx.write(A, "memory", "2048")
    assert published == "1024 4096\n"


def test_an_older_driver_takes_only_the_receive_limit_that_it_publishes(load: Load, guest: Guest) -> None:
    gfx = load("rx_limit_max=1000")
    published = guest.read(f"{gfx.type_path('gfx-nic')}/migration/params/rx-limit/allowed_values")
    gfx.create("gfx-nic", A)
    gfx.write(A, "rx-limit", "1000")
    with refused(errno.EINVAL):
        gfx.write(A, "rx-limit", "1001")
    assert published == "0 100-1000\n"


def test_late_metadata_comes_with_a_plain_change_and_then_stays(load: Load, guest: Guest) -> None:
    gfx = load("metadata=N")
    before = guest.names(gfx.type_path("gfx-4GB"))
    listener = guest.uevents()
    gfx.put("metadata", "Y")
    wait_until(lambda: "/gfx0" in listener.log(), timeout=10, what="the change event")
    listener.kill()
    with refused(errno.EINVAL):
        gfx.put("metadata", "N")
    assert "migration" not in before
    assert "MDEV_STATE" not in listener.log()
    assert guest.read(f"{gfx.type_path('gfx-4GB')}/migration/params/memory/init_value") == "4096\n"


def test_uevents_are_those_of_the_core_and_one_more_change_when_the_metadata_is_complete(
    load: Load, guest: Guest
) -> None:
    listener = guest.uevents()
    gfx = load("")
    gfx.create("gfx-nic", A)
    gfx.write(A, "rx-limit", "100")
    gfx.remove(A)
    gfx.guest.rmmod("gfx")
    load("")
    wait_until(
        lambda: listener.log().count("MDEV_STATE=registered") == 4, timeout=10, what="the events of loading again"
    )
    listener.kill()
    parent = "/devices/virtual/gfx/gfx0"
    events = [line.split()[:2] for line in listener.log().splitlines() if f" {parent} " in line or A in line]
    told = [action if path == parent else f"{action} {path.removeprefix(parent)}" for action, path in events]
    device, vfio = f"/{A}", f"/{A}/vfio-dev/vfio0"
    assert told[:3] == ["add", "change", "change"]
    assert told[3:] == [
        *[f"add {device}", f"add {vfio}", f"bind {device}", f"remove {vfio}", f"unbind {device}", f"remove {device}"],
        *["change", "remove", "add", "change", "change"],
    ]


def test_twenty_rounds_of_loading_and_unloading_with_live_instances_leave_no_trace(load: Load, guest: Guest) -> None:
    for _ in range(20):
        guest.modprobe("gfx parents=4")
        gfx = Gfx(guest=guest)
        for parent, uuid in zip(["gfx0", "gfx3"], UUIDS, strict=False):
            gfx.create("gfx-8GB", uuid, parent)
        guest.rmmod("gfx")
    left = guest.run(
        "ls /sys/bus/mdev/devices /sys/bus/mdev/drivers /sys/class/mdev_bus; ls -d /sys/class/gfx", check=False
    )
    assert re.findall(r"gfx\S*|0000\S*", left.stdout) == []
