"""Every command of docs/schedulers.md does what the page says, in the page's order, for one reader."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import merge_patch
from mdev_api.kube.resources import NODES
from tests.controlplane.binaries import ensure
from tests.controlplane.control_plane import ControlPlane
from tests.memkernel.gfx import Gfx
from tests.simulated.cluster import SimulatedCluster
from tests.simulated.operator_process import OperatorProcess

TOP = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (TOP / "docs" / "schedulers.md").read_text(encoding="utf-8"), re.M | re.S)
CLASS = "c-7ovyputfejhijlho2i6o6ocjnl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """What the page's commands printed to one who ran them all, and the node that can take the device."""

    status: int
    printed: str
    node: str
    bound: str


@pytest.fixture
async def reader(control_plane: ControlPlane, operator: OperatorProcess, tmp_path: Path) -> Reader:
    """Run the whole page in one shell, on a cluster with one node that can take the device and one that cannot."""
    async with Client(load(control_plane.kubeconfig)) as client:
        cluster = SimulatedCluster(
            client=client, kubeconfig=control_plane.kubeconfig, directory=tmp_path, operator_log=operator.log
        )
        try:
            await cluster.add_node("right", Gfx(types=["8GB"]))
            await cluster.add_node("small", Gfx(types=["nic"]))
            room = {"cpu": "8", "memory": "16Gi", "pods": "110"}
            for name in ("right", "small"):
                body = {"status": {"capacity": room, "allocatable": room}}
                await client.send(merge_patch(NODES, cluster.full(name), body, subresource="status"))
            ran = _run(control_plane)
            pods = ["get", "pods", "of-one-class", "of-two-classes", "--output=jsonpath={..nodeName}"]
            bound = control_plane.kubectl(*pods, check=False).stdout
            return Reader(status=ran.returncode, printed=ran.stdout, node=cluster.full("right"), bound=bound)
        finally:
            control_plane.kubectl(
                "delete", "pod", "of-one-class", "of-two-classes", "--ignore-not-found", "--force", "--grace-period=0"
            )
            control_plane.kubectl("delete", "devicemigration", "plan-gpu", "--ignore-not-found", "--wait=false")
            await cluster.clear()


def _run(plane: ControlPlane) -> subprocess.CompletedProcess[str]:
    path = f"{ensure()['kubectl'].parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-eux"],
        input="".join(BLOCKS),
        cwd=TOP,
        env=os.environ | {"KUBECONFIG": str(plane.kubeconfig), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )


async def test_the_page_leads_from_a_plan_to_a_class_a_node_two_pods_and_a_device(reader: Reader) -> None:
    assert reader.status == 0, reader.printed
    assert f"CLASS={CLASS}" in reader.printed
    assert re.search(rf"^{reader.node} +Ready", reader.printed, re.M), reader.printed
    assert f"NODE={reader.node}" in reader.printed
    assert re.search(rf"^{reader.node}\t[0-9a-f-]{{36}}$", reader.printed, re.M), reader.printed
    assert 'devicemigration.mdev-operator.io "plan-gpu" deleted' in reader.printed
    assert reader.bound.split() == [reader.node, reader.node]
