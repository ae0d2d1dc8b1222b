"""Faults on the operator's Lease alone: short ones are nothing, a long one ends the lead, but not the process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from mdev_api.kube.client import Client
from mdev_api.kube.requests import merge_patch
from mdev_api.kube.resources import LEASES
from tests.durable.faults.troubled import PATIENCE
from tests.faults.fault import Fault, LoseAnswer, Status
from tests.faults.identities import Identity
from tests.faults.proxy import FaultProxy
from tests.faults.request import WRITES, Match
from tests.simulated.operator_process import OperatorProcess
from tests.waiting import eventually

SHORT = ("--lease-duration=9", "--renew-deadline=6", "--retry-period=0.5")
LEASE = Match(resource="leases", name="mdev-operator")
RENEWALS = Match(resource="leases", name="mdev-operator", verbs=WRITES)


@pytest.fixture(scope="module")
def operator(operator_identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator of this module, leading by a short Lease."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with OperatorProcess(operator_identity.kubeconfig, log, *SHORT) as process:
        process.wait_leading()
        yield process


async def renewed(proxy: FaultProxy, times: int) -> None:
    """Wait until the Lease was renewed so often from now on."""

    def successes() -> int:
        return sum(s.status == 200 and s.did == "forwarded" for s in proxy.seen(RENEWALS))

    before = successes()

    async def look() -> bool:
        return successes() >= before + times

    await eventually(look, timeout=PATIENCE, what=f"{times} renewals; there were:\n{proxy.told()}")


@pytest.mark.parametrize("what", [Status(409, "Conflict"), Status(503), LoseAnswer()], ids=["409", "503", "lost"])
async def test_renewals_that_fail_for_a_moment_do_not_end_the_lead(
    operator: OperatorProcess, to_operator: FaultProxy, what: Status | LoseAnswer
) -> None:
    with to_operator.during(Fault(what=what, match=RENEWALS, times=2)):
        await renewed(to_operator, 2)
    assert operator.ended() is None, operator.log()[-4000:]
    assert operator.log().count("fence raised") == 1


async def test_an_operator_that_cannot_renew_its_lease_stands_by_and_leads_again_when_it_can(
    operator: OperatorProcess, to_operator: FaultProxy, client: Client
) -> None:
    with to_operator.during(Fault(what=Status(503), match=LEASE)) as fault:
        await asyncio.to_thread(operator.wait_said, "standing by again")
        assert "not leading any more" in operator.log()
        tried = fault.fired
        await asyncio.to_thread(operator.wait_said, "cannot campaign")
        assert fault.fired - tried < 100
        # As if the time of its former Lease were over.
        free = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
        await client.send(merge_patch(LEASES, "mdev-operator", free, "mdev-operator"))
        assert operator.log().count("fence raised") == 1
    await asyncio.to_thread(operator.wait_said, "fence raised", times=2)
    assert operator.ended() is None
    assert "Traceback" not in operator.log()


async def test_an_operator_that_stands_by_again_is_told_to_end_as_any_other(
    operator: OperatorProcess, to_operator: FaultProxy
) -> None:
    with to_operator.during(Fault(what=Status(503), match=LEASE)):
        await asyncio.to_thread(operator.wait_said, "standing by again", times=2)
        operator.signal(signal.SIGTERM)
        assert await asyncio.to_thread(operator.wait_ended, seconds=PATIENCE) == 0
