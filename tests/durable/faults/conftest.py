"""Both programs as ``deploy/`` has them, each behind a fault proxy of its own, on an API server that tests may break.

The operator is one process for a whole module and must outlive it; its Lease is long, so that what a fault does to the
lead is the subject of its own tests alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from tests.controlplane.control_plane import ControlPlane
from tests.deployed import DEPLOY, apply_roles, start_small
from tests.durable.faults.troubled import Troubled
from tests.faults.identities import Identity, identity, operator_token
from tests.faults.proxy import FaultProxy
from tests.simulated.cluster import SimulatedCluster
from tests.simulated.operator_process import OperatorProcess

LONG_LEASE = ("--lease-duration=90", "--renew-deadline=75")


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with the kinds, roles and policies."""
    with start_small(tmp_path_factory.mktemp("troubled-plane")) as started:
        apply_roles(started)
        started.kubectl("apply", f"--filename={DEPLOY / 'policy.yaml'}")
        yield started


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[Client]:
    """The administrator's, past all proxies."""
    async with Client(load(plane.kubeconfig)) as opened:
        yield opened


@pytest.fixture(scope="module")
def to_operator(plane: ControlPlane) -> Iterator[FaultProxy]:
    """What the operator of this module asks through."""
    with FaultProxy(plane, "operator") as proxy:
        yield proxy


@pytest.fixture
def to_agents(plane: ControlPlane) -> Iterator[FaultProxy]:
    """What the agents of this test ask through."""
    with FaultProxy(plane, "agent") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def operator_identity(
    plane: ControlPlane, to_operator: FaultProxy, tmp_path_factory: pytest.TempPathFactory
) -> Identity:
    """The operator's ServiceAccount, at its proxy."""
    directory = tmp_path_factory.mktemp("operator-identity")
    return identity(plane, directory, "operator", server=to_operator.server, token=operator_token(plane))


@pytest.fixture(scope="module")
def operator(operator_identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator of this module, leading."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with OperatorProcess(operator_identity.kubeconfig, log, *LONG_LEASE) as process:
        process.wait_leading()
        yield process


@pytest.fixture
async def troubled(
    plane: ControlPlane,
    client: Client,
    operator: OperatorProcess,
    operator_identity: Identity,
    to_operator: FaultProxy,
    to_agents: FaultProxy,
    tmp_path: Path,
) -> AsyncIterator[Troubled]:
    """Both programs and their proxies; at the end both must still run."""
    cluster = SimulatedCluster(
        client=client, kubeconfig=plane.kubeconfig, directory=tmp_path, operator_log=operator.log
    )
    made = Troubled(
        plane=plane,
        cluster=cluster,
        operator=operator,
        operator_identity=operator_identity,
        to_operator=to_operator,
        to_agents=to_agents,
    )
    yield made
    ended = made.ended()
    await cluster.clear()
    assert not ended, ended
