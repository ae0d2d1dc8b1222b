"""Whole migrations between two kernels: what is refused and why, and what the drivers were told, write by write.

Operator, agents, API server, kernels and devices are real. Each test leaves both nodes as it found them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.controlplane.control_plane import ControlPlane
from tests.kernel.conftest import BootGuest
from tests.kernel.pair import Pair, Side, pair

MODELS = Path(__file__).resolve().parents[2] / "deploy" / "models"
NIC = "vendor-a.com/my-nic"


@pytest.fixture(scope="module")
def both(
    boot_guest: BootGuest, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    with pair(boot_guest, control_plane, tmp_path_factory.mktemp("operator") / "operator.log") as made:
        yield made


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
