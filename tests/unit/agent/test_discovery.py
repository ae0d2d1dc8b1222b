"""One look at the node: it survives everything, is bounded, and tells what it could not see."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from mdev_node_agent.backends.backend import Findings
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.seeing.discovery import MAX_INSTANCES, MAX_OFFERS, MAX_PARENTS, observe
from mdev_node_agent.seeing.observation import Instance, Offer, Parent
from mdev_node_agent.sysfs.host import HostPort
from mdev_node_agent.sysfs.port import Port
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty

UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(1, 9)]


NOTHING = Findings()


@dataclass(frozen=True, kw_only=True, slots=True)
class Fixed(MdevBackend):
    """A back-end that always sees the same, or fails."""

    findings: Findings = NOTHING
    error: OSError | None = None

    def discover(self, port: Port) -> Findings:
        if self.error is not None:
            raise self.error
        return self.findings


def parent(name: str, offers: int = 1) -> Parent:
    profile = {"backend": "mdev", "driver": {"name": "x"}, "type": {"id": "x"}}
    return Parent(
        name=name, driver="x", offers=tuple(Offer(type=f"t{n}", profile=profile, available=1) for n in range(offers))
    )


def test_an_observation_says_which_boot_it_was() -> None:
    assert observe(MemoryKernel(drivers=[], boot_id="this-boot"), [MdevBackend()]).boot_id == "this-boot"


def test_without_a_boot_id_there_is_no_observation(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        observe(HostPort(root=tmp_path, proc=tmp_path), [MdevBackend()])


def test_a_back_end_that_fails_is_told_and_the_others_count() -> None:
    good = Findings(parents=(parent("p"),))
    seen = observe(
        MemoryKernel(drivers=[]), [Fixed(name="bad", error=OSError(errno.EACCES, "no")), Fixed(findings=good)]
    )
    assert [p.name for p in seen.parents] == ["p"]
    assert [(u.name, u.errno) for u in seen.unreadable] == [("bad", "EACCES")]


def test_what_is_beyond_the_bounds_of_the_api_is_cut_and_told() -> None:
    parents = (parent("wide", MAX_OFFERS + 1), *(parent(f"p{n}") for n in range(MAX_PARENTS)))
    instances = tuple(Instance(id=f"i{n}", parent="p0", type="t0") for n in range(MAX_INSTANCES + 1))
    seen = observe(MemoryKernel(drivers=[]), [Fixed(findings=Findings(parents=parents, instances=instances))])
    assert (len(seen.parents), len(seen.instances)) == (MAX_PARENTS, MAX_INSTANCES)
    assert len(seen.parents[0].offers) == MAX_OFFERS
    assert [u.name for u in seen.unreadable] == ["parents", "instances"]
    assert [u.name for u in seen.parents[0].unreadable] == ["types of wide"]


def test_an_observation_finds_offers_and_instances_by_name() -> None:
    kernel = MemoryKernel(drivers=[Mtty()])
    MdevBackend().create(kernel, parent="mtty", type_id="mtty-1", instance=UUIDS[0])
    seen = observe(kernel, [MdevBackend()])
    offer, instance = seen.offer("mtty", "mtty-2"), seen.instance(UUIDS[0])
    assert offer is not None and offer.available == 11
    assert instance is not None and instance.type == "mtty-1"
    assert seen.offer("mtty", "mtty-3") is None


def test_devices_and_drivers_that_come_and_go_never_make_a_look_fail() -> None:
    mtty = Mtty()
    kernel = MemoryKernel(drivers=[Gfx(parents=2), mtty])
    backend = MdevBackend()
    over = threading.Event()

    def churn(uuid: str) -> None:
        while not over.is_set():
            backend.create(kernel, parent="gfx0", type_id="gfx-varGB", instance=uuid)
            backend.release(kernel, instance=uuid)

    def reload() -> None:
        while not over.is_set():
            kernel.unload(mtty)
            kernel.load(mtty)

    with ThreadPoolExecutor() as threads:
        running = [threads.submit(churn, UUIDS[0]), threads.submit(churn, UUIDS[1]), threads.submit(reload)]
        try:
            looks = [observe(kernel, [backend]) for _ in range(40)]
        finally:
            over.set()
        for thread in running:
            thread.result(timeout=10)
    assert all({"gfx0", "gfx1"} <= {p.name for p in seen.parents} for seen in looks)
    assert all(len(p.offers) == 2 for seen in looks for p in seen.parents if p.name == "mtty")
    partial = [i for seen in looks for i in seen.instances if i.values == {} and not i.unreadable]
    assert partial == []
