"""The cluster in memory: reflectors keep it, each object is parsed and read once when it changes.

Our own writes are taken in at once (:meth:`Inventory.wrote`), so that the next decision does not see the world from
before them. Of what was written and what is watched the higher generation is the newer; at the same generation only the
watch is believed, because generations do not count the agents' writes of status.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from mdev_api.kinds.common import ApiObject
from mdev_api.kinds.compatibility_class import LABEL_PREFIX, CompatibilityClass
from mdev_api.kinds.device_model import DeviceModel
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kinds.node_reservations import NodeReservations
from mdev_api.kube.client import Client
from mdev_api.kube.reflector import Reflector
from mdev_api.kube.resources import (
    COMPATIBILITY_CLASSES,
    DEVICE_MODELS,
    DEVICE_PROFILES,
    LEASES,
    NODE_DEVICES,
    NODE_RESERVATIONS,
    NODES,
    Resource,
    split_key,
)
from mdev_api.meaning import metadata_of
from mdev_operator.inventory import freshness
from mdev_operator.inventory.cluster import Cluster, Held, NodeView, ProfileView
from mdev_operator.inventory.freshness import LeaseSeen
from mdev_operator.kubevirt.manager import PLUGINS, KubeVirtConfig, config_of
from mdev_operator.kubevirt.objects import KUBEVIRTS
from mdev_operator.kubevirt.optional import LOOK_INTERVAL, OptionalReflector
from mdev_operator.kubevirt.pod_fit import taints_of

log = structlog.get_logger(__name__)

Object = dict[str, Any]
Changed = Callable[[Resource, str], None]
Kind = TypeVar("Kind", bound=ApiObject)


class Inventory:
    """``changed(resource, name)`` is called after each change that a decision may depend on.

    ``class_labels_changed(node)`` is called instead where a Node differs in its labels of compatibility classes only.
    The operator writes those by the thousand, and no migration need be decided again for each: one that selects nodes
    by such a label looks again by itself. ``look_interval``: seconds between two looks whether the cluster has KubeVirt
    by now.
    """

    def __init__(
        self,
        client: Client,
        agent_namespace: str,
        changed: Changed,
        class_labels_changed: Callable[[str], None],
        *,
        look_interval: float = LOOK_INTERVAL,
    ) -> None:
        self._changed = changed
        self._class_labels_changed = class_labels_changed
        self.models: dict[str, DeviceModel] = {}
        self.profiles: dict[str, ProfileView] = {}
        self.classes: dict[str, CompatibilityClass] = {}
        self._nodes: dict[str, NodeView] = {}
        self._devices: dict[str, NodeDevices] = {}
        self._reservations: dict[str, NodeReservations] = {}
        self._leases: dict[str, LeaseSeen] = {}
        self._nodes_of_owner: dict[str, set[str]] = defaultdict(set)
        self.kubevirts: dict[str, Object] = {}
        """The KubeVirt CRs (there is one); empty where the cluster has no KubeVirt."""
        self._plugins: dict[str, Object] = {}
        self._kubevirt: KubeVirtConfig | None = None
        self.reflectors: tuple[Reflector | OptionalReflector, ...] = (
            *(
                OptionalReflector(client, reflector, interval=look_interval)
                for reflector in (
                    Reflector(client, KUBEVIRTS, self._kubevirt_cr, transform=_slim_kubevirt),
                    Reflector(client, PLUGINS, self._plugin),
                )
            ),
            Reflector(client, NODES, self._node, transform=_slim_node),
            Reflector(client, NODE_DEVICES, self._node_devices),
            Reflector(client, DEVICE_MODELS, self._model),
            Reflector(client, DEVICE_PROFILES, self._profile),
            Reflector(client, NODE_RESERVATIONS, self._node_reservations),
            Reflector(client, COMPATIBILITY_CLASSES, self._class),
            Reflector(client, LEASES, self._lease, namespace=agent_namespace),
        )

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self.reflectors:
                group.create_task(reflector.run(), name=f"reflect {reflector.resource}")

    async def synced(self) -> None:
        """Wait until everything was listed once."""
        await asyncio.gather(*(reflector.synced.wait() for reflector in self.reflectors))

    def cluster(self) -> Cluster:
        """A view for one decision; it must not outlive the next await."""
        now, wall = time.monotonic(), datetime.now(UTC)

        def silent(node: str) -> str | None:
            return freshness.silence(node, self._leases.get(node), now=now, wall=wall)

        return Cluster(
            nodes=self._nodes,
            devices=self._devices,
            profiles=self.profiles,
            reservations=self._reservations,
            silent=silent,
            kubevirt=self._kubevirt,
            models=self.models,
        )

    def reservations(self, node: str) -> NodeReservations | None:
        """The newest that is known of a node's reservations."""
        return self._reservations.get(node)

    def all_reservations(self) -> Mapping[str, NodeReservations]:
        """Reservations of all nodes."""
        return self._reservations

    def held_by(self, uid: str) -> tuple[Held, ...]:
        """All entries of one owner."""
        cluster = self.cluster()
        nodes = sorted(self._nodes_of_owner.get(uid, ()))
        return tuple(h for node in nodes for h in cluster.held_on(node) if h.entry.owner.uid == uid)

    def wrote(self, obj: Object | None, node: str) -> None:
        """Take in what the API server answered to our own write of NodeReservations, or None: it is gone."""
        before = self._reservations.get(node)
        if obj is not None and before is not None:
            uid, generation = obj["metadata"]["uid"], int(obj["metadata"]["generation"])
            if uid == before.metadata.uid and generation <= before.metadata.generation:
                # The watch was faster, and may know an answer of the agent by now that this one lacks.
                return
        self._node_reservations(node, obj, None)

    def _node(self, name: str, new: Object | None, old: Object | None) -> None:
        view, before = _node_view(new) if new is not None else None, self._nodes.get(name)
        if before == view:
            return
        _put(self._nodes, name, view)
        if view is not None and before is not None and _without_classes(view) == _without_classes(before):
            self._class_labels_changed(name)
        else:
            self._changed(NODES, name)

    def _node_devices(self, name: str, new: Object | None, old: Object | None) -> None:
        _put(self._devices, name, _parsed(NodeDevices, new))
        self._changed(NODE_DEVICES, name)

    def _model(self, name: str, new: Object | None, old: Object | None) -> None:
        model = _parsed(DeviceModel, new)
        before = self.models.get(name)
        _put(self.models, name, model)
        if before is None or model is None or before.metadata.generation != model.metadata.generation:
            self._changed(DEVICE_MODELS, name)

    def _profile(self, name: str, new: Object | None, old: Object | None) -> None:
        profile = _parsed(DeviceProfile, new)
        view = None
        if profile is not None:
            conditions = profile.status.conditions if profile.status else ()
            suspect = any(c.type == "Suspect" and c.status == "True" for c in conditions)
            metadata = metadata_of(profile) if profile.status is not None else None
            view = ProfileView(profile=profile, metadata=metadata, suspect=suspect)
        _put(self.profiles, name, view)
        self._changed(DEVICE_PROFILES, name)

    def _class(self, name: str, new: Object | None, old: Object | None) -> None:
        _put(self.classes, name, _parsed(CompatibilityClass, new))
        self._changed(COMPATIBILITY_CLASSES, name)

    def _node_reservations(self, name: str, new: Object | None, old: Object | None) -> None:
        reservations = _parsed(NodeReservations, new)
        before = self._reservations.get(name)
        if before is not None and reservations is not None and _older(reservations, before):
            return
        owners = {e.owner.uid for r in (before, reservations) if r is not None for e in r.spec.reservations}
        _put(self._reservations, name, reservations)
        now = {e.owner.uid for e in reservations.spec.reservations} if reservations is not None else set()
        for uid in owners:
            if uid in now:
                self._nodes_of_owner[uid].add(name)
            else:
                self._nodes_of_owner[uid].discard(name)
                if not self._nodes_of_owner[uid]:
                    del self._nodes_of_owner[uid]
        self._changed(NODE_RESERVATIONS, name)
        same = before is not None and reservations is not None and before.spec == reservations.spec
        if same and _answered(before) <= _answered(reservations):
            return
        # Who waits for room on this node may get it, or lose it, by what was reserved or let go; and who waits to pin a
        # source again waits for the agent to forget its last answer.
        self._changed(NODE_DEVICES, name)

    def _kubevirt_cr(self, key: str, new: Object | None, old: Object | None) -> None:
        _put(self.kubevirts, key, new)
        self._configure(KUBEVIRTS, key)

    def _plugin(self, name: str, new: Object | None, old: Object | None) -> None:
        _put(self._plugins, name, new)
        self._configure(PLUGINS, name)

    def _configure(self, resource: Resource, key: str) -> None:
        """Read KubeVirt's configuration again; its status changes often, and means nothing here."""
        first = next((self.kubevirts[key] for key in sorted(self.kubevirts)), None)
        config = config_of(first, self._plugins.values()) if first is not None else None
        if config == self._kubevirt:
            return
        self._kubevirt = config
        if config is not None:
            log.info("KubeVirt's configuration", **config.shown())
        self._changed(resource, key)

    def _lease(self, key: str, new: Object | None, old: Object | None) -> None:
        _, node = split_key(key)
        was_silent = self.cluster().silent(node) is not None
        before = self._leases.get(node)
        _put(self._leases, node, freshness.seen(new, before, time.monotonic()) if new is not None else None)
        if was_silent != (self.cluster().silent(node) is not None):
            self._changed(LEASES, node)


def _older(a: NodeReservations, b: NodeReservations) -> bool:
    return a.metadata.uid == b.metadata.uid and a.metadata.generation < b.metadata.generation


def _answered(reservations: NodeReservations | None) -> set[str]:
    answers = reservations.status.reservations if reservations is not None and reservations.status else ()
    return {answer.id for answer in answers}


def _put(table: dict[str, Any], name: str, value: Any | None) -> None:
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value


def _parsed(kind: type[Kind], obj: Object | None) -> Kind | None:
    """The typed object; one that the API server let in but this program cannot read counts as absent, and is told."""
    if obj is None:
        return None
    try:
        return kind.model_validate(obj)
    except ValidationError as error:
        log.error(
            "an object cannot be read and is left out",
            kind=kind.__name__,
            name=obj["metadata"]["name"],
            reason=str(error),
        )
        return None


def _node_view(node: Object) -> NodeView:
    conditions = (node.get("status") or {}).get("conditions") or []
    return NodeView(
        name=node["metadata"]["name"],
        labels=node["metadata"].get("labels") or {},
        ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions),
        schedulable=not (node.get("spec") or {}).get("unschedulable", False),
        taints=taints_of(node),
    )


def _without_classes(view: NodeView) -> NodeView:
    others = {key: value for key, value in view.labels.items() if not key.startswith(LABEL_PREFIX)}
    return replace(view, labels=others)


def _slim_node(node: Object) -> Object:
    """Nodes are large (images, managedFields) and change each few minutes; keep what matters."""
    meta, spec = node["metadata"], node.get("spec") or {}
    conditions = [c for c in (node.get("status") or {}).get("conditions") or [] if c.get("type") == "Ready"]
    return {
        "metadata": {key: meta[key] for key in ("name", "uid", "resourceVersion", "labels") if key in meta},
        "spec": {key: spec[key] for key in ("unschedulable", "taints") if key in spec},
        "status": {"conditions": [{"type": c["type"], "status": c["status"]} for c in conditions]},
    }


def _slim_kubevirt(kubevirt: Object) -> Object:
    """Only the configuration: the status of the CR is long and changes often."""
    meta = kubevirt["metadata"]
    return {
        "metadata": {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")},
        "spec": {"configuration": (kubevirt.get("spec") or {}).get("configuration") or {}},
    }
