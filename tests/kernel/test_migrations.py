"""Whole migrations between two kernels: what is refused and why, and what the drivers were told, write by write.

Operator, agents, API server, kernels and devices are real. Each test leaves both nodes as it found them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.controlplane.control_plane import ControlPlane
from tests.kernel.conftest import BootGuest
from tests.kernel.gfx import held
from tests.kernel.pair import Object, Pair, Side, pair
from tests.kernel.vgpu import ADA, card_address

MODELS = Path(__file__).resolve().parents[2] / "deploy" / "models"
NIC = "vendor-a.com/my-nic"
START_SECONDS = 120
"""An emulated machine imports slowly."""


@pytest.fixture(scope="module")
def nodes(
    boot_guest: BootGuest, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    with pair(boot_guest, control_plane, tmp_path_factory.mktemp("operator") / "operator.log") as made:
        yield made


@pytest.fixture
def both(nodes: Pair) -> Iterator[Pair]:
    """Both nodes; what a test that failed has left reserved is let go."""
    yield nodes
    nodes.let_go()


@contextmanager
def nic(side: Side, **values: str) -> Iterator[str]:
    """A NIC made by hand, with these values."""
    device = side.make("gfx0", "gfx-nic")
    for name, value in values.items():
        side.gfx.write(device, name.replace("_", "-"), value)
    yield device
    side.remove(device)


# mtty: the driver itself would refuse only when the stream is loaded


@pytest.fixture
def serial_cards(both: Pair) -> Iterator[None]:
    """The shipped DeviceModel."""
    both.cluster.apply_file(MODELS / "mtty.yaml")
    yield
    both.cluster.delete("devicemodel", "mtty")


def test_one_port_goes_to_no_idle_card_of_two_but_to_one_that_is_made_when_a_port_is_free(
    both: Pair, serial_cards: None
) -> None:
    ports = [{"name": "ports", "type": "int", "value": "2"}]
    idle = both.place({"name": "serial", "model": "kernel.org/mtty", "values": ports})
    others = [both.b.make("mtty", "mtty-2") for _ in range(11)]
    source = both.a.make("mtty", "mtty-1")

    name = both.submit(source)
    why = both.refused(name)
    assert why["ValueNotAllowed"]["parameter"] == "ports"
    assert "mtty-2" in why["ValueNotAllowed"]["message"]

    both.b.remove(others.pop())
    status = both.ready(name)
    (device,) = status["devices"]
    assert {candidate["type"] for candidate in status["candidates"]} == {"mtty-1"}
    assert both.b.type_of(device["instance"]) == "mtty-1"

    both.end(name, "Failed")
    assert both.b.listed() == {idle, *others}
    both.a.remove(source)
    both.b.remove(idle, *others)


# gfx: the writes


def test_direct_writes_nothing_that_is_already_equal(both: Pair) -> None:
    with nic(both.a, new_feature="off", num_queues="8") as source:
        name = both.submit(source)
        (device,) = both.ready(name)["devices"]
        assert both.b.written(device["instance"]) == [("new-feature", "0", "off"), ("num-queues", "0", "8")]
        both.end(name, "Failed")


@pytest.fixture
def off_first(both: Pair) -> Iterator[None]:
    """An administrator who knows that the NIC's driver needs every parameter off before anything is set."""
    model = {"apiVersion": "mdev-operator.io/v1alpha1", "kind": "DeviceModel", "metadata": {"name": "nic"}}
    both.cluster.apply({**model, "spec": {"model": NIC, "writeStrategy": "OffFirst"}})
    both.cluster.until("deviceprofiles", "", "read with the strategy", _all_nics_off_first)
    yield
    both.cluster.delete("devicemodel", "nic")


def _all_nics_off_first(profiles: Object) -> bool:
    read = [p.get("status", {}) for p in profiles["items"]]
    nics = [status for status in read if status.get("model") == NIC]
    return bool(nics) and all(status.get("writeStrategy") == "OffFirst" for status in nics)


def test_off_first_writes_what_is_not_off_to_off_and_then_what_still_differs(both: Pair, off_first: None) -> None:
    with nic(both.a, rx_limit="300") as source:
        name = both.submit(source)
        (device,) = both.ready(name)["devices"]
        assert both.b.written(device["instance"]) == [
            ("new-feature", "0", "off"),
            ("new-feature", "0", "on"),
            ("rx-limit", "0", "300"),
        ]
        both.end(name, "Failed")


def test_a_running_source_is_adjusted_where_only_that_helps_and_put_back_when_it_failed(both: Pair) -> None:
    with nic(both.a, rx_limit="8000") as source, held(both.a.guest, source):
        never = both.submit(source)
        assert both.refused(never)["ValueNotAllowed"]["parameter"] == "rx-limit"
        both.delete(never)

        name = both.submit(source, sourceAdjustment="IfNeeded")
        (device,) = both.ready(name)["devices"]
        assert both.a.gfx.read(source, "rx-limit") == both.b.gfx.read(device["instance"], "rx-limit") == "1000\n"

        both.end(name, "Failed")
        assert both.a.written(source) == [("rx-limit", "0", value) for value in ("8000", "1000", "8000")]
        assert both.b.listed() == set()


# Virtual functions: what NVIDIA's driver configures, and what vfio-pci has


@pytest.fixture
def vgpus(both: Pair) -> Iterator[None]:
    """The shipped DeviceModel; both nodes know their card's ECC mode from facts.d."""
    both.cluster.apply_file(MODELS / "nvidia-vgpu.yaml")
    yield
    both.cluster.delete("devicemodel", "nvidia-vgpu")
    for side in (both.a, both.b):
        for address in (side.function(1), side.function(2)):
            if side.vgpu.current(address) != "0\n":
                side.vgpu.configure(address, 0)


def test_a_configured_function_goes_to_a_free_one_of_its_type_which_is_cleared_when_that_fails(
    both: Pair, vgpus: None
) -> None:
    a, b = both.a, both.b
    source, others, free = a.function(1), b.function(1), b.function(2)
    a.vgpu.configure(source, 946)
    b.vgpu.configure(others, 1946)

    name = both.submit(source)
    status = both.ready(name)
    (device,) = status["devices"]
    assert (device["type"], device["instance"]) == (f"{ADA}-8Q", free)
    assert {candidate["type"] for candidate in status["candidates"]} == {f"{ADA}-8Q"}
    assert b.vgpu.current(free) == "1946\n"

    both.end(name, "Failed")
    assert [b.vgpu.current(address) for address in (others, free)] == ["1946\n", "0\n"]
    assert b.vgpu.writes() == [f"{others} 1946 0", f"{free} 1946 0", f"{free} 0 0"]
    assert (a.vgpu.current(source), a.vgpu.writes()) == ("946\n", [f"{source} 946 0"])


@pytest.fixture
def handed_through(both: Pair) -> Iterator[None]:
    """Stock vfio-pci has the third function on both nodes, and an administrator who trusts what is wholly equal."""
    spec = {"model": "example.com/function", "appliesTo": {"backend": "vfio-pci"}, "byIdentity": True}
    model = {"apiVersion": "mdev-operator.io/v1alpha1", "kind": "DeviceModel"}
    both.cluster.apply({**model, "metadata": {"name": "functions"}, "spec": spec})
    for side in (both.a, both.b):
        side.vgpu.bind(side.function(3), "vfio-pci")
    yield
    for side in (both.a, both.b):
        side.vgpu.bind(side.function(3), "nvidia")
    both.cluster.delete("devicemodel", "functions")


def test_a_function_of_vfio_pci_is_claimed_and_let_go(both: Pair, handed_through: None) -> None:
    free = both.b.function(3)
    name = both.submit(both.a.function(3))
    (device,) = both.ready(name)["devices"]
    assert (device["type"], device["instance"]) == ("vfio-pci", free)
    with held(both.b.guest, free):
        assert both.b.vgpu.link(free, "driver") == "vfio-pci"
    both.end(name, "Failed")
    assert both.b.vgpu.link(free, "driver") == "vfio-pci"


@pytest.fixture
def two_kinds(both: Pair) -> Iterator[Side]:
    """On b one function is a vGPU of 24 GB, and vfio-pci has another."""
    b = both.b
    b.vgpu.configure(b.function(1), 1949)
    b.vgpu.bind(b.function(4), "vfio-pci")
    yield b
    b.vgpu.configure(b.function(1), 0)
    b.vgpu.bind(b.function(4), "nvidia")


def test_discover_prints_what_the_kernel_has_of_functions(two_kinds: Side) -> None:
    guest, vgpu, first, fourth = two_kinds.guest, two_kinds.vgpu, two_kinds.function(1), two_kinds.function(4)
    command = f"{sys.executable} -m mdev_node_agent discover -o json --facts-dir {guest.share}/facts.d"
    seen = json.loads(guest.run(command, timeout=START_SECONDS).stdout)

    (card,) = (parent for parent in seen["parents"] if parent["name"] == card_address(two_kinds.card))
    offers = {offer["type"]: offer["available"] for offer in card["offers"]}
    assert offers == {f"{ADA}-24Q": 2, "vfio-pci": 1}  # a fourth function is another driver's
    instances = {i["id"]: (i["type"], i["vfioGroup"], i["vfioDevice"]) for i in seen["instances"]}
    assert instances == {
        first: (f"{ADA}-24Q", vgpu.link(first, "iommu_group"), vgpu.vfio_device(first)),
        fourth: ("vfio-pci", vgpu.link(fourth, "iommu_group"), vgpu.vfio_device(fourth)),
    }
    profiles = {profile["name"]: profile["spec"] for profile in seen["profiles"]}
    gpu = profiles[card["offers"][0]["profile"]]
    assert (gpu["driver"], gpu["facts"]) == (
        {"name": "nvidia", "version": "550.90.05"},
        [{"name": "ecc", "value": "on"}],
    )
    assert (gpu["hardware"]["vendor"], gpu["hardware"]["device"]) == ("0x1b36", "0x0010")
