"""The back-end of NVIDIA's vendor-specific VFIO: the literal listings of the field, and a card in memory."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mdev_node_agent.backends.nvidia import NAMES_FILE, Names, NvidiaBackend, creatable_types
from mdev_node_agent.seeing.observation import Offer
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.vgpu import Vgpu

CARD = "0000:65:00.0"
FIRST, SECOND, THIRD, FOURTH = (f"0000:65:00.{n}" for n in (4, 5, 6, 7))
EIGHT, WHOLE = "NVIDIA RTX6000-Ada-8Q", "NVIDIA RTX6000-Ada-48Q"

L40S = (
    "ID    : vGPU Name\n1145  : NVIDIA L40S-1B\n1146  : NVIDIA L40S-2B\n1147  : NVIDIA L40S-1Q\n"
    "1148  : NVIDIA L40S-2Q\n1156  : NVIDIA L40S-48Q\n2164  : NVIDIA L40S-3B\n"
)


def machine(**of_driver: object) -> tuple[MemoryKernel, Vgpu]:
    driver = Vgpu(**of_driver)  # type: ignore[arg-type]
    return MemoryKernel(drivers=[driver]), driver


def offers(kernel: MemoryKernel, backend: NvidiaBackend | None = None, card: str = CARD) -> dict[str, Offer]:
    (parent,) = [p for p in (backend or NvidiaBackend()).discover(kernel).parents if p.name == card]
    return {offer.type: offer for offer in parent.offers}


def test_a_list_is_read_as_the_driver_prints_it() -> None:
    types, strange = creatable_types(L40S)
    assert types["1148"] == "NVIDIA L40S-2Q" and types["2164"] == "NVIDIA L40S-3B"
    assert (len(types), strange) == (6, [])


def test_a_list_may_lack_its_header() -> None:
    assert creatable_types("1428 : NVIDIA H200X-141C\n") == ({"1428": "NVIDIA H200X-141C"}, [])


def test_a_list_of_an_exhausted_card_has_the_header_alone() -> None:
    assert creatable_types("ID    : vGPU Name\n") == ({}, [])
    assert creatable_types("") == ({}, [])


def test_a_name_may_have_a_colon() -> None:
    assert creatable_types("1961  : NVIDIA RTX6000-Ada: 24C\n")[0] == {"1961": "NVIDIA RTX6000-Ada: 24C"}


@pytest.mark.parametrize("line", ["nonsense", "12", "x12 : name", "12 : ", "12 : a/b", "-1 : name", "1² : name"])
def test_a_line_that_is_no_entry_is_told_and_the_others_count(line: str) -> None:
    assert creatable_types(f"{line}\n941   : NVIDIA RTX6000-Ada-1Q\n") == ({"941": "NVIDIA RTX6000-Ada-1Q"}, [line])


def test_a_card_offers_each_type_on_every_free_function() -> None:
    kernel, _ = machine()
    offer = offers(kernel)[EIGHT]
    assert (offer.available, offer.places, offer.lasting) == (4, (FIRST, SECOND, THIRD, FOURTH), False)
    assert offer.profile == {
        "backend": "nvidia",
        "driver": {"name": "nvidia", "version": "550.90.05"},
        "type": {"id": EIGHT, "name": EIGHT, "deviceAPI": "vfio-pci"},
        "hardware": {
            "vendor": "0x10de",
            "device": "0x26b1",
            "subsystemVendor": "0x10de",
            "subsystemDevice": "0x16a1",
        },
    }


def test_equal_cards_offer_the_same_profile_though_their_numbers_differ() -> None:
    kernel, _ = machine(cards=2)
    assert offers(kernel)[EIGHT].profile == offers(kernel, card="0000:66:00.0")[EIGHT].profile


def test_the_card_is_shown_with_its_numa_node() -> None:
    kernel, _ = machine()
    (parent,) = NvidiaBackend().discover(kernel).parents
    assert (parent.name, parent.driver, parent.numa_node) == (CARD, "nvidia", 0)


def test_room_shrinks_as_functions_are_configured_and_types_stay_offered() -> None:
    kernel, _ = machine()
    backend = NvidiaBackend()
    before = offers(kernel, backend)
    backend.create(kernel, parent=CARD, type_id=EIGHT, instance=FIRST)
    now = offers(kernel, backend)
    assert now.keys() == before.keys()
    assert (now[EIGHT].places, now[WHOLE].places, now[WHOLE].available) == ((SECOND, THIRD, FOURTH), (), 0)


def test_of_a_card_with_one_type_at_a_time_only_that_one_has_room() -> None:
    kernel, _ = machine(mixed=False)
    backend = NvidiaBackend()
    offers(kernel, backend)
    backend.create(kernel, parent=CARD, type_id=EIGHT, instance=FIRST)
    assert {name for name, offer in offers(kernel, backend).items() if offer.available} == {EIGHT}


def test_a_configured_function_is_an_instance_with_its_vfio_group() -> None:
    kernel, driver = machine()
    driver.configure(SECOND, EIGHT)
    (seen,) = NvidiaBackend().discover(kernel).instances
    assert (seen.id, seen.parent, seen.type) == (SECOND, CARD, EIGHT)
    assert (seen.vfio_group, seen.vfio_device) == ("1", "vfio1")


def test_on_a_full_card_the_names_are_remembered() -> None:
    kernel, driver = machine()
    backend = NvidiaBackend()
    offers(kernel, backend)
    driver.configure(FIRST, WHOLE)
    assert [i.type for i in backend.discover(kernel).instances] == [WHOLE]


def test_names_are_remembered_across_a_restart(tmp_path: Path) -> None:
    kernel, driver = machine()
    offers(kernel, NvidiaBackend(names=Names(tmp_path / NAMES_FILE)))
    driver.configure(FIRST, WHOLE)
    after = NvidiaBackend(names=Names(tmp_path / NAMES_FILE))
    assert [i.type for i in after.discover(kernel).instances] == [WHOLE]


def test_names_of_another_driver_version_are_not_used(tmp_path: Path) -> None:
    kernel, _ = machine()
    offers(kernel, NvidiaBackend(names=Names(tmp_path / NAMES_FILE)))
    newer, driver = machine(version="570.1")
    driver.configure(FIRST, WHOLE)
    assert NvidiaBackend(names=Names(tmp_path / NAMES_FILE)).discover(newer).instances == ()


def test_names_of_another_card_are_not_used() -> None:
    kernel, driver = machine(cards=2)
    driver.configure("0000:66:00.4", WHOLE)
    findings = NvidiaBackend().discover(kernel)
    assert findings.instances == ()
    assert [u.name for u in findings.unreadable] == ["0000:66:00.4"]
    assert "1950" in findings.unreadable[0].message


def test_a_damaged_file_of_names_is_learned_anew(tmp_path: Path) -> None:
    (tmp_path / NAMES_FILE).write_text("[1]")
    kernel, _ = machine()
    assert EIGHT in offers(kernel, NvidiaBackend(names=Names(tmp_path / NAMES_FILE)))
    assert Names(tmp_path / NAMES_FILE)._load()


def test_names_that_cannot_be_kept_are_told_and_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kernel, _ = machine()
    findings = NvidiaBackend(names=Names(tmp_path / "file" / NAMES_FILE)).discover(kernel)
    assert EIGHT in {o.type for o in findings.parents[0].offers}
    assert [u.name for u in findings.unreadable] == [NAMES_FILE]


@pytest.mark.parametrize("card", [0, 1])
def test_a_type_is_made_by_the_number_of_its_own_card(card: int) -> None:
    kernel, driver = machine(cards=2)
    parent, place = f"0000:{65 + card}:00.0", f"0000:{65 + card}:00.4"
    NvidiaBackend().create(kernel, parent=parent, type_id=EIGHT, instance=place)
    assert driver.writes == [(place, str(946 + 1000 * card))]
    assert kernel.read(f"bus/pci/devices/{place}/nvidia/current_vgpu_type") == str(946 + 1000 * card)


def test_a_function_that_somebody_else_has_configured_is_not_written() -> None:
    kernel, driver = machine()
    driver.configure(FIRST, EIGHT)
    with pytest.raises(FileExistsError):
        NvidiaBackend().create(kernel, parent=CARD, type_id=EIGHT, instance=FIRST)
    assert driver.writes == []


@pytest.mark.parametrize("rfc", [False, True])
def test_a_function_that_is_taken_in_the_last_moment_is_a_collision(rfc: bool) -> None:
    kernel, driver = machine(rfc=rfc)
    driver.before_write = lambda address, text: driver.configure(address, EIGHT)
    with pytest.raises(FileExistsError):
        NvidiaBackend().create(kernel, parent=CARD, type_id=EIGHT, instance=FIRST)


@pytest.mark.parametrize("rfc", [False, True])
def test_a_card_that_is_filled_in_the_last_moment_has_no_room(rfc: bool) -> None:
    kernel, driver = machine(rfc=rfc)
    driver.before_write = lambda address, text: driver.configure(SECOND, WHOLE)
    with pytest.raises(OSError) as caught:
        NvidiaBackend().create(kernel, parent=CARD, type_id=EIGHT, instance=FIRST)
    assert caught.value.errno == errno.ENOSPC


def test_a_type_that_a_function_cannot_be_made_now_has_no_room_and_nothing_is_written() -> None:
    kernel, driver = machine()
    driver.configure(SECOND, EIGHT)
    with pytest.raises(OSError) as caught:
        NvidiaBackend().create(kernel, parent=CARD, type_id=WHOLE, instance=FIRST)
    assert (caught.value.errno, driver.writes) == (errno.ENOSPC, [])


def test_a_function_of_another_card_is_not_configured() -> None:
    kernel, driver = machine(cards=2)
    with pytest.raises(OSError) as caught:
        NvidiaBackend().create(kernel, parent=CARD, type_id=EIGHT, instance="0000:66:00.4")
    assert (caught.value.errno, driver.writes) == (errno.ENODEV, [])


def test_a_release_clears_the_function() -> None:
    kernel, driver = machine()
    driver.configure(FIRST, EIGHT)
    NvidiaBackend().release(kernel, instance=FIRST)
    assert driver.configured() == {}


def test_a_release_of_a_free_function_writes_nothing() -> None:
    kernel, driver = machine()
    NvidiaBackend().release(kernel, instance=FIRST)
    assert driver.writes == []


def test_an_open_function_is_not_cleared() -> None:
    kernel, driver = machine()
    driver.configure(FIRST, EIGHT)
    kernel.open_device(FIRST)
    with pytest.raises(PermissionError):
        NvidiaBackend().release(kernel, instance=FIRST)
    assert driver.configured() == {FIRST: EIGHT}


@pytest.mark.parametrize("attribute", ["nvidia/current_vgpu_type", "power/control", "migration/..", "uevent"])
def test_no_file_outside_of_the_allow_list_is_written(attribute: str) -> None:
    kernel, driver = machine()
    with pytest.raises(PermissionError):
        NvidiaBackend().write(kernel, instance=FIRST, attribute=attribute, text="0")
    assert driver.writes == []


def test_without_sriov_there_is_nothing() -> None:
    kernel, driver = machine()
    driver.sriov(0, on=False)
    findings = NvidiaBackend().discover(kernel)
    assert (findings.parents, findings.instances, findings.unreadable) == ((), (), ())


def test_what_was_configured_is_lost_with_sriov() -> None:
    kernel, driver = machine()
    backend = NvidiaBackend()
    driver.configure(FIRST, EIGHT)
    driver.sriov(0, on=False)
    driver.sriov(0, on=True)
    assert backend.discover(kernel).instances == ()
    assert offers(kernel, backend)[EIGHT].available == 4
