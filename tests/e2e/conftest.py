"""The cluster that ``make e2e`` or ``make e2e-up`` has started."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from tests.controlplane import binaries
from tests.e2e import daemon
from tests.e2e.cluster import KUBECONFIG, Cluster
from tests.e2e.node_image import programs


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    if not KUBECONFIG.exists():
        pytest.fail("no cluster runs: `make e2e` starts one and runs these tests", pytrace=False)
    kubectl = binaries.ensure(("kubectl",))["kubectl"]
    return Cluster(environment=daemon.environment(), kind=programs.kind(), kubectl_program=kubectl)


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(load(KUBECONFIG)) as client:
        yield client
