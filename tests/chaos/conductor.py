"""Carries a plan out: moves as fast as so many at a time can go, troubles with the moves that they begin with.

At the end all troubles end, and when everything is quiet the invariants are looked at, for as long as they may take to
come true: what is only slow comes right by itself, a leak does not (the ledger's rule waits ten minutes).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from tests.chaos.account import Account
from tests.chaos.api_faults import ApiTroubles
from tests.chaos.dumps import dump_world
from tests.chaos.encore import FAILURE, ROUNDS, encore, waits_for_failure
from tests.chaos.invariants import violations
from tests.chaos.killed_operator import KilledOperator
from tests.chaos.life import Snare, Snares
from tests.chaos.mover import Mover
from tests.chaos.node import ChaosNode
from tests.chaos.plan import DRIVER_FAULTS, ApiFault, DriverFault, Foreign, KillOperator, Move, Plan, Trouble
from tests.chaos.result import Result
from tests.chaos.stories import Register
from tests.simulated.cluster import SimulatedCluster

AT_A_TIME = 8
QUIET_SECONDS = 60.0
NO_FAULT = {**{name: "" for name, _ in DRIVER_FAULTS}, "fail_create": "0"}


class Conductor:
    """One run on nodes and an operator that are there already."""

    def __init__(
        self,
        plan: Plan,
        *,
        cluster: SimulatedCluster,
        nodes: dict[str, ChaosNode],
        operator: KilledOperator,
        api: ApiTroubles,
        snares: Snares,
        account: Account,
        register: Register,
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._nodes = nodes
        self._operator = operator
        self._api = api
        self._snares = snares
        self._account = account
        self._register = register
        self._mover = Mover(cluster, {node.name: node for node in nodes.values()}, register)
        self._begun = 0
        self._later: list[tuple[int, Callable[[], bool]]] = []
        """From which move on to try what ends a trouble; False: it is to be tried again with the next."""
        self._pending: list[Foreign] = []
        self._aside: set[asyncio.Task[None]] = set()

    async def run(self) -> Result:
        """The whole plan, then the end of all troubles, then the verdict."""
        began = time.monotonic()
        await self._carry(self._plan.moves)
        await self._encore()
        await self._calm()
        wrong = await self._verdict()
        ends = Counter(story.ended or story.move.ending for story in self._register.stories)
        wrong += [f"never happened, so this run shows nothing of it: {kind}" for kind in self._account.never()]
        seconds = time.monotonic() - began
        return Result(seed=self._plan.seed, seconds=seconds, wrong=wrong, ends=ends, account=self._account.told())

    async def _carry(self, moves: Sequence[Move]) -> None:
        places = asyncio.Semaphore(AT_A_TIME)
        async with asyncio.TaskGroup() as group:
            for move in moves:
                await places.acquire()
                self._begun = move.number
                await self._troubles(move.number)
                task = group.create_task(self._mover.carry(move))
                task.add_done_callback(lambda _: places.release())

    async def _encore(self) -> None:
        """More moves, until every kind of fault has happened."""
        troubles = [trouble for _, trouble in self._plan.troubles]
        for _ in range(ROUNDS):
            missing = self._missing()
            if not missing:
                return
            for fault in (*troubles, *([FAILURE] if waits_for_failure(missing) else [])):
                # A reboot ends the faults of a driver.
                if isinstance(fault, DriverFault) and (fault is FAILURE or fault.kind in missing):
                    await self._driver_fault(fault)
            await self._carry(encore(missing, troubles, self._begun + 1))

    def _missing(self) -> list[str]:
        sprung = self._snares.sprung
        return [kind for kind in self._account.never() if not sprung[kind.removeprefix("agent killed ")]]

    async def _troubles(self, number: int) -> None:
        """What begins and what ends with this move."""
        due = [later for later in self._later if later[0] <= number]
        over = [later for later in due if await asyncio.to_thread(later[1])]
        self._later = [later for later in self._later if later not in over]
        self._pending = [foreign for foreign in self._pending if not await self._foreign(foreign)]
        for at, trouble in self._plan.troubles:
            if at == number:
                await self._begin(trouble)

    async def _begin(self, trouble: Trouble) -> None:
        match trouble:
            case Snare():
                self._snares.arm(trouble)
            case KillOperator():
                self._do_aside(self._operator.kill_at(trouble))
            case DriverFault():
                await self._driver_fault(trouble)
            case ApiFault():
                self._do_aside(self._api.trouble(trouble))
            case Foreign():
                if not await self._foreign(trouble):
                    self._pending.append(trouble)

    def _do_aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._aside.add(task)

    async def _driver_fault(self, fault: DriverFault) -> None:
        """In force for so many moves, and until the agent has met it."""
        node = self._nodes[fault.node]
        await asyncio.to_thread(node.fault, fault.name, fault.value)
        met_before = self._account.met[fault.kind]

        def end() -> bool:
            met = self._account.met[fault.kind] >= met_before + fault.times
            if met:
                node.fault(fault.name, NO_FAULT[fault.name])
            return met

        self._later.append((self._begun + fault.moves, end))

    async def _foreign(self, foreign: Foreign) -> bool:
        """Do it; False: there is nothing yet to do it to."""
        node = self._nodes[foreign.node]
        if foreign.what == "make":
            done = await asyncio.to_thread(node.make, "gfx0", "gfx-varGB", hold=foreign.hold) is not None
        else:
            ours = foreign.what == "steal"
            found = node.kernel.devices() if ours else sorted(node.foreign - node.held)
            found = [device for device in found if not ours or device not in node.foreign | node.held]
            done = bool(found) and await asyncio.to_thread(node.take_away, found[0])
            if done and ours:
                self._register.taken.add(found[0])
        if done:
            self._account.count(foreign.kind)
        return done

    async def _calm(self) -> None:
        """The end of all troubles."""
        for _, end in self._later:
            await asyncio.to_thread(end)
        for node in self._nodes.values():
            for name, nothing in NO_FAULT.items():
                await asyncio.to_thread(node.fault, name, nothing)
        for step, times in self._snares.sprung.items():
            self._account.count(f"agent killed {step}", times)
        self._snares.clear()
        for task in self._aside:
            task.cancel()
        failed = [e for e in await asyncio.gather(*self._aside, return_exceptions=True) if isinstance(e, Exception)]
        self._register.wrongs += [f"the harness failed: {error!r}" for error in failed]

    async def _verdict(self) -> list[str]:
        """The invariants, twice in a row without a violation; or those that do not come right."""
        deadline = time.monotonic() + QUIET_SECONDS
        names = [self._cluster.full(story.name) for story in self._register.stories]
        fine = 0
        while True:
            world = await dump_world(self._cluster.client, self._nodes.values(), names)
            wrongs = [wrong for node in self._nodes.values() for wrong in node.wrongs]
            found = wrongs + violations(world, self._register)
            fine = 0 if found else fine + 1
            if fine == 2 or (found and (time.monotonic() > deadline or wrongs)):
                return found
            await asyncio.sleep(0.5)
