"""The agent at work: what it watches, and what each event sets going.

Kernel uevents and a jittered rescan lead to a look at the node; a look leads to the publisher and to every reservation;
a change of NodeReservations leads to the reservations. Nothing is prepared or undone before the API server has said
what stands. Nothing that the API server or the network does ends the agent.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import CredentialsError, load
from mdev_api.kube.reflector import Reflector
from mdev_api.kube.resources import NODE_RESERVATIONS
from mdev_node_agent.acting.answers import Answers
from mdev_node_agent.acting.collector import Collector
from mdev_node_agent.acting.hands import Hands
from mdev_node_agent.acting.preparer import Preparer
from mdev_node_agent.acting.taking_over import take_over
from mdev_node_agent.backends.backend import Backend
from mdev_node_agent.backends.every import every_backend
from mdev_node_agent.deciding.claims import owned
from mdev_node_agent.deciding.understanding import understood
from mdev_node_agent.kubelet.resources import ServeError, resources_of
from mdev_node_agent.kubelet.serving import Pod
from mdev_node_agent.logs import configure
from mdev_node_agent.memory.journal import Journal, JournalError
from mdev_node_agent.memory.ledger import Ledger
from mdev_node_agent.memory.sole import SoleUse
from mdev_node_agent.publishing.lease import renew_for_ever
from mdev_node_agent.publishing.publisher import Publisher
from mdev_node_agent.seeing.facts import read_facts
from mdev_node_agent.seeing.in_use import InUseSource, NoSource, ProcessSource
from mdev_node_agent.seeing.scanner import Scanner
from mdev_node_agent.seeing.sight import Eye, Sight
from mdev_node_agent.settings import CannotRunError, Deadlines, RunSettings
from mdev_node_agent.sysfs.host import HostPort
from mdev_node_agent.sysfs.port import Port

if TYPE_CHECKING:
    from mdev_node_agent.kubelet.pod_resources import Kubelet

log = structlog.get_logger(__name__)

CHECK_SECONDS = 3600.0
"""Between two checks that what was published is still there."""


def run_until_signalled(settings: RunSettings) -> None:
    """Run as a program: logs on stdout, SIGTERM and SIGINT end it cleanly. CannotRunError: see :func:`run`."""
    configure(settings.log_format)
    asyncio.run(_signalled(settings))


async def _signalled(settings: RunSettings) -> None:
    work = asyncio.create_task(run(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    with suppress(asyncio.CancelledError):
        await work
    log.info("stopped", node=settings.node)


async def run(
    settings: RunSettings,
    *,
    port: Port | None = None,
    backends: Sequence[Backend] | None = None,
    source: InUseSource | None = None,
    deadlines: Deadlines | None = None,
) -> None:
    """Run the agent until cancelled. What is not given is this machine's: its kernel, its processes.

    Raises CannotRunError where only a correction of the settings can help: no credentials, no boot id, a hook or a
    device plugin without the kubelet, a resource that cannot be served.
    """
    _check(settings)
    port = HostPort(root=settings.sysfs) if port is None else port
    backends = every_backend(settings.state_dir) if backends is None else backends
    if source is None:
        source = ProcessSource() if settings.in_use == "process" else NoSource()
    try:
        credentials = load(settings.kubeconfig)
        boot_id = port.boot_id()
    except CredentialsError as error:
        raise CannotRunError(f"no credentials for the API server: {error}") from None
    except OSError as error:
        raise CannotRunError(f"the kernel does not say which boot this is: {error}") from None
    sole, at_last = SoleUse(settings.state_dir), _nothing
    try:
        async with Client(credentials, user_agent="mdev-node-agent") as client:
            log.info("started", node=settings.node, boot=boot_id, server=credentials.server)
            await take_over(sole, client, settings.node)
            journal, ledger = _memory(settings, boot_id)
            at_last = journal.close
            hands = Hands(port=port, backends=backends, journal=journal, ledger=ledger, boot_id=boot_id, sole=sole)
            kubelet = _kubelet(settings)
            facts = None if settings.facts_dir is None else partial(read_facts, settings.facts_dir)
            deadlines = deadlines or Deadlines()
            eye = Eye(port, backends, source, None if kubelet is None else kubelet.ask, facts, deadlines.look)
            agent = _Agent(settings, client, eye, hands, boot_id, deadlines, kubelet)
            await agent.run(port)
    finally:
        sole.let_go(at_last)


def _nothing() -> None:
    """The agent ends before it has opened anything."""


def _check(settings: RunSettings) -> None:
    """CannotRunError where settings do not go together."""
    if settings.hook_socket is not None and settings.kubelet_dir is None:
        raise CannotRunError("the hook asks the kubelet which device a pod has: set --kubelet-dir beside --hook-socket")
    if settings.serve and settings.kubelet_dir is None:
        raise CannotRunError("a device plugin registers with the kubelet: set --kubelet-dir beside --serve")
    _own_pod(settings)
    try:
        resources_of(settings.serve)
    except ServeError as error:
        raise CannotRunError(str(error)) from None


def _kubelet(settings: RunSettings) -> Kubelet | None:
    """This node's kubelet, if it is to be asked. gRPC is loaded only then: it takes 10 MB and a third of a second."""
    if settings.kubelet_dir is None:
        return None
    from mdev_node_agent.kubelet.pod_resources import Kubelet, ask

    return Kubelet(settings.kubelet_dir, asking=partial(ask, own_pod=_own_pod(settings)))


def _own_pod(settings: RunSettings) -> Pod | None:
    """The agent's own pod; CannotRunError if the text names none."""
    if settings.own_pod is None:
        return None
    namespace, _, name = settings.own_pod.partition("/")
    if not namespace or not name or "/" in name:
        raise CannotRunError(f"--own-pod {settings.own_pod!r} names no pod: write NAMESPACE/NAME")
    return Pod(namespace=namespace, name=name)


def _memory(settings: RunSettings, boot_id: str) -> tuple[Journal, Ledger]:
    """Journal and ledger; what is wrong with them is told, and each use tries again."""
    journal, ledger = Journal(settings.state_dir, boot_id), Ledger(settings.state_dir, boot_id)
    try:
        journal.open()
    except JournalError as error:
        log.error("reservations cannot be prepared", node=settings.node, reason=str(error))
    for sentence in (*journal.told, *((ledger.damage,) if ledger.damage else ())):
        log.warning("memory is damaged", node=settings.node, reason=sentence)
    return journal, ledger


class _Agent:
    """The parts of one running agent, and which tells which."""

    def __init__(
        self,
        settings: RunSettings,
        client: Client,
        eye: Eye,
        hands: Hands,
        boot_id: str,
        deadlines: Deadlines,
        kubelet: Kubelet | None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._eye = eye
        self._hands = hands
        self._kubelet = kubelet
        self._answers = Answers(client, settings.node, boot_id)
        self._preparer = Preparer(eye=eye, hands=hands, answers=self._answers, deadlines=deadlines)
        self._publisher = Publisher(client, settings.node)
        self._collector = Collector(eye=eye, hands=hands, held=self._held, stand=lambda: self._standing)
        self._standing: frozenset[str] | None = None
        eye.on_look = self._looked
        self._preparer.on_blocked = self._blocked

    async def run(self, port: Port) -> None:
        settings = self._settings
        reservations = Reflector(
            self._client,
            NODE_RESERVATIONS,
            self._reserved,
            field_selector=f"metadata.name={settings.node}",
            on_relist=self._publisher.check_again,
        )
        scanner = Scanner(
            eye=self._eye,
            rescan_seconds=settings.rescan_seconds,
            hurry=lambda: self._preparer.waits_for_use,
            on_rescan=self._rescanned,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(scanner.run(port), name="scanner")
            group.create_task(reservations.run(), name="reservations")
            group.create_task(self._publisher.run(), name="publisher")
            group.create_task(self._answers.run(), name="answers")
            group.create_task(self._preparer.run(), name="preparer")
            group.create_task(self._collector.run(), name="collector")
            group.create_task(renew_for_ever(self._client, settings.node, settings.namespace), name="lease")
            group.create_task(self._check(), name="check")
            if self._kubelet is not None:
                from mdev_node_agent.kubelet.work import kubelet_work

                known = reservations.synced.is_set
                for name, work in kubelet_work(self._kubelet, settings, self._eye, self._preparer, self._hands, known):
                    group.create_task(work, name=name)

    def _looked(self, sight: Sight) -> None:
        self._publish(sight)
        self._preparer.poke()

    def _blocked(self) -> None:
        if self._eye.latest is not None:
            self._publish(self._eye.latest)

    def _publish(self, sight: Sight) -> None:
        managed = owned(dict(self._hands.ledger.instances), sight.observation)
        blocked = self._preparer.blocked
        leaving = frozenset(key for key in managed if sight.is_leaving(key))
        self._publisher.publish(sight, managed=managed, blocked=blocked | leaving)

    def _rescanned(self) -> None:
        self._preparer.poke(retry=True)
        self._collector.poke()

    def _held(self) -> frozenset[str] | None:
        return None if self._standing is None else self._preparer.held

    def _reserved(self, key: str, new: dict[str, Any] | None, old: dict[str, Any] | None) -> None:
        """The reservations of this node have changed. A missing object means Hold: nothing is touched."""
        if new is None:
            self._standing = None
            log.info("no reservations any more: everything is kept", node=key)
            self._preparer.take(())
            self._answers.stand((), None)
            self._publisher.check_again()
            return
        entries, answers = understood(new)
        self._answers.adopt(answers)
        ids = tuple(e["id"] for e in new.get("spec", {}).get("reservations", ()))
        self._standing = frozenset(ids)
        self._answers.stand(ids, new.get("status", {}))
        self._preparer.take(entries)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS * random.uniform(0.9, 1.1))
            self._publisher.check_again()
