"""KubeVirt's node hook ``PreMigrationTarget``: the last gate before QEMU of the target opens its device.

virt-handler of the target node calls it (gRPC on a unix socket below a directory that it mounts, named by a Plugin
resource) after the pod runs and before the migration begins, on every reconcile until it begins; so it is idempotent:
what is bound stays bound, and nothing is written twice. If it fails, the migration does not begin and virt-handler
tells the message and tries again. Whoever can connect can ask it to bind reservations: the socket is root's alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from mdev_api.kinds.node_reservations import State
from mdev_node_agent.acting.preparer import Preparer
from mdev_node_agent.kubelet.hook_decision import Bind, Code, Pass, Refuse, Vmi, VmiError, decide, vmi_of
from mdev_node_agent.kubelet.protos import nodehook_v1alpha1_pb2 as api
from mdev_node_agent.kubelet.protos import nodehook_v1alpha1_pb2_grpc as services
from mdev_node_agent.seeing.sight import Eye

log = structlog.get_logger(__name__)

HOOK_POINT = "PreMigrationTarget"
ANSWER_SECONDS = 25.0
"""virt-handler waits 30 s unless the Plugin says otherwise; it learns more from an answer than from a deadline."""
RETRY_SECONDS = 1.0
CHECK_SECONDS = 5.0
"""Between two checks that the socket is still ours."""


class NodeHook:
    """Answers for one node. ``known``: has the API server said which reservations stand?"""

    def __init__(self, eye: Eye, preparer: Preparer, known: Callable[[], bool]) -> None:
        self._eye = eye
        self._preparer = preparer
        self._known = known

    async def ExecuteNodeHook(  # noqa: N802 (the name of the service's method)
        self, request: api.ExecuteNodeHookRequest, context: grpc.aio.ServicerContext
    ) -> api.ExecuteNodeHookResponse:
        """One call. Other hook points pass."""
        if request.hookPoint != HOOK_POINT:
            return api.ExecuteNodeHookResponse()
        try:
            vmi = vmi_of(request.vmi)
        except VmiError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        try:
            refusal = await asyncio.wait_for(self._admit(vmi), ANSWER_SECONDS)
        except TimeoutError:
            message = "the device is not ready yet: the driver takes long"
            refusal = Refuse(code=Code.UNAVAILABLE, message=message)
        named = {"namespace": vmi.namespace, "vmi": vmi.name, "migration": vmi.migration_uid, "pod": vmi.target_pod}
        if refusal is not None:
            log.warning("migration not let in", **named, code=refusal.code.value, reason=refusal.message)
            await context.abort(grpc.StatusCode[refusal.code.value], refusal.message)
        log.info("migration let in", **named)
        return api.ExecuteNodeHookResponse()

    async def _admit(self, vmi: Vmi) -> Refuse | None:
        if not vmi.resources:
            return None
        try:
            sight = await self._eye.look()
        except OSError as error:
            return Refuse(code=Code.UNAVAILABLE, message=f"the node's devices cannot be seen: {error}")
        preparer = self._preparer
        for decision in decide(vmi, sight.service, preparer.entries, preparer.answers, known=self._known()):
            if isinstance(decision, Refuse):
                return decision
            if isinstance(decision, Pass):
                log.debug("hook passes", vmi=vmi.name, namespace=vmi.namespace, why=decision.why)
                continue
            refusal = await self._bind(vmi, decision)
            if refusal is not None:
                return refusal
        return None

    async def _bind(self, vmi: Vmi, bind: Bind) -> Refuse | None:
        what = f"device {bind.instance} of pod {vmi.namespace}/{vmi.target_pod}"
        try:
            answer = await self._preparer.bind(bind.entry, bind.instance)
        except LookupError as error:
            return Refuse(code=Code.UNAVAILABLE, message=f"{what}: {error}")
        if answer.failure is not None:
            message = f"{what}: {answer.failure.reason}: {answer.failure.message}"
            return Refuse(code=Code.FAILED_PRECONDITION, message=message)
        if answer.state not in (State.PREPARED, State.HANDED_OVER) or answer.instance != bind.instance:
            bound = answer.instance or "no device"
            message = f"{what}: reservation {bind.entry} is {answer.state} and bound to {bound}"
            return Refuse(code=Code.FAILED_PRECONDITION, message=message)
        return None


@dataclass(frozen=True, slots=True)
class _Identity:
    device: int
    inode: int


async def serve_hook(socket: Path, hook: NodeHook) -> None:
    """Serve until cancelled. A socket that cannot be made, or that somebody has taken away, is made again."""
    while True:
        server = grpc.aio.server()
        services.add_NodeHookServiceServicer_to_server(hook, server)
        try:
            socket.parent.mkdir(parents=True, exist_ok=True)
            server.add_insecure_port(f"unix:{socket}")
            socket.chmod(0o600)
            mine = _identity(socket)
            await server.start()
            log.info("hook is served", socket=str(socket))
            while _identity(socket) == mine:  # noqa: ASYNC110 (nothing tells when somebody takes a file away)
                await asyncio.sleep(CHECK_SECONDS)
            log.warning("somebody took the hook's socket: made again", socket=str(socket))
        except FileNotFoundError:
            log.warning("somebody took the hook's socket away: made again", socket=str(socket))
            await asyncio.sleep(RETRY_SECONDS)
        except (OSError, RuntimeError) as error:
            log.error("hook is not served", socket=str(socket), reason=str(error))
            await asyncio.sleep(CHECK_SECONDS)
        finally:
            await server.stop(None)


def _identity(socket: Path) -> _Identity:
    """Which file it is. OSError if there is none."""
    found = socket.stat()
    return _Identity(found.st_dev, found.st_ino)
