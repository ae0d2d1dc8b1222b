"""Removes what the ledger's rule gives up, and ends the journal records that nothing is left of, after each rescan.

The rules are :mod:`mdev_node_agent.deciding.collection`'s. What the disk refuses is tried again in the next round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial

import structlog

from mdev_node_agent.acting.hands import Hands
from mdev_node_agent.blocking import in_thread, start
from mdev_node_agent.deciding.claims import owned
from mdev_node_agent.deciding.collection import needs_nothing, to_remove, unused_since
from mdev_node_agent.deciding.steps import Remove
from mdev_node_agent.memory.ledger import Made
from mdev_node_agent.memory.record import Record
from mdev_node_agent.seeing.in_use import InUse
from mdev_node_agent.seeing.sight import Eye, Sight

log = structlog.get_logger(__name__)


class Collector:
    """``held``: instances that reservations name; ``stand``: the ids of these reservations, called from any thread.

    Both None while it is not known what stands. ``clock``: monotonic.
    """

    def __init__(
        self,
        *,
        eye: Eye,
        hands: Hands,
        held: Callable[[], Collection[str] | None],
        stand: Callable[[], Collection[str] | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._eye = eye
        self._hands = hands
        self._held = held
        self._stand = stand
        self._clock = clock
        self._since: dict[str, float] = {}
        self._removing: dict[str, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()

    def poke(self) -> None:
        """The node was looked at."""
        self._wake.set()

    async def run(self) -> None:
        """Collect until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.collect()
            except OSError as error:
                log.error("cannot look at the node", reason=str(error))

    async def collect(self) -> None:
        """One round. OSError if the kernel does not say which boot this is."""
        await self._forget()
        held, sight, made = self._held(), self._eye.latest, dict(self._hands.ledger.instances)
        if held is None or sight is None:
            self._since = {}
            return
        ours = owned(made, sight.observation)
        now = self._clock()
        self._since = unused_since(self._since, sight, ours, held, now)
        for instance in to_remove(self._since, now):
            if instance not in self._removing:
                await self._remove(made[instance])

    async def _forget(self) -> None:
        """What nothing is left of ends in journal and ledger.

        Both are read before the look, the ledger first: what is listed and has no record any more is made already.
        """
        made = dict(self._hands.ledger.instances)
        records = dict(self._hands.journal.records)
        if self._eye.latest is None or not any(self._over(made, records, self._eye.latest)):
            return
        ended, struck = self._over(made, records, await self._eye.look())
        for key in ended:
            await in_thread(partial(self._hands.end_left, key, records[key], self._left), name=f"journal {key}")
        for instance in struck:
            await in_thread(partial(self._hands.forget, instance), name="ledger")

    def _over(
        self, made: Mapping[str, Made], records: Mapping[str, Record], sight: Sight
    ) -> tuple[list[str], list[str]]:
        """The reservations whose record may end, and the instances that may be struck from the ledger."""
        held, ours = self._held(), owned(made, sight.observation)
        if held is None:
            return [], []
        ended = [key for key, record in self._left(records).items() if needs_nothing(key, record, sight, made)]
        struck = [
            instance
            for instance, entry in made.items()
            if instance not in held
            and entry.reservation not in records
            and (instance not in ours or sight.is_gone(instance))
        ]
        return ended, struck

    def _left(self, records: Mapping[str, Record]) -> dict[str, Record]:
        """Those whose reservation does not stand; none while that is not known."""
        stand = self._stand()
        return {} if stand is None else {key: record for key, record in records.items() if key not in stand}

    async def _remove(self, made: Made) -> None:
        """Look once more, and only then remove: somebody may have come since."""
        sight = await self._eye.look()
        held = self._held()
        ours = owned({made.instance: made}, sight.observation)
        if held is None or made.instance in held or not ours or sight.use(made.instance).state is not InUse.NO:
            self._since.pop(made.instance, None)
            return
        log.info("removing what nobody holds or uses", instance=made.instance, reservation=made.reservation)
        step = Remove(instance=made.instance, backend=made.backend)
        future = start(lambda: self._hands.remove(made.reservation, step), name=f"collect {made.instance}")
        self._removing[made.instance] = future
        future.add_done_callback(lambda done: self._returned(made, done))

    def _returned(self, made: Made, future: asyncio.Future[None]) -> None:
        del self._removing[made.instance]
        self._since.pop(made.instance, None)
        error = None if future.cancelled() else future.exception()
        if error is not None:
            log.error("not removed", instance=made.instance, reason=str(error))
