"""The back-end of plain VFIO functions, on VFs in memory, and on a tree of files as sysfs lays it out."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mdev_node_agent.backends.nvidia import NvidiaBackend
from mdev_node_agent.backends.vfio_pci import VfioPciBackend
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.sysfs.host import HostPort
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.tree import File, constant
from tests.memkernel.vfio_functions import CARD, VfioFunctions
from tests.memkernel.vgpu import Vgpu

FIRST, SECOND = "0000:81:00.4", "0000:81:00.5"
DRIVER = "mlx5_vfio_pci"
BACKEND = VfioPciBackend()


def machine(**values: str) -> tuple[MemoryKernel, VfioFunctions]:
    driver = VfioFunctions(values=values)
    return MemoryKernel(drivers=[driver]), driver


def test_a_kernel_without_pci_has_nothing(tmp_path: Path) -> None:
    findings = BACKEND.discover(HostPort(root=tmp_path))
    assert (findings.parents, findings.instances, findings.unreadable) == ((), (), ())


def test_the_functions_of_a_card_are_one_offer_under_the_name_of_their_driver() -> None:
    kernel, _ = machine()
    (parent,) = BACKEND.discover(kernel).parents
    (offer,) = parent.offers
    assert (parent.name, parent.driver, parent.numa_node) == (CARD, "mlx5_core", 0)
    assert (offer.type, offer.available, offer.lasting) == (DRIVER, 4, True)
    assert offer.places == tuple(f"0000:81:00.{n}" for n in (4, 5, 6, 7))


def test_a_profile_has_no_type_and_the_ids_of_the_function_itself() -> None:
    kernel, _ = machine()
    assert BACKEND.discover(kernel).parents[0].offers[0].profile == {
        "backend": "vfio-pci",
        "driver": {"name": DRIVER},
        "hardware": {
            "vendor": "0x15b3",
            "device": "0x101e",
            "subsystemVendor": "0x15b3",
            "subsystemDevice": "0x0083",
        },
    }


def test_every_function_is_an_instance_with_where_vfio_has_it() -> None:
    kernel, _ = machine()
    seen = BACKEND.discover(kernel).instances
    assert [(i.id, i.parent, i.type) for i in seen[:2]] == [(FIRST, CARD, DRIVER), (SECOND, CARD, DRIVER)]
    assert (seen[1].vfio_group, seen[1].vfio_device) == ("1", "vfio1")


def test_what_a_function_publishes_is_its_profile_and_its_values_are_read() -> None:
    kernel, driver = machine(queues="4")
    driver.set_to[SECOND, "queues"] = "8"
    findings = BACKEND.discover(kernel)
    published = findings.parents[0].offers[0].profile["published"]
    assert published["model"] == "example.org/nic"
    assert [i.values["queues"] for i in findings.instances] == ["4", "8", "4", "4"]


def test_functions_that_publish_different_things_are_offers_of_their_own() -> None:
    kernel, driver = machine(queues="4")
    driver.homes[SECOND].directory("migration_info").fill({"model": constant("example.org/other")})
    findings = BACKEND.discover(kernel)
    offers = findings.parents[0].offers
    assert [(o.type, len(o.places or ())) for o in offers] == [(DRIVER, 3), (DRIVER, 1)]
    seen = observe(kernel, [BACKEND])
    assert [seen.offer_of(i) for i in seen.instances[:2]] == list(offers)


def test_what_functions_publish_and_is_ignored_is_told_once_for_all_of_them() -> None:
    kernel, driver = machine(queues="4")
    for home in driver.homes.values():
        home.directory("migration_info").fill({"colour": constant("red")})
    offers = [o for parent in BACKEND.discover(kernel).parents for o in parent.offers]
    assert {o.warnings for o in offers} == {('model "example.org/nic": the file "colour" is unknown and ignored',)}


def test_attributes_are_shown_where_a_function_publishes_nothing() -> None:
    kernel, driver = machine()
    driver.homes[FIRST].directory("migration").fill({"serial": constant("7")})
    assert BACKEND.discover(kernel).instances[0].attributes == {"migration/serial": "7"}


def test_a_function_without_vfio_driver_is_none_of_ours() -> None:
    kernel, driver = machine()
    driver.unbind(FIRST)
    assert FIRST not in {i.id for i in BACKEND.discover(kernel).instances}


def test_functions_that_nvidia_s_driver_has_are_left_to_its_back_end() -> None:
    kernel = MemoryKernel(drivers=[Vgpu(), VfioFunctions()])
    seen = {i.parent for i in BACKEND.discover(kernel).instances}
    assert seen == {CARD}


def test_functions_of_nvidia_s_driver_are_not_ours_before_their_files_are_there() -> None:
    vgpu = Vgpu()
    kernel = MemoryKernel(drivers=[vgpu])
    for vf in vgpu.found[0].vfs:
        vf.home.drop("nvidia")
    assert BACKEND.discover(kernel).instances == ()


def test_one_card_is_one_parent_though_two_back_ends_see_its_functions() -> None:
    vgpu = Vgpu()
    kernel = MemoryKernel(drivers=[vgpu])
    last = vgpu.found[0].vfs[-1].home
    last.drop("nvidia")
    last.link("driver", kernel._machine.root.directory("bus/pci/drivers/vfio-pci"))
    seen = observe(kernel, [NvidiaBackend(), BACKEND])
    (parent,) = seen.parents
    assert {o.profile["backend"] for o in parent.offers} == {"nvidia", "vfio-pci"}


def test_a_claim_writes_nothing() -> None:
    kernel, driver = machine(queues="4")
    BACKEND.create(kernel, parent=CARD, type_id=DRIVER, instance=FIRST)
    BACKEND.release(kernel, instance=FIRST)
    assert driver.writes == []


@pytest.mark.parametrize(
    ("parent", "type_id"), [("0000:82:00.0", DRIVER), (CARD, "vfio-pci")], ids=["another card", "another driver"]
)
def test_what_is_another_function_by_now_cannot_be_claimed(parent: str, type_id: str) -> None:
    kernel, _ = machine()
    with pytest.raises(OSError) as caught:
        BACKEND.create(kernel, parent=parent, type_id=type_id, instance=FIRST)
    assert caught.value.errno == errno.ENODEV


def test_a_function_that_lost_its_driver_cannot_be_claimed() -> None:
    kernel, driver = machine()
    driver.unbind(FIRST)
    with pytest.raises(OSError) as caught:
        BACKEND.create(kernel, parent=CARD, type_id=DRIVER, instance=FIRST)
    assert caught.value.errno == errno.ENODEV


def test_a_published_parameter_is_written_and_read_back() -> None:
    kernel, driver = machine(queues="4")
    BACKEND.write(kernel, instance=FIRST, attribute="migration/queues", text="8")
    assert BACKEND.read(kernel, instance=FIRST, attribute="migration/queues") == "8"
    assert driver.writes == [(FIRST, "queues", "8")]


@pytest.mark.parametrize("attribute", ["migration/absent", "vendor/serial", "power/control", "uevent", "../x", ""])
def test_no_other_file_of_a_function_is_written(attribute: str) -> None:
    kernel, driver = machine(queues="4")
    with pytest.raises(PermissionError):
        BACKEND.write(kernel, instance=FIRST, attribute=attribute, text="1")
    assert driver.writes == []


def test_a_file_that_cannot_be_read_is_told_with_its_device_and_the_rest_is_seen() -> None:
    kernel, driver = machine(queues="4")

    def broken() -> bytes:
        raise OSError(errno.EIO, "broken")

    driver.homes[FIRST].directory("migration").fill({"queues": File(show=broken)})
    first, second, *_ = BACKEND.discover(kernel).instances
    assert [(u.name, u.errno) for u in first.unreadable] == [("queues", "EIO")]
    assert second.values == {"queues": "4"}


def test_the_real_layout_of_sysfs_is_understood(tmp_path: Path) -> None:
    """As found in a guest: qemu's nvme, one VF bound to Debian's vfio-pci (facts/kernel-mdev.md section 10)."""
    card = tmp_path / "devices/pci0000:00/0000:00:02.0/0000:01:00.0"
    vf = card.parent / "0000:01:00.1"
    for place in (card, vf / "vfio-dev/vfio0", tmp_path / "bus/pci/drivers/vfio-pci", tmp_path / "module/vfio_pci"):
        place.mkdir(parents=True)
    (tmp_path / "bus/pci/devices").mkdir()
    (tmp_path / "kernel/iommu_groups/9").mkdir(parents=True)
    for device in (card, vf):
        (tmp_path / "bus/pci/devices" / device.name).symlink_to(device)
        (device / "subsystem").symlink_to(tmp_path / "bus/pci")
        for name, text in {"vendor": "0x1b36", "device": "0x0010", "numa_node": "-1"}.items():
            (device / name).write_text(f"{text}\n")
    (tmp_path / "module/vfio_pci/version").write_text("0.2\n")
    (tmp_path / "bus/pci/drivers/vfio-pci/module").symlink_to(tmp_path / "module/vfio_pci")
    (vf / "driver").symlink_to(tmp_path / "bus/pci/drivers/vfio-pci")
    (vf / "iommu_group").symlink_to(tmp_path / "kernel/iommu_groups/9")
    (vf / "physfn").symlink_to(card)
    findings = BACKEND.discover(HostPort(root=tmp_path))
    (seen,) = findings.instances
    assert (seen.id, seen.parent, seen.vfio_group, seen.vfio_device) == ("0000:01:00.1", "0000:01:00.0", "9", "vfio0")
    (parent,) = findings.parents
    assert parent.offers[0].profile["driver"] == {"name": "vfio-pci", "version": "0.2"}
    assert (parent.driver, parent.numa_node, findings.unreadable) == ("vfio-pci", None, ())
