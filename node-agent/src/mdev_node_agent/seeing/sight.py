"""What is known of the node right now: what was seen, and who uses it.

Looks are serialised, so ``latest`` never goes back in time: whoever awaits :meth:`Eye.look` gets a look that began
after the call. A look runs in a thread of its own, and goes on without what a driver does not answer
(:mod:`mdev_node_agent.seeing.patience`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from mdev_node_agent.backends.backend import Backend
from mdev_node_agent.kubelet.serving import Asked, OwnResource, Service, serve, uses_with
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.facts import Facts
from mdev_node_agent.seeing.in_use import InUse, InUseSource, Source, Use
from mdev_node_agent.seeing.observation import Observation
from mdev_node_agent.seeing.patience import Hang, Try, make
from mdev_node_agent.sysfs.port import Port

log = structlog.get_logger(__name__)

SUSPICIOUS_SECONDS = 1.0
"""Patience for a read once another one of the same look has hung: often it waits for the same."""

UNKNOWN = Use(state=InUse.UNKNOWN, source=Source.NONE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """One look. ``uses`` by instance id; ``service``: what the kubelet does with the instances, if it was asked."""

    observation: Observation
    uses: Mapping[str, Use] = field(default_factory=dict)
    service: Service = field(default_factory=Service)

    def use(self, instance: str) -> Use:
        """Is it open, as far as anybody can tell?"""
        return self.uses.get(instance, UNKNOWN)

    def is_leaving(self, instance: str) -> bool:
        """It is not on the bus and yet not gone: its removal waits, or it is just being made."""
        seen = self.observation.instance(instance) is not None
        return not seen and any(told.name == instance for told in self.observation.unreadable)

    def is_gone(self, instance: str) -> bool:
        """It surely does not exist: not merely out of sight because a directory could not be read."""
        if self.observation.instance(instance) is not None:
            return False
        return not any(told.name == instance or not told.path for told in self.observation.unreadable)


class Eye:
    """Looks at the node, and remembers the last look.

    ``ask_kubelet``: blocking, never raises; None: nobody asks it. ``patience``: seconds that one read may take.
    """

    def __init__(
        self,
        port: Port,
        backends: Sequence[Backend],
        source: InUseSource,
        ask_kubelet: Callable[[], Asked] | None = None,
        facts: Facts | None = None,
        patience: float = 5.0,
    ) -> None:
        self._port = port
        self._backends = backends
        self._source = source
        self._ask_kubelet = ask_kubelet
        self._facts = facts
        self._patience = patience
        self._hangs: dict[Hang, None] = {}
        self.own_resources: Callable[[Observation], Mapping[str, OwnResource]] = lambda observation: {}
        """The resources that this agent's own device plugin serves, by what is seen; called from a thread."""
        self._lock = asyncio.Lock()
        self.latest: Sight | None = None
        self.on_look: Callable[[Sight], None] = lambda sight: None
        """Called in the event loop after each look."""
        self.on_recovery: Callable[[], None] = lambda: None
        """Called when a driver has answered a read that looks go without: the next one has it again."""

    async def look(self) -> Sight:
        """Look now. OSError if the kernel does not say which boot this is."""
        async with self._lock:
            sight = await self._without_what_hangs()
            self.latest = sight
        self.on_look(sight)
        return sight

    async def _without_what_hangs(self) -> Sight:
        patience = self._patience
        while True:
            call, hang = await make(Try(self._port, tuple(self._hangs)), self._look, patience)
            if hang is None:
                return call.result()
            log.warning("looking without what a driver does not answer", path=hang.told.path, seconds=patience)
            self._hangs[hang] = None
            call.add_done_callback(partial(self._answered, hang))
            patience = min(patience, SUSPICIOUS_SECONDS)

    def _answered(self, hang: Hang, call: asyncio.Future[Sight]) -> None:
        del self._hangs[hang]
        call.exception()
        log.info("a driver has answered a read at last", path=hang.told.path)
        self.on_recovery()

    def _look(self, port: Try) -> Sight:
        observation = observe(port, self._backends, self._facts)
        told = tuple(hang.told for hang in port.met)
        observation = replace(observation, unreadable=(*observation.unreadable, *told))
        uses = self._source.look(observation.instances)
        if self._ask_kubelet is None:
            return Sight(observation=observation, uses=uses)
        service = serve(self._ask_kubelet(), observation.instances, self.own_resources(observation))
        return Sight(observation=observation, uses=uses_with(service, uses), service=service)
