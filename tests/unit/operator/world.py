"""A small cluster as plain values, for tests of the operator's decisions: nodes with GPUs of 4 or 8 GB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mdev_api.hashing import reading_digest
from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kinds.node_reservations import Entry, NodeReservations
from mdev_api.meaning import metadata_of
from mdev_operator.inventory.cluster import Cluster, Held, NodeView, ProfileView, VmView
from mdev_operator.kubevirt.manager import KubeVirtConfig
from mdev_operator.kubevirt.pod_fit import PodConstraints
from mdev_operator.migration.decide import decide
from mdev_operator.migration.decision import Decision, Situation
from mdev_operator.migration.source import NoSource

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
UID = "0000-uid"
DEVICE = "11111111-2222-4333-8444-555555555555"


def stamp(moment: datetime) -> str:
    """RFC 3339."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def profile_name(type_id: str) -> str:
    """A name that passes as a content hash; the tests do not depend on what it hashes."""
    return "p-" + type_id.translate(str.maketrans("0189-", "aaaaa")).lower().ljust(26, "a")[:26]


def profile(type_id: str, memory: int, allowed: Sequence[int], model: str = "com.gfx/GPU") -> ProfileView:
    """A profile with one int parameter that cannot be disabled, as the operator has read it."""
    parameter = {
        "name": "memory",
        "type": "int",
        "initValue": str(memory),
        "allowedValues": [str(value) for value in allowed],
    }
    whole = DeviceProfile.model_validate(
        {
            "metadata": {"name": profile_name(type_id)},
            "spec": {"backend": "mdev", "driver": {"name": "gfx"}, "type": {"id": type_id}},
            "status": {
                "model": model,
                "from": "Published",
                "parameters": [{**parameter, "attribute": "migration/memory"}],
                "conditions": [
                    {"type": "Resolved", "status": "True", "reason": "Published", "lastTransitionTime": stamp(NOW)}
                ],
            },
        }
    )
    return ProfileView(profile=whole, metadata=metadata_of(whole), suspect=False)


PROFILES = {
    view.profile.metadata.name: view
    for view in (
        profile("gfx-4GB", 4096, [4096]),
        profile("gfx-8GB", 8192, [8192]),
        profile("gfx-varGB", 1024, [1024, 2048, 4096, 8192]),
        profile("nic", 1, [1], model="com.example/nic"),
    )
}


def node_devices(
    name: str, offers: Mapping[str, int], instances: Iterable[Mapping[str, Any]] = (), **status: Any
) -> NodeDevices:
    """A node with one parent ``gfx0``; ``offers`` is free instances by type; ``status`` has more of its members."""
    listed = [{"type": t, "profile": profile_name(t), "available": free} for t, free in offers.items()]
    return NodeDevices.model_validate(
        {
            "metadata": {"name": name},
            "status": {
                "bootID": f"boot-{name}",
                "parents": [{"name": "gfx0", "driver": "gfx", "offers": listed}],
                "instances": list(instances),
                **status,
            },
        }
    )


def instance(type_id: str, instance_id: str = DEVICE, **more: Any) -> dict[str, Any]:
    """An instance on parent gfx0 at its init values."""
    return {"id": instance_id, "parent": "gfx0", "type": type_id, "profile": profile_name(type_id), **more}


def reservations(name: str, entries: Iterable[Entry], answers: Iterable[Mapping[str, Any]] = ()) -> NodeReservations:
    """The object of one node."""
    return NodeReservations.model_validate(
        {
            "metadata": {"name": name, "uid": f"r-{name}", "generation": 3},
            "spec": {"fence": 1, "reservations": [e.model_dump(by_alias=True, exclude_none=True) for e in entries]},
            "status": {"reservations": list(answers)},
        }
    )


def cluster(
    *devices: NodeDevices,
    reserved: Iterable[NodeReservations] = (),
    silent: Mapping[str, str] | None = None,
    nodes: Mapping[str, NodeView] | None = None,
    kubevirt: KubeVirtConfig | None = None,
) -> Cluster:
    """A cluster in which all nodes are well, but for those that ``nodes`` and ``silent`` name."""
    views = {d.node: NodeView(name=d.node, labels={}, ready=True, schedulable=True) for d in devices}
    return Cluster(
        nodes={**views, **(nodes or {})},
        devices={d.node: d for d in devices},
        profiles=PROFILES,
        reservations={r.metadata.name: r for r in reserved},
        silent=lambda node: (silent or {}).get(node),
        kubevirt=kubevirt,
    )


def migration(
    source: Mapping[str, Any] | None = None,
    *,
    conditions: Sequence[Mapping[str, Any]] = (),
    attempts: Sequence[Mapping[str, Any]] = (),
    deleted: bool = False,
    **spec: Any,
) -> DeviceMigration:
    """A migration in mode Prepare; its default source is an explicit GPU with memory=8192."""
    return DeviceMigration.model_validate(
        {
            "metadata": {
                "name": "m",
                "namespace": "default",
                "uid": UID,
                "generation": 2,
                **({"deletionTimestamp": stamp(NOW)} if deleted else {}),
            },
            "spec": {"mode": "Prepare", "source": source or gpu(8192), **spec},
            "status": {"conditions": list(conditions), "attempts": list(attempts)},
        }
    )


def gpu(memory: int) -> dict[str, Any]:
    """An explicit source."""
    values = [{"name": "memory", "type": "int", "value": str(memory)}]
    return {"explicit": [{"name": "gpu", "model": "com.gfx/GPU", "values": values}]}


def on_node(node: str = "a", device: str = DEVICE) -> dict[str, Any]:
    """A source that is a device of a node."""
    return {"node": {"name": node, "devices": [device]}}


def condition(kind: str, status: bool, reason: str = "Because", age: float = 0) -> dict[str, Any]:
    """A condition that has its status for ``age`` seconds."""
    since = stamp(NOW - timedelta(seconds=age))
    return {"type": kind, "status": str(status), "reason": reason, "message": "", "lastTransitionTime": since}


def digest(node: str, type_id: str, instance_id: str = DEVICE) -> str:
    """What the agent of ``node`` answers for an instance at its init values."""
    return reading_digest(
        boot_id=f"boot-{node}",
        instance=instance_id,
        profile=profile_name(type_id),
        values={},
        attributes={},
        unreadable=[],
    )


def decided(
    what: DeviceMigration,
    where: Cluster,
    vm: VmView | NoSource | None = None,
    pod: PodConstraints | NoSource | None = None,
) -> Decision:
    """The decision of this moment."""
    held: list[Held] = [h for n in where.reservations for h in where.held_on(n) if h.entry.owner.uid == UID]
    return decide(Situation(migration=what, cluster=where, held=tuple(held), now=NOW, vm=vm, pod=pod))


def reserved_by(decision: Decision, node: str) -> list[Entry]:
    """The entries that a decision adds to a node."""
    return [entry for reserve in decision.reserve if reserve.node == node for entry in reserve.entries]


def shown(decision: Decision, kind: str) -> tuple[str, str, str] | None:
    """Status, reason and message of a condition that a decision sets."""
    found = next((c for c in decision.status.conditions if c.type == kind), None)
    return (found.status.value, found.reason, found.message) if found else None
