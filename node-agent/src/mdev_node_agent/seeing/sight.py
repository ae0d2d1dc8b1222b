"""What is known of the node right now: what was seen, and who uses it.

Looks are serialised, so ``latest`` never goes back in time: whoever awaits :meth:`Eye.look` gets a look that began
after the call. A look runs in a thread of its own; one that a driver holds up delays the next look and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mdev_node_agent.backends.backend import Backend
from mdev_node_agent.blocking import in_thread
from mdev_node_agent.kubelet.serving import Asked, OwnResource, Service, serve, uses_with
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.facts import Facts
from mdev_node_agent.seeing.in_use import InUse, InUseSource, Source, Use
from mdev_node_agent.seeing.observation import Observation
from mdev_node_agent.sysfs.port import Port

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
    """Looks at the node, and remembers the last look. ``ask_kubelet``: blocking, never raises; None: nobody asks it."""

    def __init__(
        self,
        port: Port,
        backends: Sequence[Backend],
        source: InUseSource,
        ask_kubelet: Callable[[], Asked] | None = None,
        facts: Facts | None = None,
    ) -> None:
        self._port = port
        self._backends = backends
        self._source = source
        self._ask_kubelet = ask_kubelet
        self._facts = facts
        self.own_resources: Callable[[Observation], Mapping[str, OwnResource]] = lambda observation: {}
        """The resources that this agent's own device plugin serves, by what is seen; called from a thread."""
        self._lock = asyncio.Lock()
        self.latest: Sight | None = None
        self.on_look: Callable[[Sight], None] = lambda sight: None
        """Called in the event loop after each look."""

    async def look(self) -> Sight:
        """Look now. OSError if the kernel does not say which boot this is."""
        async with self._lock:
            sight = await in_thread(self._look, name="look")
            self.latest = sight
        self.on_look(sight)
        return sight

    def _look(self) -> Sight:
        observation = observe(self._port, self._backends, self._facts)
        uses = self._source.look(observation.instances)
        if self._ask_kubelet is None:
            return Sight(observation=observation, uses=uses)
        service = serve(self._ask_kubelet(), observation.instances, self.own_resources(observation))
        return Sight(observation=observation, uses=uses_with(service, uses), service=service)
