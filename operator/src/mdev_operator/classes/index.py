"""Which nodes accept which class, and with how much room: kept up to date by differences.

The engine is asked once per class and profile. A node's change costs what its own rows hold; a new class costs one
verdict per profile, one look at each *distinct* row of the cluster, and a sum per node. Nothing here does I/O.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mdev_api.engine.compatibility_class import CompatibilityClass, representative
from mdev_api.engine.metadata import Metadata, Source, Verdict
from mdev_api.engine.verdict import compare
from mdev_operator.classes.sight import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """How much of the cluster accepts a class. ``available``: free instances; types that share a pool count once."""

    nodes: int
    available: int


@dataclass(kw_only=True, slots=True, eq=False)
class _Pool:
    """One distinct row: how many pools of the cluster are like that, and the room in one for each class it accepts."""

    row: Row
    users: int = 0
    room: dict[str, int] = field(default_factory=dict)


class ClassIndex:
    """Classes, profiles and nodes by name. What is put in replaces what was there under that name."""

    def __init__(self) -> None:
        self._classes: dict[str, CompatibilityClass] = {}
        self._metadata: dict[str, Metadata] = {}
        self._classes_of_profile: dict[str, set[str]] = defaultdict(set)
        self._pools: dict[Row, _Pool] = {}
        self._pools_of_node: dict[str, tuple[_Pool, ...]] = {}
        self._room: dict[str, dict[str, int]] = {}
        self._nodes: Counter[str] = Counter()
        self._available: Counter[str] = Counter()
        self.verdicts = 0

    @property
    def classes(self) -> Mapping[str, CompatibilityClass]:
        """Every class that was added."""
        return self._classes

    def accepted(self, node: str) -> Mapping[str, int]:
        """The classes that the node accepts, with its room for each (which may be 0)."""
        return self._room.get(node, {})

    def totals(self, name: str) -> Totals:
        """How much of the cluster accepts the class."""
        return Totals(nodes=self._nodes[name], available=self._available[name])

    def profiles_of(self, name: str) -> list[str]:
        """The profiles that accept the class, sorted."""
        return sorted(profile for profile, accepting in self._classes_of_profile.items() if name in accepting)

    def add_class(self, added: CompatibilityClass) -> None:
        """Judge a class that was not there yet; one that is there stays as it is."""
        name = added.name
        if name in self._classes:
            return
        self._classes[name] = added
        source = representative(added)
        accepting = {profile for profile, metadata in self._metadata.items() if self._fits(source, metadata)}
        for profile in accepting:
            self._classes_of_profile[profile].add(name)
        if not accepting:
            return
        for pool in self._pools.values():
            rooms = [free for profile, free in pool.row if profile in accepting]
            if rooms:
                pool.room[name] = max(rooms)
        for node, pools in self._pools_of_node.items():
            of_node = [pool.room[name] for pool in pools if name in pool.room]
            if of_node:
                self._room[node][name] = sum(of_node)
                self._nodes[name] += 1
                self._available[name] += sum(of_node)

    def remove_class(self, name: str) -> None:
        """Forget a class."""
        if self._classes.pop(name, None) is None:
            return
        for accepting in self._classes_of_profile.values():
            accepting.discard(name)
        for pool in self._pools.values():
            pool.room.pop(name, None)
        for room in self._room.values():
            room.pop(name, None)
        del self._nodes[name]
        del self._available[name]

    def put_profile(self, profile: str, metadata: Metadata | None) -> None:
        """Take in what a profile means; None: it is gone, or was not read yet, and accepts nothing."""
        if self._metadata.get(profile) == metadata:
            return
        before = set(self._classes_of_profile.pop(profile, ()))
        if metadata is None:
            del self._metadata[profile]
            accepting: set[str] = set()
        else:
            self._metadata[profile] = metadata
            accepting = {n for n, c in self._classes.items() if self._fits(representative(c), metadata)}
            self._classes_of_profile[profile] = accepting
        if accepting == before:
            return
        touched = {id(pool) for pool in self._pools.values() if any(p == profile for p, _ in pool.row)}
        for pool in self._pools.values():
            if id(pool) in touched:
                pool.room = self._room_in(pool.row)
        for node, pools in self._pools_of_node.items():
            if any(id(pool) in touched for pool in pools):
                self._count(node, pools)

    def put_node(self, node: str, rows: Iterable[Row]) -> None:
        """Take in where a device could be had on a node; nothing: it accepts no class."""
        pools = tuple(self._pool(row) for row in rows)
        for pool in pools:
            pool.users += 1
        for pool in self._pools_of_node.pop(node, ()):
            pool.users -= 1
            if pool.users == 0:
                del self._pools[pool.row]
        if pools:
            self._pools_of_node[node] = pools
        self._count(node, pools)

    def _pool(self, row: Row) -> _Pool:
        pool = self._pools.get(row)
        if pool is None:
            pool = self._pools[row] = _Pool(row=row, room=self._room_in(row))
        return pool

    def _room_in(self, row: Row) -> dict[str, int]:
        room: dict[str, int] = {}
        for profile, free in row:
            for name in self._classes_of_profile.get(profile, ()):
                room[name] = max(free, room.get(name, 0))
        return room

    def _count(self, node: str, pools: tuple[_Pool, ...]) -> None:
        """Work out the node's room anew, and have the totals follow."""
        before = self._room.pop(node, {})
        now: dict[str, int] = {}
        for pool in pools:
            for name, free in pool.room.items():
                now[name] = now.get(name, 0) + free
        if pools:
            self._room[node] = now
        for name in before.keys() - now.keys():
            self._nodes[name] -= 1
        for name in now.keys() - before.keys():
            self._nodes[name] += 1
        for name in before.keys() | now.keys():
            self._available[name] += now.get(name, 0) - before.get(name, 0)

    def _fits(self, source: Source, metadata: Metadata) -> bool:
        self.verdicts += 1
        return compare(source, metadata).verdict is Verdict.COMPATIBLE
