"""Records that an earlier process left, in a running agent: NodeReservations says whose they are."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_node_agent.memory.journal import FILE, Journal
from tests.agent.node import Node, ensure_namespace
from tests.agent.reservations import entry, value
from tests.controlplane.control_plane import ControlPlane
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.waiting import eventually


async def test_what_no_entry_needs_ends_and_what_stands_stays(control_plane: ControlPlane, tmp_path: Path) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    before = Journal(tmp_path, kernel.boot_id())
    before.append("move-1", {"event": "begin", "instance": str(uuid.uuid4()), "backend": "mdev"})
    before.close()

    def begun() -> set[str]:
        lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
        ended = {line["reservation"] for line in lines if line["event"] == "end"}
        return {line["reservation"] for line in lines} - ended

    async def has_ended() -> bool:
        return "move-1" not in begun()

    async with Client(load(control_plane.kubeconfig)) as client:
        await ensure_namespace(client)
        name, kubeconfig = f"node-{uuid.uuid4().hex[:8]}", control_plane.kubeconfig
        node = Node(name=name, kernel=kernel, client=client, kubeconfig=kubeconfig, state_dir=tmp_path)
        async with node.agent(rescan_seconds=0.2):
            create = {"parent": "gfx0", "type": "gfx-varGB", "profile": await node.profile("gfx0", "gfx-varGB")}
            assert begun() == {"move-1"}, "without NodeReservations everything is kept"
            values = [value("memory", "4096")]
            await node.reserve(entry("move-2", boot_id=kernel.boot_id(), device={"create": create}, values=values))
            await node.answered("move-2", "Prepared", timeout=60)
            await eventually(has_ended, timeout=60, what="the record of move-1 to end")
            assert begun() == {"move-2"}
