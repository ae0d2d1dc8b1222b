"""Both programs as ``deploy/`` has them, for outages that last; the operator with the Lease that it has by default."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.durable.faults.conftest import client, operator_identity, plane, to_agents, to_operator, troubled
from tests.faults.identities import Identity
from tests.simulated.operator_process import OperatorProcess

__all__ = ["client", "operator_identity", "plane", "to_agents", "to_operator", "troubled"]


@pytest.fixture(scope="module")
def operator(operator_identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator of this module, leading as it does by default."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with OperatorProcess(operator_identity.kubeconfig, log) as process:
        process.wait_leading()
        yield process
