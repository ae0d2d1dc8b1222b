"""Everything at once: the API server, the nodes with their agents, the operators, and one clock for all of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC
from functools import partial
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import pytest
import structlog

from mdev_api.kube import reflector
from mdev_api.kube.requests import create, delete, merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS, NODES
from mdev_node_agent import blocking
from mdev_node_agent import run as agent
from mdev_node_agent.acting import faults
from mdev_node_agent.acting.collector import Collector
from mdev_node_agent.publishing import lease, publisher
from mdev_node_agent.seeing import scanner
from mdev_operator.inventory import inventory
from mdev_operator.migration import reconcile
from mdev_operator.profiles import profiles
from mdev_operator.telling import events
from tests.agent.preparing import CutJournal, CutLedger
from tests.durable.protocol.clockwork import THREADING, Clockwork
from tests.durable.protocol.nodes import BrokenError, Node
from tests.durable.protocol.operators import Operator, Throne
from tests.durable.protocol.store import Object, Store
from tests.memkernel.machine import Machine

NAMESPACE = "default"
LOGGED = int(os.environ.get("MODEL_LOG", "50"))
"""Least severity of what the programs log; 50: nothing of it."""
DATED: tuple[ModuleType, ...] = (reconcile, inventory, events, profiles, lease, publisher)
TIMED: tuple[ModuleType, ...] = (reconcile, inventory, reflector)


class World:
    """Use it as ``with World() as world``. ``leader`` is the operator that holds the Lease.

    ``faults``: what an agent met and survived while it dealt with a reservation, and never should have met.
    """

    def __init__(self, names: tuple[str, ...] = ("a", "b")) -> None:
        self.clock = Clockwork()
        self.store = Store(now=lambda: self.clock.wall().now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.throne = Throne()
        self._patch = pytest.MonkeyPatch()
        self._directory = Path(tempfile.mkdtemp(prefix="protocol-"))
        processes: dict[Path, Node] = {}
        self.faults: list[tuple[str, Exception]] = []
        self.nodes = {
            name: Node(
                name=name, clock=self.clock, store=self.store, directory=self._directory / name, processes=processes
            )
            for name in names
        }
        self._substitute(processes)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(LOGGED))
        for name in names:
            self.store.answer(create(NODES, {"metadata": {"name": name}, "spec": {}}))
            self.ready(name, ready=True)
            self.nodes[name].start()
        self.leader = Operator(self.clock, self.store, self.throne)
        self.stale: Operator | None = None
        self.former: list[Operator] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for operator in self.operators:
                operator.end()
            for node in self.nodes.values():
                if node.agent is not None:
                    node.agent.cancel()
            self.clock.advance()
            self.clock.close()
        finally:
            self._patch.undo()
            structlog.reset_defaults()
            shutil.rmtree(self._directory)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Those whose processes run, the leader first."""
        return tuple(o for o in (self.leader, self.stale) if o is not None and not o.ended)

    def migrations(self) -> list[Object]:
        """All DeviceMigrations."""
        return self.store.all(DEVICE_MIGRATIONS.plural)

    def migration(self, name: str) -> Object | None:
        """One of them, as it is."""
        return self.store.get(DEVICE_MIGRATIONS.plural, name, NAMESPACE)

    def migrate(self, name: str, spec: Mapping[str, Any]) -> None:
        """Somebody makes a DeviceMigration."""
        body = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        self.store.answer(create(DEVICE_MIGRATIONS, body, NAMESPACE))

    def tell(self, name: str, **spec: Any) -> None:
        """Somebody changes its spec."""
        self.store.answer(merge_patch(DEVICE_MIGRATIONS, name, {"spec": spec}, NAMESPACE))

    def delete(self, name: str) -> None:
        """Somebody deletes it."""
        self.store.answer(delete(DEVICE_MIGRATIONS, name, NAMESPACE))

    def ready(self, node: str, *, ready: bool) -> None:
        """A Node is Ready, or not."""
        status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
        self.store.answer(merge_patch(NODES, node, {"status": status}, subresource="status"))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and look what has ended meanwhile."""
        self.clock.advance(seconds)
        for operator in self.operators:
            operator.notice()
        for node in self.nodes.values():
            node.bury()

    def lead_anew(self) -> None:
        """Another operator takes the Lease; the one before does not know it yet."""
        if self.stale is not None:
            self.stale.end()
            self.former.append(self.stale)
        self.stale = self.leader
        self.leader = Operator(self.clock, self.store, self.throne)

    def _substitute(self, processes: dict[Path, Node]) -> None:
        put = self._patch.setattr
        for module in DATED:
            put(module, "datetime", self.clock.wall())
        for module in TIMED:
            put(module, "time", self.clock.monotonic())
        put(blocking, "threading", THREADING)
        put(faults, "tell", lambda key, error, pause: self.faults.append((key, error)))
        put(scanner, "HURRY_SECONDS", 8.0)
        # A process that ends loses nothing of what it has written; only a machine without power would.
        put(os, "fsync", lambda fd: None)
        put(Machine, "wait_until", _never_waits)
        put(agent, "load", lambda path: processes[path].wire)
        put(agent, "Client", lambda wire, user_agent: wire)
        put(agent, "Journal", lambda path, boot: CutJournal(path, boot, processes[path].lifeline))
        put(agent, "Ledger", lambda path, boot: CutLedger(path, boot, processes[path].lifeline))
        put(agent, "Collector", partial(Collector, clock=self.clock.time))


def _never_waits(machine: Machine, reached: Any) -> None:
    if not reached():
        raise BrokenError("a device that is held open was to be removed: the kernel would take it from its VM")
