"""The operator as a process that is killed with SIGKILL while a request of it is on its way, and started again.

Its Lease is long, so that a busy machine does not end the lead. After each death it is given back in its name, as if it
had run out: the successor comes at once, and may lead while requests of the dead one are still on their way.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import merge_patch
from mdev_api.kube.resources import LEASES
from tests.chaos.account import Account
from tests.chaos.plan import KillOperator
from tests.faults.fault import Fault, Hang, LoseAnswer, Slow
from tests.faults.injected import Injected
from tests.faults.proxy import FaultProxy
from tests.faults.request import Match
from tests.simulated.operator_process import OperatorProcess

LOOK = 0.005
LATE_SECONDS = 0.7
DONE_SECONDS = 5.0
OPTIONS = ("--lease-duration=90", "--renew-deadline=75", "--retry-period=1")
LEASE = "mdev-operator"
WHAT = {"before": Hang(), "after": LoseAnswer(), "late": Slow(LATE_SECONDS)}


class KilledOperator:
    """``run`` keeps one running until cancelled, as a kubelet does."""

    def __init__(
        self, client: Client, proxy: FaultProxy, kubeconfig: Path, log: Path, namespace: str, account: Account
    ) -> None:
        self._client = client
        self._proxy = proxy
        self._kubeconfig = kubeconfig
        self._log = log
        self._namespace = namespace
        self._account = account
        self._process: OperatorProcess | None = None

    async def run(self) -> None:
        """Start it, and a new one whenever it has ended."""
        try:
            while True:
                self._process = OperatorProcess(self._kubeconfig, self._log, *OPTIONS, namespace=self._namespace)
                while self._process.ended() is None:
                    await asyncio.sleep(0.05)
                self._account.count("operator started again")
                await self._give_lease_back()
        finally:
            if self._process is not None:
                self._process.kill()

    def log(self) -> str:
        """All that they said."""
        return self._process.log() if self._process is not None else ""

    async def kill_at(self, kill: KillOperator) -> None:
        """Wait for the request, and kill whoever sent it. Cancel it when the run is over."""
        match = Match(verbs=(kill.verb,), resource=kill.resource)
        injected = self._proxy.inject(Fault(what=WHAT[kill.when], match=match, times=1))
        try:
            while not injected.fired:
                await asyncio.sleep(LOOK)
            if kill.when == "after":
                await self._done(match, injected)
            if self._process is not None:
                self._process.kill()
                self._account.count(kill.kind)
        finally:
            injected.end()

    async def _give_lease_back(self) -> None:
        nobody = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
        try:
            await self._client.send(merge_patch(LEASES, LEASE, nobody, self._namespace))
        except ApiError as error:
            if not error.not_found:
                raise

    async def _done(self, match: Match, injected: Injected) -> None:
        """Wait until the API server has answered the request whose answer is lost, if it ever does."""
        lost = self._proxy.seen(match, did=injected.name)[-1]
        deadline = time.monotonic() + DONE_SECONDS
        while lost.status is None and time.monotonic() < deadline:
            await asyncio.sleep(LOOK)
