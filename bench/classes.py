"""``python -m bench.classes [--nodes N]``: what compatibility classes cost, in memory, at the size of the design.

5,000 nodes with 8 parents of 20 types with 8 parameters. What is printed last are ratios: they hold on any machine,
times do not. *Naive* means asking the engine for each offer of each node, which is what the index saves.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterable

from mdev_api.engine.compatibility_class import CompatibilityClass, compatibility_class, representative
from mdev_api.engine.metadata import Allowed, Metadata, Parameter, Source, SourceParameter, ValueType
from mdev_api.engine.verdict import compare
from mdev_api.kinds.node_devices import NodeDevices
from mdev_operator.classes.choice import labels_for
from mdev_operator.classes.index import ClassIndex
from mdev_operator.classes.sight import ClassReadings, Row, look
from mdev_operator.inventory.cluster import Cluster, NodeView

PARENTS, TYPES, PARAMETERS, KINDS, CLASSES = 8, 20, 8, 8, 64
"""``KINDS``: of hardware in the cluster, each with its own profiles. ``CLASSES``: in use at once."""


def metadata(kind: int, type_id: int) -> Metadata:
    """Parameter 0 tells types apart, the others hardly."""
    parameters = [
        Parameter(
            name=f"p{number}",
            type=ValueType.INT,
            init=str(type_id if number == 0 else 1),
            off=None if number == 0 else "0",
            allowed=Allowed(texts=frozenset({str(type_id)})) if number == 0 else Allowed(ranges=((0, 16),)),
        )
        for number in range(PARAMETERS)
    ]
    return Metadata(model=f"vendor.com/gpu-{kind % 4}", parameters=tuple(parameters))


def profile_name(kind: int, type_id: int) -> str:
    """A name as good as a hash."""
    return f"p-{kind:02}-{type_id:02}"


def rows_of(kind: int, chance: random.Random) -> list[Row]:
    """What one node has free: parents that nobody uses yet are alike, the others differ."""
    rows: list[Row] = []
    for _ in range(PARENTS):
        used = chance.choice([0, 0, 0, 1, 2, 3, 4, 8])
        rows.append(tuple((profile_name(kind, t), max(0, 16 - used - t % 4)) for t in range(TYPES)))
    return rows


def classes(count: int) -> list[CompatibilityClass]:
    """Classes in use, over all models and types."""
    made = []
    for number in range(count):
        parameters = tuple(
            SourceParameter(
                name=f"p{p}",
                type=ValueType.INT,
                value=str(number // 4 % TYPES if p == 0 else number // (4 * TYPES) if p == 1 else 1),
                off=None if p == 0 else "0",
            )
            for p in range(PARAMETERS)
        )
        found = compatibility_class(Source(model=f"vendor.com/gpu-{number % 4}", parameters=parameters))
        assert found is not None
        made.append(found)
    return made


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def for_each(work: Callable[..., object], *arguments: Iterable[object]) -> Callable[[], None]:
    """Something to time: the work for each of the arguments."""

    def run() -> None:
        for given in zip(*arguments, strict=True):
            work(*given)

    return run


def one_verdict(found: CompatibilityClass, offer: Metadata) -> float:
    """Seconds for one call of the engine."""
    source = representative(found)
    return timed(lambda: [compare(source, offer) for _ in range(300)]) / 300


def look_at_one_node() -> float:
    """Seconds to make rows of one published node, once it is parsed."""
    offers = [{"type": f"t{t}", "profile": "p-" + "a" * 26, "available": 4} for t in range(TYPES)]
    parents = [{"name": f"0000:{p:02}:00.0", "driver": "gfx", "offers": offers} for p in range(PARENTS)]
    devices = NodeDevices.model_validate({"metadata": {"name": "n"}, "status": {"bootID": "b", "parents": parents}})
    view = NodeView(name="n", labels={}, ready=True, schedulable=True)
    where = Cluster(nodes={"n": view}, devices={"n": devices}, profiles={}, reservations={}, silent=lambda node: None)
    return timed(lambda: [look(where, "n", ClassReadings()) for _ in range(100)]) / 100


def measure(nodes: int) -> dict[str, float]:
    """Seconds by what was done, and counts, for a cluster of this size."""
    chance = random.Random(4)
    index = ClassIndex()
    for kind in range(KINDS):
        for type_id in range(TYPES):
            index.put_profile(profile_name(kind, type_id), metadata(kind, type_id))
    cluster = {f"n{number}": rows_of(number % KINDS, chance) for number in range(nodes)}
    wanted = classes(CLASSES + 1)
    found: dict[str, float] = {}
    found["nodes in"] = timed(for_each(index.put_node, cluster.keys(), cluster.values()))
    found["classes in"] = timed(for_each(index.add_class, wanted[:CLASSES]))
    before = index.verdicts
    found["one more class"] = timed(lambda: index.add_class(wanted[CLASSES]))
    found["verdicts of one class"] = index.verdicts - before
    changed = [rows_of(0, chance) for _ in range(200)]
    found["one node changes"] = timed(for_each(index.put_node, ["n0"] * len(changed), changed)) / len(changed)
    places = {one.name: place for place, one in enumerate(wanted)}
    found["labels of one node"] = timed(lambda: [labels_for(index.accepted(n), places) for n in cluster]) / nodes
    found["one profile changes"] = timed(lambda: index.put_profile(profile_name(0, 0), None))
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.classes", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    size: int = parser.parse_args().nodes
    small, large = measure(size // 10), measure(size)
    verdict = one_verdict(classes(1)[0], metadata(0, 0))
    print(f"{'':28}{size // 10:>8} nodes {size:>8} nodes")
    for name, seconds in large.items():
        if name.startswith("verdicts"):
            print(f"{name:28}{small[name]:14.0f}{seconds:15.0f}")
        else:
            print(f"{name:28}{small[name] * 1e3:11.3f} ms{seconds * 1e3:12.3f} ms")
    offers = size * PARENTS * TYPES
    print(f"{'one verdict':28}{verdict * 1e3:11.3f} ms")
    print(f"{'look at one parsed node':28}{look_at_one_node() * 1e3:11.3f} ms")
    print()
    print(f"verdicts for a new class, naive / index:     {offers / large['verdicts of one class']:10.0f}")
    print(f"time for a new class, naive / index:         {offers * verdict / large['one more class']:10.0f}")
    naive = PARENTS * TYPES * CLASSES * verdict
    print(f"time for one node's change, naive / index:   {naive / large['one node changes']:10.0f}")
    growth = large["one node changes"] / small["one node changes"]
    print(f"time for one node's change, {size} / {size // 10} nodes: {growth:7.1f}")


if __name__ == "__main__":
    main()
