"""``python -m bench.labels [--nodes N]``: how fast node labels follow, on a real API server with the real operator.

Agents are played by writing NodeDevices. Times are from the API server's answer to a write of NodeDevices (or of a
DeviceMigration) to the watch event with the labels; the rate is set beside that of bare PATCHes of the same Nodes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mdev_api.engine.compatibility_class import class_of
from mdev_api.engine.metadata import Source, SourceParameter, ValueType
from mdev_api.hashing import profile_name
from mdev_api.kinds.compatibility_class import label_of
from mdev_api.kube import times
from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.reflector import Reflector
from mdev_api.kube.requests import apply_status, create, merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS, DEVICE_PROFILES, LEASES, NAMESPACES, NODE_DEVICES, NODES
from tests.conftest import establish_crds
from tests.controlplane.control_plane import ControlPlane
from tests.simulated.operator_process import OperatorProcess
from tests.waiting import eventually

CHANGES = 60


def profile(memory: int) -> dict[str, Any]:
    """A profile of a GPU with so much memory."""
    parameter = {"name": "memory", "type": "int", "initValue": str(memory), "allowedValues": [str(memory)]}
    published = {"model": "com.gfx/GPU", "parameters": [parameter]}
    return {"backend": "mdev", "driver": {"name": "gfx"}, "type": {"id": f"gfx-{memory}"}, "published": published}


def label(memory: int) -> str:
    """The node label of its class."""
    parameter = SourceParameter(name="memory", type=ValueType.INT, value=str(memory))
    name = class_of(Source(model="com.gfx/GPU", parameters=(parameter,)))
    assert name is not None
    return label_of(name)


def devices(*memories: int) -> dict[str, Any]:
    """Status of NodeDevices of a node with one type for each."""
    offers = [{"type": f"gfx-{m}", "profile": profile_name(profile(m)), "available": 2} for m in memories]
    return {"bootID": "b", "parents": [{"name": "gfx0", "driver": "gfx", "offers": offers}]}


async def in_flight(count: int, work: Callable[[str], Awaitable[object]], names: list[str]) -> float:
    """Do the work for each name, so many at once; seconds that it took."""
    gate = asyncio.Semaphore(count)

    async def one(name: str) -> None:
        async with gate:
            await work(name)

    begin = time.perf_counter()
    await asyncio.gather(*map(one, names))
    return time.perf_counter() - begin


class Seen:
    """Labels of the Nodes as the watch shows them."""

    def __init__(self, client: Client) -> None:
        self.labels: dict[str, set[str]] = {}
        self.reflector = Reflector(client, NODES, self._take)

    def _take(self, name: str, new: dict[str, Any] | None, old: dict[str, Any] | None) -> None:
        self.labels[name] = set((new or {}).get("metadata", {}).get("labels", {}))

    async def until(self, holds: Callable[[dict[str, set[str]]], bool]) -> float:
        """Wait; the time when it held."""

        async def look() -> bool:
            return holds(self.labels)

        await eventually(look, timeout=120, what="labels", interval=0.002)
        return time.perf_counter()


async def set_up(client: Client, names: list[str]) -> None:
    """Nodes with 4 GB GPUs, whose agents live."""
    await client.send(create(NAMESPACES, {"metadata": {"name": "mdev-node-agent"}}))
    for memory in (2048, 4096, 8192):
        spec = profile(memory)
        await client.send(create(DEVICE_PROFILES, {"metadata": {"name": profile_name(spec)}, "spec": spec}))

    async def one(name: str) -> None:
        lease = {"metadata": {"name": name}, "spec": {"renewTime": times.micro_time(datetime.now(UTC))}}
        await client.send(create(NODES, {"metadata": {"name": name}}))
        await client.send(create(LEASES, lease, "mdev-node-agent"))
        await client.send(create(NODE_DEVICES, {"metadata": {"name": name}}))
        await client.send(apply_status(NODE_DEVICES, name, devices(4096, 2048), "bench"))

    await in_flight(8, one, names)


async def plan(client: Client, memory: int) -> float:
    """Have a class in use; when it was asked for."""
    values = [{"name": "memory", "type": "int", "value": str(memory)}]
    source = {"explicit": [{"name": "gpu", "model": "com.gfx/GPU", "values": values}]}
    body = {"metadata": {"name": f"m{memory}"}, "spec": {"mode": "Plan", "source": source}}
    await client.send(create(DEVICE_MIGRATIONS, body, "default"))
    return time.perf_counter()


async def follow(client: Client, seen: Seen, names: list[str]) -> list[float]:
    """Have one node after the other change; seconds until each had its labels."""
    took = []
    for name in names[:CHANGES]:
        large = label(8192) not in seen.labels[name]
        await client.send(apply_status(NODE_DEVICES, name, devices(8192 if large else 4096, 2048), "bench"))
        begin, wanted = time.perf_counter(), label(8192 if large else 4096)
        took.append(await seen.until(lambda labels, n=name, w=wanted: w in labels[n]) - begin)  # type: ignore[misc]
    return took


async def measure(plane: ControlPlane, directory: Path, count: int) -> None:
    """All of it, printed."""
    names = [f"n{number}" for number in range(count)]
    async with Client(load(plane.kubeconfig)) as client:
        await set_up(client, names)

        async def bare(name: str) -> None:
            await client.send(merge_patch(NODES, name, {"metadata": {"labels": {"bench": "true"}}}))

        rate = count / await in_flight(4, bare, names)
        print(f"bare PATCHes of a Node, 4 at once:             {rate:8.0f}/s")
        plane.kubectl("create", "namespace", "bench")
        seen = Seen(client)
        watching = asyncio.create_task(seen.reflector.run())
        with OperatorProcess(plane.kubeconfig, directory / "operator.log", namespace="bench") as operator:
            await asyncio.to_thread(operator.wait_leading)
            begin, four = await plan(client, 4096), label(4096)
            first = await seen.until(lambda labels: any(four in has for has in labels.values())) - begin
            last = await seen.until(lambda labels: all(four in has for has in labels.values())) - begin
            print(f"a new class that {count} nodes accept: first label {first:.2f} s, all {last:.2f} s")
            print(f"   that is, set beside bare PATCHes:           {count / last / rate:8.2f}")
            await plan(client, 8192)
            report("one node changes", await follow(client, seen, names))
            begin, two = await plan(client, 2048), label(2048)
            report(f"one node changes while {count} are labelled", await follow(client, seen, names))
            done = await seen.until(lambda labels: all(two in has for has in labels.values())) - begin
            print(f"   all were labelled after                     {done:8.2f} s")
        watching.cancel()


def report(what: str, took: list[float]) -> None:
    """Median and the slowest of twenty."""
    ordered = sorted(took)
    p50, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    print(f"{what}: labels after p50 {p50 * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms, worst {ordered[-1] * 1e3:.0f} ms")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.labels", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    count: int = parser.parse_args().nodes
    with tempfile.TemporaryDirectory() as directory, ControlPlane.start(Path(directory) / "plane") as plane:
        establish_crds(plane)
        asyncio.run(measure(plane, Path(directory), count))


if __name__ == "__main__":
    main()
