"""What most tests on the real API server need: a client, and an operator with a cluster of simulated nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from tests.controlplane.control_plane import ControlPlane
from tests.simulated.cluster import SimulatedCluster, ensure_namespaces
from tests.simulated.operator_process import OperatorProcess


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    """The administrator's."""
    async with Client(load(control_plane.kubeconfig)) as opened:
        yield opened


@pytest.fixture(scope="module")
def operator(
    request: pytest.FixtureRequest, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The one operator of this module; its Lease is in a namespace named like the module."""
    namespace = request.path.stem.replace("_", "-")
    control_plane.kubectl("create", "namespace", namespace)
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with OperatorProcess(control_plane.kubeconfig, log, namespace=namespace) as process:
        process.wait_leading()
        yield process


@pytest.fixture
async def cluster(
    control_plane: ControlPlane, client: Client, operator: OperatorProcess, tmp_path: Path
) -> AsyncIterator[SimulatedCluster]:
    """Simulated nodes and migrations of one test, cleared away at its end."""
    await ensure_namespaces(client, "mdev-node-agent")
    made = SimulatedCluster(
        client=client, kubeconfig=control_plane.kubeconfig, directory=tmp_path, operator_log=operator.log
    )
    yield made
    await made.clear()
