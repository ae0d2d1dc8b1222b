"""The sample driver vgpu keeps what `vgpu_driver/README.md` promises, on real virtual functions of a real kernel.

One guest with two cards serves all, and one loaded driver: each test leaves every function as it found it. Switching
SR-IOV takes the kernel a second. The last tests are about stock vfio-pci on the same functions.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.kernel.conftest import BootGuest
from tests.kernel.gfx import held, refused
from tests.kernel.guest.guest import Guest
from tests.kernel.vgpu import (
    ADA,
    HEADER,
    MODULES,
    Vgpu,
    cannot_open,
    card_address,
    function_address,
    loaded,
)
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.vgpu import Vgpu as InMemory

ONE, TWO, THREE, FOUR = (function_address(number) for number in (1, 2, 3, 4))
OTHER = function_address(1, card=2)
FILES = ("current_vgpu_type", "creatable_vgpu_types")


@pytest.fixture(scope="module")
def guest(boot_guest: BootGuest) -> Guest:
    return boot_guest("cards", MODULES, cards=2)


@pytest.fixture(scope="module")
def driver(guest: Guest) -> Iterator[Vgpu]:
    with loaded(guest, cards=(1, 2)) as vgpu:
        yield vgpu


@pytest.fixture
def vgpu(driver: Vgpu) -> Iterator[Vgpu]:
    """The driver with nothing configured before and after each test."""
    yield driver
    for parameter in ("lingering", "mixed", "rfc"):
        driver.put(parameter, "N")
    for address in (ONE, TWO, THREE, FOUR, OTHER):
        if driver.current(address) != "0\n":
            driver.configure(address, 0)


# What sysfs shows


def test_a_function_that_is_not_configured_lists_everything_below_a_header(vgpu: Vgpu) -> None:
    lines = vgpu.creatable(ONE).splitlines(keepends=True)
    assert (lines[0], lines[1], len(lines)) == (HEADER, f"941   : {ADA}-1Q\n", 12)
    assert vgpu.current(ONE) == "0\n"


def test_a_name_may_have_the_lists_separator_in_it(vgpu: Vgpu) -> None:
    assert vgpu.creatable(ONE).endswith(f"\n1961  : {ADA}: 24C\n")


def test_the_files_are_on_virtual_functions_alone(vgpu: Vgpu) -> None:
    assert not vgpu.has(card_address(1), "nvidia")
    assert vgpu.link(ONE, "physfn") == card_address(1)


def test_a_function_is_a_vfio_device_in_a_group_of_its_own(vgpu: Vgpu) -> None:
    groups = [vgpu.link(address, "iommu_group") for address in (card_address(1), ONE, TWO, THREE, FOUR)]
    assert len(set(groups)) == 5
    assert vgpu.link(ONE, "driver") == "nvidia"
    assert vgpu.vfio_device(ONE).startswith("vfio")


# What a write changes


def test_the_first_type_of_a_card_is_the_only_one_from_then_on(vgpu: Vgpu) -> None:
    vgpu.configure(ONE, 946)
    assert vgpu.current(ONE) == "946\n"
    assert vgpu.creatable(TWO) == f"{HEADER}946   : {ADA}-8Q\n"


def test_a_function_that_is_configured_lists_nothing_not_even_its_own_type(vgpu: Vgpu) -> None:
    vgpu.configure(ONE, 946)
    assert vgpu.creatable(ONE) == HEADER


def test_a_card_without_room_lists_nothing_though_functions_are_left(vgpu: Vgpu) -> None:
    vgpu.configure(ONE, 949)
    vgpu.configure(TWO, 949)
    assert vgpu.creatable(THREE) == HEADER
    with refused(errno.EIO):
        vgpu.configure(THREE, 949)
    assert vgpu.current(THREE) == "0\n"


def test_where_types_may_be_mixed_the_list_shrinks_to_what_has_room(vgpu: Vgpu) -> None:
    vgpu.put("mixed", "Y")
    vgpu.configure(ONE, 949)
    assert vgpu.names(TWO) == [*(f"{ADA}-{size}Q" for size in (1, 2, 3, 4, 6, 8, 12, 16, 24)), f"{ADA}: 24C"]
    vgpu.configure(TWO, 948)
    assert vgpu.names(THREE) == [f"{ADA}-{size}Q" for size in (1, 2, 3, 4, 6, 8)]


def test_clearing_the_last_function_gives_the_whole_list_back(vgpu: Vgpu) -> None:
    before = vgpu.creatable(TWO)
    vgpu.configure(ONE, 949)
    assert vgpu.creatable(TWO) != before
    vgpu.configure(ONE, 0)
    assert (vgpu.current(ONE), vgpu.creatable(TWO)) == ("0\n", before)


def test_numbers_are_a_cards_own(vgpu: Vgpu) -> None:
    assert f"946   : {ADA}-8Q\n" in vgpu.creatable(ONE)
    assert f"1946  : {ADA}-8Q\n" in vgpu.creatable(OTHER)
    with refused(errno.EIO):
        vgpu.configure(OTHER, 946)
    vgpu.configure(OTHER, 1946)
    assert len(vgpu.names(ONE)) == 11  # one card takes nothing from another


def test_a_write_sends_no_uevent(vgpu: Vgpu) -> None:
    listener = vgpu.guest.uevents()
    vgpu.configure(ONE, 946)
    vgpu.guest.write(f"/sys/bus/pci/devices/{ONE}/uevent", "change")  # what comes after it has arrived
    listener.wait_for(ONE, timeout=20)
    listener.kill()
    about = [line for line in listener.log().splitlines() if ONE in line]
    assert len(about) == 1
    assert about[0].startswith("change")


# What is refused


@pytest.mark.parametrize("text", ["eight", "0x3b2", "946x", "9 46", "-", ""])
def test_what_is_no_decimal_number_is_einval(vgpu: Vgpu, text: str) -> None:
    with refused(errno.EINVAL):
        vgpu.configure(ONE, text)


def test_a_number_out_of_range_is_erange(vgpu: Vgpu) -> None:
    with refused(errno.ERANGE):
        vgpu.configure(ONE, 2**63)


def test_a_configured_function_is_not_configured_again_even_to_the_same_type(vgpu: Vgpu) -> None:
    vgpu.configure(ONE, 946)
    with refused(errno.EPERM):
        vgpu.configure(ONE, 946)
    assert vgpu.current(ONE) == "946\n"


def test_there_is_nothing_to_clear_where_nothing_is_configured(vgpu: Vgpu) -> None:
    with refused(errno.EPERM):
        vgpu.configure(ONE, 0)


def test_another_type_than_the_cards_is_eio(vgpu: Vgpu) -> None:
    vgpu.configure(ONE, 946)
    with refused(errno.EIO):
        vgpu.configure(TWO, 945)


def test_an_open_function_is_not_cleared(vgpu: Vgpu) -> None:
    vgpu.configure(ONE, 946)
    with held(vgpu.guest, ONE), refused(errno.EPERM):
        vgpu.configure(ONE, 0)
    assert vgpu.current(ONE) == "946\n"


def test_a_closed_function_whose_program_lingers_is_ebusy(vgpu: Vgpu) -> None:
    vgpu.configure(ONE, 946)
    vgpu.put("lingering", "Y")
    with refused(errno.EBUSY):
        vgpu.configure(ONE, 0)
    assert vgpu.current(ONE) == "946\n"


def test_a_function_that_is_not_configured_cannot_be_opened(vgpu: Vgpu) -> None:
    assert "No such device" in cannot_open(vgpu.guest, ONE)


# SR-IOV off and on


def test_switching_sriov_off_and_on_forgets_what_was_configured(vgpu: Vgpu) -> None:
    fresh = vgpu.creatable(ONE)
    vgpu.put("mixed", "Y")
    vgpu.configure(ONE, 949)
    vgpu.configure(TWO, 946)
    vgpu.switch(0)
    assert not vgpu.has(ONE, "")
    vgpu.switch(4)
    assert [vgpu.current(address) for address in (ONE, TWO)] == ["0\n", "0\n"]
    assert vgpu.creatable(THREE) == fresh
    vgpu.configure(ONE, 949)
    assert vgpu.names(TWO) == [f"{ADA}-24Q"]  # mixing ended too


# Stock vfio-pci


@pytest.fixture
def handed_through(vgpu: Vgpu) -> Iterator[Vgpu]:
    """Stock vfio-pci has the fourth function."""
    vgpu.bind(FOUR, "vfio-pci")
    yield vgpu
    vgpu.bind(FOUR, "nvidia")


def test_vfio_pci_takes_a_function_with_its_own_group_and_without_types(handed_through: Vgpu) -> None:
    vgpu = handed_through
    group = vgpu.link(FOUR, "iommu_group")
    assert vgpu.link(FOUR, "driver") == "vfio-pci"
    assert vgpu.link(FOUR, "physfn") == card_address(1)
    assert vgpu.vfio_device(FOUR).startswith("vfio")
    assert not vgpu.has(FOUR, "nvidia")
    assert vgpu.guest.names(f"/sys/kernel/iommu_groups/{group}/devices") == [FOUR]
    with held(vgpu.guest, FOUR):
        assert "Device or resource busy" in cannot_open(vgpu.guest, FOUR)


# As the driver that was proposed for the kernel


@pytest.fixture
def rfc(vgpu: Vgpu) -> Vgpu:
    vgpu.put("rfc", "Y")
    return vgpu


def test_the_proposed_driver_shows_a_header_only_while_the_card_is_unused(rfc: Vgpu) -> None:
    assert rfc.creatable(TWO).startswith(HEADER)
    rfc.configure(ONE, 949)
    assert (rfc.creatable(ONE), rfc.creatable(TWO)) == ("", f"949   : {ADA}-24Q\n")
    rfc.configure(TWO, 949)
    assert rfc.creatable(THREE) == ""


def test_the_proposed_driver_has_an_errno_for_each_refusal(rfc: Vgpu) -> None:
    rfc.configure(ONE, 949)
    with refused(errno.EINVAL):
        rfc.configure(TWO, 946)
    with refused(errno.ENODEV):
        rfc.configure(TWO, 7)
    rfc.configure(TWO, 949)
    with refused(errno.ENOSPC):
        rfc.configure(THREE, 949)


def test_the_proposed_driver_takes_no_write_while_the_function_is_open(rfc: Vgpu) -> None:
    rfc.configure(ONE, 949)
    with held(rfc.guest, ONE), refused(errno.EBUSY):
        rfc.configure(ONE, 0)
    assert rfc.current(ONE) == "949\n"


def test_the_proposed_driver_clears_what_is_clear(rfc: Vgpu) -> None:
    rfc.configure(ONE, 0)
    assert rfc.current(ONE) == "0\n"


# The driver in memory, on which simulated nodes run


WRITES = [
    *[(1, "946"), (1, "946"), (2, "945"), (2, "7"), (2, "946"), (3, "x"), (3, "0x3b2"), (3, "-"), (3, "0"), (1, "0")],
    *[(1, "0"), (2, "0"), (1, "949"), (2, "949"), (3, "949"), (2, "0"), (2, "1961"), (1, "0"), (2, "1961")],
    *[(3, "1961"), (4, "99999999999999999999"), (2, "0"), (3, "0"), (4, "950"), (1, "941"), (4, "0")],
]
"""Function and text, one after the other; at the end nothing is configured."""


def answers(read: Callable[[str], str], write: Callable[[str, str], None], card: Sequence[str]) -> list[list[str]]:
    """What each of WRITES answers, and what every function of the card shows after it."""
    told = []
    for number, text in WRITES:
        try:
            write(f"bus/pci/devices/{card[number - 1]}/nvidia/current_vgpu_type", f"{text}\n")
        except OSError as error:
            answer = errno.errorcode[error.errno or 0]
        else:
            answer = "OK"
        shown = [read(f"bus/pci/devices/{address}/nvidia/{file}").rstrip("\n") for address in card for file in FILES]
        told.append([f"{number} <- {text!r}", answer, *shown])
    return told


@pytest.mark.parametrize("switched", [[], ["mixed"], ["rfc"], ["mixed", "rfc"]], ids="-".join)
def test_the_driver_in_memory_answers_alike(vgpu: Vgpu, switched: list[str]) -> None:
    driver = InMemory(mixed="mixed" in switched, rfc="rfc" in switched)
    memory = MemoryKernel(drivers=[driver])
    for parameter in switched:
        vgpu.put(parameter, "Y")
    card = [vf.home.name for vf in driver.found[0].vfs]
    real = answers(
        lambda path: vgpu.guest.read(f"/sys/{path}"),
        lambda path, text: vgpu.guest.write(f"/sys/{path}", text),
        (ONE, TWO, THREE, FOUR),
    )
    ours = answers(memory.read, memory.write, card)
    assert [pair for pair in zip(real, ours, strict=True) if pair[0] != pair[1]] == []
