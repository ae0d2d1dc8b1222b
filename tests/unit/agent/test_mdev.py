"""The mdev back-end over the in-memory kernel: what it shows of parents, types and instances, and what it may touch."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mdev_api.engine.metadata import ValueType
from mdev_api.values import ValueFault, from_raw
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.seeing.observation import Instance, Offer
from mdev_node_agent.sysfs.host import HostPort
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mdpy import Mdpy
from tests.memkernel.mtty import Mtty
from tests.waiting import wait_until

FIRST = "83b8f4f2-509f-382f-3c1e-e6bfe0fa0001"
SECOND = "83b8f4f2-509f-382f-3c1e-e6bfe0fa0002"
BACKEND = MdevBackend()


@pytest.fixture
def kernel() -> MemoryKernel:
    return MemoryKernel(drivers=[Gfx(parents=2), Mtty(), Mdpy()])


def make(kernel: MemoryKernel, parent: str, type_id: str, instance: str = FIRST) -> None:
    BACKEND.create(kernel, parent=parent, type_id=type_id, instance=instance)


def offer(kernel: MemoryKernel, parent: str, type_id: str) -> Offer:
    (found,) = [p for p in BACKEND.discover(kernel).parents if p.name == parent]
    return next(o for o in found.offers if o.type == type_id)


def instance(kernel: MemoryKernel, name: str = FIRST) -> Instance:
    return next(i for i in BACKEND.discover(kernel).instances if i.id == name)


def test_a_kernel_without_mdev_has_nothing(tmp_path: Path) -> None:
    findings = BACKEND.discover(HostPort(root=tmp_path))
    assert (findings.parents, findings.instances, findings.unreadable) == ((), (), ())


def test_every_parent_is_shown_with_its_driver_and_types(kernel: MemoryKernel) -> None:
    seen = {(p.name, p.driver): [o.type for o in p.offers] for p in BACKEND.discover(kernel).parents}
    assert seen == {
        ("gfx0", "gfx"): ["gfx-4GB", "gfx-8GB", "gfx-nic", "gfx-varGB"],
        ("gfx1", "gfx"): ["gfx-4GB", "gfx-8GB", "gfx-nic", "gfx-varGB"],
        ("mdpy", "mdpy"): ["mdpy-hd", "mdpy-vga", "mdpy-xga"],
        ("mtty", "mtty"): ["mtty-1", "mtty-2"],
    }


def test_a_silent_driver_gives_a_profile_with_type_and_driver_version(kernel: MemoryKernel) -> None:
    assert offer(kernel, "mtty", "mtty-2").profile == {
        "backend": "mdev",
        "driver": {"name": "mtty", "version": "0.1"},
        "type": {"id": "mtty-2", "name": "Dual port serial", "deviceAPI": "vfio-pci"},
    }


def test_the_description_of_a_type_is_an_attribute_of_its_profile(kernel: MemoryKernel) -> None:
    assert offer(kernel, "mdpy", "mdpy-vga").profile["attributes"] == [
        {"name": "description", "value": "virtual display, 640x480 framebuffer"}
    ]


def test_a_profile_is_the_same_on_both_parents_and_whatever_is_in_use(kernel: MemoryKernel) -> None:
    before = offer(kernel, "gfx0", "gfx-4GB").profile
    make(kernel, "gfx0", "gfx-8GB")
    assert offer(kernel, "gfx0", "gfx-4GB").profile == before == offer(kernel, "gfx1", "gfx-4GB").profile


def test_available_instances_follow_the_shared_pool(kernel: MemoryKernel) -> None:
    make(kernel, "gfx0", "gfx-8GB")
    assert [offer(kernel, "gfx0", f"gfx-{name}").available for name in ("4GB", "8GB", "varGB")] == [2, 1, 8]


def test_an_instance_shows_its_values_and_where_vfio_has_it(kernel: MemoryKernel) -> None:
    make(kernel, "gfx1", "gfx-nic")
    seen = instance(kernel)
    assert (seen.parent, seen.type, seen.vfio_group, seen.vfio_device) == ("gfx1", "gfx-nic", "0", "vfio0")
    assert seen.values == {"new-feature": "on", "num-queues": "4", "rx-limit": "0", "rx-mode": "normal"}


def test_attributes_are_shown_where_the_driver_publishes_nothing(kernel: MemoryKernel) -> None:
    make(kernel, "mdpy", "mdpy-vga", FIRST)
    make(kernel, "gfx0", "gfx-4GB", SECOND)
    assert instance(kernel, FIRST).attributes == {"vendor/resolution": "640x480"}
    assert instance(kernel, SECOND).attributes == {}


def test_an_unreadable_value_is_told_and_the_others_are_read(kernel: MemoryKernel) -> None:
    make(kernel, "gfx0", "gfx-nic")
    kernel.write("module/gfx/parameters/fail_read", "num-queues")
    seen = instance(kernel)
    assert [(u.name, u.errno) for u in seen.unreadable] == [("num-queues", "EIO")]
    assert set(seen.values) == {"new-feature", "rx-limit", "rx-mode"}


def test_a_type_before_its_metadata_is_shown_without_and_after_it_with() -> None:
    kernel = MemoryKernel(drivers=[Gfx(metadata=False)])
    assert "published" not in offer(kernel, "gfx0", "gfx-4GB").profile
    kernel.write("module/gfx/parameters/metadata", "Y")
    assert offer(kernel, "gfx0", "gfx-4GB").profile["published"]["model"] == "com.gfx/GPU"


def test_a_device_whose_removal_waits_is_told_and_not_shown(kernel: MemoryKernel) -> None:
    make(kernel, "gfx0", "gfx-4GB")
    kernel.open_device(FIRST)
    with ThreadPoolExecutor() as threads:
        removal = threads.submit(BACKEND.release, kernel, instance=FIRST)
        wait_until(lambda: kernel.devices() == [], timeout=5, what="the device to leave the bus")
        findings = BACKEND.discover(kernel)
        kernel.close_device(FIRST)
        removal.result(timeout=5)
    assert findings.instances == ()
    assert [u.name for u in findings.unreadable] == [FIRST]


def test_after_a_release_everything_is_as_before(kernel: MemoryKernel) -> None:
    before = kernel.dump_tree()
    make(kernel, "gfx0", "gfx-4GB")
    BACKEND.release(kernel, instance=FIRST)
    assert kernel.dump_tree() == before


def test_releasing_what_is_gone_says_so(kernel: MemoryKernel) -> None:
    with pytest.raises(FileNotFoundError):
        BACKEND.release(kernel, instance=FIRST)


@pytest.mark.parametrize("name", ["", "x" * 36, FIRST + "x", f"{{{FIRST}}}x"])
def test_what_is_no_uuid_never_reaches_the_kernel(kernel: MemoryKernel, name: str) -> None:
    with pytest.raises(OSError) as caught:
        make(kernel, "gfx0", "gfx-4GB", name)
    assert caught.value.errno == errno.EINVAL
    assert kernel.read("module/gfx/parameters/create_count") == "0"


@pytest.mark.parametrize(("parent", "type_id"), [("../gfx", "gfx-4GB"), ("gfx0", "../../gfx1"), ("gfx0/", "gfx-4GB")])
def test_names_with_slashes_are_refused(kernel: MemoryKernel, parent: str, type_id: str) -> None:
    with pytest.raises(ValueError):
        make(kernel, parent, type_id)


def test_a_published_parameter_is_written_and_read_back(kernel: MemoryKernel) -> None:
    make(kernel, "gfx0", "gfx-varGB")
    BACKEND.write(kernel, instance=FIRST, attribute="migration/memory", text="8192")
    assert BACKEND.read(kernel, instance=FIRST, attribute="migration/memory") == "8192"


def test_a_value_that_is_no_utf8_is_read_back_as_no_text_of_any_type(tree: Tree) -> None:
    (tree.instance() / "vendor").mkdir()
    (tree.parent / FIRST / "vendor/mode").write_bytes(b"\xff\n")
    text = BACKEND.read(tree.seen(), instance=FIRST, attribute="vendor/mode")
    with pytest.raises(ValueFault, match="UTF-8"):
        from_raw(ValueType.STR, text)


@pytest.mark.parametrize(
    "attribute",
    ["remove", "uevent", "power/control", "migration/absent", "migration/..", "../remove", "migration/memory/x", ""],
)
def test_no_other_file_of_an_instance_is_written(kernel: MemoryKernel, attribute: str) -> None:
    make(kernel, "gfx0", "gfx-varGB")
    with pytest.raises(PermissionError):
        BACKEND.write(kernel, instance=FIRST, attribute=attribute, text="1")
    assert kernel.devices() == [FIRST]


def test_where_the_driver_publishes_the_allow_list_opens_nothing(kernel: MemoryKernel) -> None:
    make(kernel, "gfx0", "gfx-varGB")
    with pytest.raises(PermissionError):
        BACKEND.read(kernel, instance=FIRST, attribute="vendor/anything")


def test_where_the_driver_publishes_nothing_the_allow_list_decides(kernel: MemoryKernel) -> None:
    make(kernel, "mdpy", "mdpy-vga")
    assert BACKEND.read(kernel, instance=FIRST, attribute="vendor/resolution") == "640x480"
    with pytest.raises(PermissionError):
        MdevBackend(allowed=()).read(kernel, instance=FIRST, attribute="vendor/resolution")


class Tree:
    """A sysfs made of files, for what no sample driver shows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parent = root / "devices/pci0000:64/0000:65:00.0"
        self.type = self.parent / "mdev_supported_types/card-1"
        self.type.mkdir(parents=True)
        for place in ("class/mdev_bus", "bus/mdev/devices", "bus/pci/drivers/card", "module/card_core"):
            (root / place).mkdir(parents=True)
        (root / "class/mdev_bus/0000:65:00.0").symlink_to("../../devices/pci0000:64/0000:65:00.0")
        (self.parent / "subsystem").symlink_to(root / "bus/pci")
        (self.parent / "driver").symlink_to(root / "bus/pci/drivers/card")
        (root / "bus/pci/drivers/card/module").symlink_to(root / "module/card_core")
        self.put(self.type, name="Card 1", available_instances="2", device_api="vfio-pci")

    @staticmethod
    def put(directory: Path, **files: str) -> None:
        for name, text in files.items():
            (directory / name).write_text(f"{text}\n")

    def instance(self) -> Path:
        device = self.parent / FIRST
        device.mkdir()
        (device / "mdev_type").symlink_to("../mdev_supported_types/card-1")
        (self.root / "bus/mdev/devices" / FIRST).symlink_to(device)
        return device

    def seen(self) -> HostPort:
        return HostPort(root=self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_pci_parent_shows_hardware_driver_version_and_numa_node(tree: Tree) -> None:
    ids = {"vendor": "0x10de", "device": "0x1eb8", "subsystem_vendor": "0x10de", "subsystem_device": "0x12a2"}
    tree.put(tree.parent, **ids, numa_node="1")
    tree.put(tree.root / "module/card_core", version="550.90")
    (parent,) = BACKEND.discover(tree.seen()).parents
    assert (parent.name, parent.driver, parent.numa_node) == ("0000:65:00.0", "card", 1)
    assert parent.offers[0].profile["driver"] == {"name": "card", "version": "550.90"}
    assert parent.offers[0].profile["hardware"] == {
        "vendor": "0x10de",
        "device": "0x1eb8",
        "subsystemVendor": "0x10de",
        "subsystemDevice": "0x12a2",
    }


def test_no_numa_node_is_none(tree: Tree) -> None:
    tree.put(tree.parent, numa_node="-1")
    assert BACKEND.discover(tree.seen()).parents[0].numa_node is None


def test_available_instances_that_are_no_number_are_told(tree: Tree) -> None:
    tree.put(tree.type, available_instances="many")
    (parent,) = BACKEND.discover(tree.seen()).parents
    assert parent.offers[0].available is None
    assert [(u.name, u.errno) for u in parent.offers[0].unreadable] == [("available_instances", "")]


def test_an_attribute_of_many_lines_is_kept_as_it_is(tree: Tree) -> None:
    tree.put(tree.type, description="num_heads=4\nframebuffer=4096M")
    (attribute,) = BACKEND.discover(tree.seen()).parents[0].offers[0].profile["attributes"]
    assert attribute["value"] == "num_heads=4\nframebuffer=4096M"


def test_a_long_attribute_of_an_instance_is_told_and_not_cut(tree: Tree) -> None:
    vendor = tree.instance() / "vendor"
    vendor.mkdir()
    tree.put(vendor, short="x" * 256, long="x" * 257)
    (seen,) = BACKEND.discover(tree.seen()).instances
    assert set(seen.attributes) == {"vendor/short"}
    assert [u.name for u in seen.unreadable] == ["vendor/long"]


def test_only_the_first_eight_attributes_of_an_instance_are_shown(tree: Tree) -> None:
    vendor = tree.instance() / "vendor"
    vendor.mkdir()
    tree.put(vendor, **{f"a{n}": "x" for n in range(10)})
    (seen,) = BACKEND.discover(tree.seen()).instances
    assert len(seen.attributes) == 8
    assert [u.name for u in seen.unreadable] == ["vendor/a8", "vendor/a9"]


def test_a_device_that_no_parent_has_is_told(tree: Tree) -> None:
    tree.instance().rename(tree.root / FIRST)
    (tree.root / "bus/mdev/devices" / FIRST).unlink()
    (tree.root / "bus/mdev/devices" / FIRST).symlink_to(tree.root / FIRST)
    findings = BACKEND.discover(tree.seen())
    assert findings.instances == ()
    assert [u.name for u in findings.unreadable] == [FIRST]


def test_a_type_whose_name_is_not_utf8_is_told(tree: Tree) -> None:
    (tree.type.parent / os.fsdecode(b"card-\xff")).mkdir()
    (parent,) = BACKEND.discover(tree.seen()).parents
    assert [o.type for o in parent.offers] == ["card-1"]
    assert len(parent.unreadable) == 1
