"""Troubles on the way to the API server, by the words of the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tests.chaos.account import Account
from tests.chaos.plan import ApiFault
from tests.faults.fault import EndWatch, ErrorEvent, Fault, Hang, LoseAnswer, Reset, Slow, Status, What
from tests.faults.proxy import FaultProxy
from tests.faults.request import WRITES, Match

LOOK = 0.05
HANG_SECONDS = 1.5
REQUESTS: Mapping[str, What] = {
    "429": Status(429, "TooManyRequests", retry_after=1),
    "500": Status(500, "InternalError"),
    "503": Status(503, "ServiceUnavailable"),
    "reset": Reset(),
    "hang": Hang(),
    "slow": Slow(0.6),
    "lost answer": LoseAnswer(),
}
WATCHES: Mapping[str, EndWatch | ErrorEvent | Reset] = {
    "watches end": EndWatch(),
    "watches 410": ErrorEvent(410),
    "watches reset": Reset(),
}


class ApiTroubles:
    """``proxies`` by the name of the program."""

    def __init__(self, proxies: Mapping[str, FaultProxy], account: Account) -> None:
        self._proxies = proxies
        self._account = account

    async def trouble(self, fault: ApiFault) -> None:
        """One fault until it has met as many requests as it says. Cancel it when the run is over."""
        proxy = self._proxies[fault.program]
        if fault.what in WATCHES:
            while not (ended := await asyncio.to_thread(proxy.end_watches, WATCHES[fault.what])):
                await asyncio.sleep(LOOK)
            self._account.count(fault.kind, ended)
            return
        match = Match(verbs=WRITES) if fault.writes else Match()
        injected = proxy.inject(Fault(what=REQUESTS[fault.what], match=match, times=fault.times))
        counted = 0
        try:
            while counted < fault.times:
                await asyncio.sleep(LOOK)
                self._account.count(fault.kind, injected.fired - counted)
                counted = injected.fired
            if fault.what == "hang":
                await asyncio.sleep(HANG_SECONDS)
        finally:
            injected.end()
