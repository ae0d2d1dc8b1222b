"""What one agent is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FIELD_MANAGER = "mdev-node-agent"
"""Field manager of everything that an agent applies."""


class CannotRunError(Exception):
    """The agent cannot start; the message says what to correct."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """Settings of ``mdev-node-agent run``.

    ``node``: name of the Node, and so of its NodeDevices, NodeReservations and Lease. ``sysfs``: where the host's
    sysfs is mounted. ``kubeconfig``: None takes what the environment gives (see
    :func:`mdev_api.kube.credentials.load`). ``state_dir``: journal and ledger, on a disk that survives the process.
    ``namespace``: that of the Lease. ``rescan_seconds``: between two rescans of sysfs, jittered by a tenth.
    ``in_use``: ``process`` looks at the processes of this machine, ``none`` says Unknown. ``log_format``: ``json``
    or ``console``. ``kubelet_dir``: the kubelet's directory; None: the kubelet is not asked, no slot can be
    reserved, and gRPC is not loaded. ``own_pod``: ``NAMESPACE/NAME`` of the pod that the agent runs in, by which an
    answer of the kubelet is known from that of one that has only just started. ``hook_socket``: where
    virt-handler's node hook is served; None: it is not. ``serve``: what our own device plugin serves,
    ``RESOURCE=TYPE`` each; empty: there is no plugin. ``facts_dir``: the node's facts files
    (:mod:`mdev_node_agent.seeing.facts`); None: there are none.
    """

    node: str
    sysfs: Path = Path("/sys")
    kubeconfig: Path | None = None
    state_dir: Path = Path("/var/lib/mdev-node-agent")
    namespace: str = "mdev-node-agent"
    rescan_seconds: float = 60.0
    in_use: str = "process"
    log_format: str = "json"
    kubelet_dir: Path | None = None
    own_pod: str | None = None
    hook_socket: Path | None = None
    serve: tuple[str, ...] = ()
    facts_dir: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deadlines:
    """Seconds that a call into a driver may take.

    ``call``: create, write and read back; after it the reservation fails with Deadline. ``remove``: after it the
    removal counts as blocked, which is told while the call goes on. ``look``: one read of a look at the node; after it
    the look goes on without what it was to tell.
    """

    call: float = 30.0
    remove: float = 5.0
    look: float = 5.0
