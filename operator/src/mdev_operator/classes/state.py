"""What the operator knows of classes: the index, who uses which class, and what it last wrote where.

Reflectors only note what changed (:meth:`ClassState.changed`); :meth:`ClassState.take_in` brings the index up to date,
all nodes and profiles at once, before anything is written. So the first write after a start is made with everything in
sight. What outlives the process are the CompatibilityClass objects: they say which classes were in use lately.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mdev_api.engine.compatibility_class import ClassParameter, CompatibilityClass, compatibility_class, defined
from mdev_api.engine.metadata import Source
from mdev_api.kinds.common import ConditionStatus
from mdev_api.kinds.compatibility_class import CompatibilityClass as ClassObject
from mdev_api.kube.resources import COMPATIBILITY_CLASSES, DEVICE_PROFILES, LEASES, NODE_DEVICES, NODES, Resource
from mdev_operator.classes import choice
from mdev_operator.classes.choice import Told, Usage
from mdev_operator.classes.index import ClassIndex
from mdev_operator.classes.sight import ClassReadings, Sight, look
from mdev_operator.inventory.cluster import Cluster
from mdev_operator.migration.status import condition_of, since
from mdev_operator.workqueue import WorkQueue

ALL = "classes"
"""Queue key: look at all classes and all nodes."""


def key_of_node(node: str) -> str:
    """Queue key of a node's labels."""
    return f"labels/{node}"


def key_of_class(name: str) -> str:
    """Queue key of a class's object."""
    return f"class/{name}"


@dataclass(kw_only=True, slots=True)
class ClassState:
    """``queue`` has keys of this module only, and its own workers: labels of thousands of nodes hold nothing else up.

    ``places``: the order of the classes that count. ``told``: node labels as last written or found right. ``relabel``:
    something changed that may change the labels of any node.
    """

    queue: WorkQueue = field(default_factory=lambda: WorkQueue(concurrency=4))
    index: ClassIndex = field(default_factory=ClassIndex)
    usages: dict[str, Usage] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    written_at: dict[str, float] = field(default_factory=dict)
    relabel: bool = True
    _readings: ClassReadings = field(default_factory=ClassReadings)
    _named: dict[str, CompatibilityClass] = field(default_factory=dict)
    _running: dict[str, Mapping[str, CompatibilityClass]] = field(default_factory=dict)
    _runs_on: Counter[str] = field(default_factory=Counter)
    _definitions: dict[str, CompatibilityClass] = field(default_factory=dict)
    _profiles_of: dict[str, frozenset[str]] = field(default_factory=dict)
    _nodes_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _silent: set[str] = field(default_factory=set)
    _changed_nodes: set[str] = field(default_factory=set)
    _changed_profiles: set[str] = field(default_factory=set)
    _order_changed: bool = True

    def changed(self, resource: Resource, name: str) -> None:
        """Note a change that the inventory has seen; of everything about a node but its labels the name is the node."""
        if resource == DEVICE_PROFILES:
            self._changed_profiles.add(name)
            self.queue.add(ALL)
        elif resource == COMPATIBILITY_CLASSES:
            self._order_changed = True
            self.queue.add(ALL)
        elif resource in (NODES, NODE_DEVICES, LEASES):
            self._changed_nodes.add(name)
            # A node's own news comes before what follows from others' (a new class, which all nodes are to carry).
            self.queue.add(key_of_node(name), first=resource != NODES)

    def labels_changed(self, node: str) -> None:
        """Note that a node's labels of classes changed: by our own write, or by somebody else's."""
        self.queue.add(key_of_node(node))

    def name(self, migration: str, source: Source | None) -> None:
        """What an unfinished migration wants to move; None: it ended. ``migration`` is any key of its own."""
        found = compatibility_class(source) if source is not None else None
        if self._named.get(migration) == found:
            return
        if found is None:
            del self._named[migration]
        else:
            self._named[migration] = found
        self._order_changed = True
        self.queue.add(ALL, first=True)

    def take_in(self, cluster: Cluster, objects: Mapping[str, ClassObject], now: datetime) -> None:
        """Bring everything up to date. Has :data:`ALL` handled if another class counts now."""
        profiles, self._changed_profiles = self._changed_profiles, set()
        self.relabel = self.relabel or bool(profiles)
        for profile in profiles:
            view = cluster.profiles.get(profile)
            self.index.put_profile(profile, view.metadata if view is not None else None)
            self._changed_nodes |= self._nodes_of.get(profile, set())
        nodes, self._changed_nodes = self._changed_nodes, set()
        for node in nodes:
            self._take_in_node(cluster, node)
        if not self._order_changed:
            return
        self._order_changed = False
        before = self.places
        self._order(objects, now)
        if self.places != before:
            self.relabel = True
            self.queue.add(ALL, first=True)

    def note_time(self, cluster: Cluster) -> None:
        """Note what time alone changes: agents fall silent, and classes were not in use for long enough."""
        self._order_changed = True
        silent = {node for node in cluster.devices if cluster.silent(node) is not None}
        for node in silent ^ self._silent:
            self._changed_nodes.add(node)
            self.queue.add(key_of_node(node))
        self._silent = silent

    def labels(self, node: str) -> frozenset[str]:
        """The labels that the node is to carry."""
        return choice.labels_for(self.index.accepted(node), self.places)

    def _take_in_node(self, cluster: Cluster, node: str) -> None:
        sight: Sight = look(cluster, node, self._readings)
        self.index.put_node(node, sight.rows)
        before = self._running.pop(node, {})
        if before.keys() != sight.running.keys():
            self._order_changed = True
        for name in before:
            self._runs_on[name] -= 1
            if self._runs_on[name] == 0:
                del self._runs_on[name]
        if sight.running:
            self._running[node] = sight.running
            self._runs_on.update(sight.running.keys())
            self._definitions.update(sight.running)
        for profile in self._profiles_of.pop(node, frozenset()):
            self._nodes_of[profile].discard(node)
        if sight.profiles:
            self._profiles_of[node] = sight.profiles
            for profile in sight.profiles:
                self._nodes_of[profile].add(node)

    def _order(self, objects: Mapping[str, ClassObject], now: datetime) -> None:
        """Which classes count, in which order; the index knows these and no other."""
        named = {found.name: found for found in self._named.values()}
        usages = {name: Usage(named=name in named, running=name in self._runs_on) for name in {*named, *self._runs_on}}
        # A name is the hash of its definition, so one that was ever right stays right.
        known = self._definitions | named
        for name, obj in objects.items():
            recorded = known.get(name) or definition_of(obj)
            if recorded is not None:
                known[name] = recorded
                usages[name] = _with_time(usages.get(name, Usage()), obj)
        for name in choice.to_forget(usages, now):
            del usages[name]
        kept = choice.in_order(usages)[: choice.MOST_CLASSES]
        self.usages = usages
        self.places = {name: place for place, name in enumerate(kept)}
        self._definitions = {name: known[name] for name in usages}
        for name in self.index.classes.keys() - self.places.keys():
            self.index.remove_class(name)
        for name in kept:
            self.index.add_class(known[name])


def definition_of(obj: ClassObject) -> CompatibilityClass | None:
    """The class that an object describes; None: it describes none, or another than its name says."""
    status = obj.status
    if status is None or status.model is None:
        return None
    parameters = [ClassParameter(name=p.name, type=p.type, value=p.value, listed=p.listed) for p in status.parameters]
    found = defined(status.model, parameters)
    return found if found.name == obj.metadata.name else None


def _with_time(usage: Usage, obj: ClassObject) -> Usage:
    """The usage with the time that the object has recorded, if it recorded the same."""
    condition = condition_of(obj.status.conditions if obj.status else (), "InUse")
    if condition is None or (condition.status is ConditionStatus.TRUE) != usage.in_use:
        return usage
    return Usage(named=usage.named, running=usage.running, since=since(condition))
