"""Which profiles are deleted: those that nothing has named for a day."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import Request
from mdev_operator.context import Context
from mdev_operator.inventory.absences import Absences
from mdev_operator.inventory.cluster import Cluster
from mdev_operator.profiles.profile_collection import KEY, collect_profiles, due, referenced
from tests.unit.operator.test_decide import BIG, SOURCE, entries_of
from tests.unit.operator.world import cluster, instance, node_devices, on_node, profile_name, reservations

DAY = 86400.0
USED = {profile_name("gfx-8GB"), profile_name("gfx-varGB")}
UNUSED = tuple(sorted((profile_name("gfx-4GB"), profile_name("nic"))))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def counted() -> tuple[Clock, Absences]:
    clock = Clock()
    return clock, Absences(after=DAY, most=3600, clock=clock)


def test_offers_instances_and_reservations_refer_to_profiles() -> None:
    (pin,) = entries_of(cluster(SOURCE, BIG), source=on_node())["a"]
    (there,) = entries_of(cluster(BIG))["b"]
    only_offered, only_there = node_devices("a", {"nic": 0}), node_devices("b", {}, [instance("gfx-4GB")])
    assert referenced(cluster(only_offered)) == {profile_name("nic")}
    assert referenced(cluster(only_there)) == {profile_name("gfx-4GB")}
    assert referenced(cluster(reserved=[reservations("b", [there])])) == {profile_name("gfx-8GB")}
    assert referenced(cluster(reserved=[reservations("a", [pin])])) == {profile_name("gfx-8GB")}


def test_a_profile_goes_after_a_day_without_any_reference_and_not_before() -> None:
    clock, counting = counted()
    assert due(cluster(BIG), counting) == ()
    clock.now = DAY - 1
    assert due(cluster(BIG), counting) == ()
    clock.now = DAY
    assert due(cluster(BIG), counting) == UNUSED


def test_one_reference_in_between_begins_the_day_anew() -> None:
    clock, counting = counted()
    due(cluster(BIG), counting)
    clock.now = DAY / 2
    due(cluster(BIG, node_devices("n", {"nic": 1})), counting)
    clock.now = DAY
    assert due(cluster(BIG), counting) == (profile_name("gfx-4GB"),)


def test_what_is_deleted_is_the_version_that_was_seen_and_a_refusal_waits_for_the_next_look() -> None:
    assert run(cluster(BIG), conflict=False) == [f"deviceprofiles/{name}" for name in UNUSED]
    assert run(cluster(BIG), conflict=True) == []


def run(where: Cluster, *, conflict: bool) -> list[str]:
    """Look twice, a day apart; the deletes that the API server took."""
    clock, counting = counted()
    taken: list[str] = []
    later: dict[str, float] = {}
    named = {
        name: replace(view, profile=view.profile.model_copy(update={"metadata": _met(view.profile.metadata)}))
        for name, view in where.profiles.items()
    }

    async def send(request: Request) -> dict[str, Any]:
        assert request.method == "DELETE" and request.body is not None
        assert b'"uid":"u"' in request.body and b'"resourceVersion":"7"' in request.body
        if conflict:
            raise ApiError(409, "Conflict", "it changed")
        taken.append(request.path.rpartition("/v1alpha1/")[2])
        return {}

    inventory = SimpleNamespace(cluster=lambda: replace(where, profiles=named))
    queue = SimpleNamespace(add_after=later.__setitem__)
    ctx = cast(Context, SimpleNamespace(send=send, inventory=inventory, queue=queue, unreferenced=counting))
    for now in (0.0, DAY):
        clock.now = now
        _finish(collect_profiles(ctx))
        assert later == {KEY: 3600.0}
    return taken


def _met(metadata: Any) -> Any:
    return metadata.model_copy(update={"uid": "u", "resource_version": "7"})


def _finish(work: Any) -> None:
    """Run a coroutine that never really waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")
