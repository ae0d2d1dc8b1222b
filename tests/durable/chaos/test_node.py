"""What is done to a node by hand never waits for ever: a run would hang that goes on with one move after the other."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.account import Account
from tests.chaos.life import Snares
from tests.chaos.node import ChaosNode
from tests.memkernel.gfx import Gfx


def test_while_a_driver_hangs_nobody_removes_a_device_by_hand(tmp_path: Path) -> None:
    node = ChaosNode("a", Gfx(), kubeconfig=tmp_path / "none", state_dir=tmp_path, snares=Snares(), account=Account(()))
    device = node.make("gfx0", "gfx-varGB", hold=False)
    assert device is not None
    node.fault("hang_write", "memory")
    assert not node.take_away(device)
    node.fault("hang_write", "")
    assert node.take_away(device)
    assert node.kernel.devices() == []
