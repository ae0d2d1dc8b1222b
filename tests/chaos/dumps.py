"""What there is at the end of a run, by no word of the programs that were tried: kernels, API objects, files."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.listing import list_all
from mdev_api.kube.requests import get
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from tests.memkernel.kernel import MemoryKernel

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeDump:
    """One node. ``devices``: every mdev that stands below a parent; ``on_bus``: those that can be found.

    ``held``: devices that somebody has open; ``foreign``: devices that the harness made and has not removed.
    ``journal`` and ``ledger``: the text of the files. ``boot``: how often the machine has rebooted.
    """

    name: str
    boot_id: str
    boot: int
    devices: frozenset[str]
    on_bus: frozenset[str]
    held: frozenset[str]
    foreign: frozenset[str]
    journal: str
    ledger: str
    reservations: Object
    published: Object


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Everything. ``migrations`` by uid."""

    nodes: Mapping[str, NodeDump]
    migrations: Mapping[str, Object]


class Dumped(Protocol):
    """A node of any kind."""

    async def dump(self, client: Client) -> NodeDump:
        """Look at it."""


async def dump_world(client: Client, nodes: Iterable[Dumped], names: Iterable[str]) -> World:
    """Look at everything. ``names``: of the migrations of this run."""
    dumps = await asyncio.gather(*(node.dump(client) for node in nodes))
    wanted = set(names)
    listed = (await list_all(client, DEVICE_MIGRATIONS, namespace="default")).objects
    migrations = {obj["metadata"]["uid"]: obj for obj in listed if obj["metadata"]["name"] in wanted}
    return World(nodes={each.name: each for each in dumps}, migrations=migrations)


def below_parents(kernel: MemoryKernel) -> list[str]:
    """The mdevs that stand below the parents of a kernel, also those whose removal has begun."""
    found = []
    with kernel.open("class/mdev_bus") as parents:
        for parent in parents.list():
            with parents.open(parent) as directory:
                found += [name for name in directory.list() if is_uuid(name)]
    return found


def is_uuid(name: str) -> bool:
    """Is it the name of an mdev?"""
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def text_of(path: Path) -> str:
    """The text of a file; empty if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


async def object_of(client: Client, resource: Any, name: str) -> Object:
    """An object of the API server; empty if there is none."""
    try:
        return await client.send(get(resource, name))
    except ApiError as error:
        if not error.not_found:
            raise
        return {}
