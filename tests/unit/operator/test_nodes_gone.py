"""A Node that is gone: half an hour of live looks, then the migrations that need it end, then its objects go."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mdev_api.kinds.common import dump
from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.node_reservations import Entry, Intent
from mdev_api.kube.client import ApiError, Unreachable
from mdev_api.kube.requests import Request
from mdev_operator.context import Context
from mdev_operator.inventory.absences import Absences
from mdev_operator.inventory.cluster import Cluster, Held, NodeView
from mdev_operator.migration.decide import decide
from mdev_operator.migration.decision import Decision, Situation
from mdev_operator.migration.nodes import unwell
from mdev_operator.reservations import Superseded
from mdev_operator.tidying.nodes_gone import check_node
from tests.unit.operator.test_decide import BIG, SOURCE, entries_of, prepared, ready_on_b, told
from tests.unit.operator.world import (
    NOW,
    UID,
    cluster,
    condition,
    decided,
    migration,
    on_node,
    reservations,
    shown,
)

READY = condition("Ready", True, "Prepared", age=5)
HALF_AN_HOUR = 1800.0


def with_gone(what: DeviceMigration, where: Cluster, *gone: str) -> Decision:
    held = tuple(h for n in where.reservations for h in where.held_on(n) if h.entry.owner.uid == UID)
    return decide(Situation(migration=what, cluster=where, held=held, now=NOW, gone=frozenset(gone)))


def on(node: str, what: DeviceMigration) -> DeviceMigration:
    """The migration with this destination in its status."""
    return what.model_copy(update={"status": what.status.model_copy(update={"node": node})})


class TestDecision:
    def test_a_started_migration_ends_when_its_destination_is_gone_and_lets_go_of_what_is_provably_unused(self) -> None:
        made = entries_of(cluster(SOURCE, BIG), source=on_node())
        (pin,), (there,) = made["a"], made["b"]
        held = [reservations("a", [pin]), reservations("b", [there], [prepared(there)])]
        started = on("b", migration(on_node(), conditions=[READY], started=True))
        decision = with_gone(started, cluster(SOURCE, BIG, reserved=held), "b")
        assert told(decision) == {pin.id: Intent.UNDO, there.id: Intent.UNDO_IF_UNUSED}

    def test_a_source_that_is_gone_ends_it_too_and_the_destination_goes_only_if_unused(self) -> None:
        made = entries_of(cluster(SOURCE, BIG), source=on_node())
        (pin,), (there,) = made["a"], made["b"]
        held = [reservations("a", [pin]), reservations("b", [there], [prepared(there)])]
        started = on("b", migration(on_node(), conditions=[READY], started=True))
        decision = with_gone(started, cluster(SOURCE, BIG, reserved=held), "a")
        assert told(decision)[there.id] is Intent.UNDO_IF_UNUSED

    def test_before_ready_nobody_can_have_opened_the_device_so_it_is_undone(self) -> None:
        made = entries_of(cluster(SOURCE, BIG), source=on_node())
        (pin,), (there,) = made["a"], made["b"]
        held = [reservations("a", [pin]), reservations("b", [there])]
        decision = with_gone(migration(on_node()), cluster(SOURCE, BIG, reserved=held), "a")
        assert told(decision) == {pin.id: Intent.UNDO, there.id: Intent.UNDO}

    def test_it_is_finished_when_every_intent_is_told_answered_or_not(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        out = entry.model_copy(update={"intent": Intent.UNDO_IF_UNUSED})
        decision = with_gone(on("b", migration(conditions=[READY], started=True)), ready_on_b(out), "b")
        assert (shown(decision, "Finished") or ("", ""))[:2] == ("True", "NodeGone") and not decision.finalizer
        assert "node b is gone" in (shown(decision, "Finished") or ("", "", ""))[2]

    def test_one_that_is_being_deleted_does_not_wait_for_an_outcome_any_more(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        out = entry.model_copy(update={"intent": Intent.UNDO_IF_UNUSED})
        deleted = on("b", migration(conditions=[READY], started=True, deleted=True))
        assert not with_gone(deleted, ready_on_b(out), "b").finalizer

    def test_an_attempt_that_was_given_up_there_does_not_end_the_migration(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        given_up = entry.model_copy(update={"intent": Intent.UNDO})
        decision = with_gone(migration(), cluster(BIG, reserved=[reservations("b", [given_up])]), "b")
        assert shown(decision, "Finished") is None

    def test_an_outcome_that_was_told_counts_more(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        done = on("b", migration(conditions=[READY], started=True, outcome="Succeeded"))
        assert told(with_gone(done, ready_on_b(entry), "b")) == {entry.id: Intent.HAND_OVER}

    def test_a_node_that_is_only_missing_from_the_cache_keeps_its_entries_on_hold(self) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        where = replace(ready_on_b(entry), nodes={})
        started = on("b", migration(conditions=[READY], started=True))
        assert with_gone(started, where).tell == ()

    @pytest.mark.parametrize(
        ("nodes", "silent", "word"),
        [
            ({"b": NodeView(name="b", labels={}, ready=False, schedulable=True)}, {}, "not Ready"),
            ({"b": NodeView(name="b", labels={}, ready=True, schedulable=False)}, {}, "cordoned"),
            ({}, {"b": "the agent is silent"}, "silent"),
        ],
    )
    def test_an_attempt_on_a_node_that_falls_ill_is_given_up_with_that_as_its_reason(
        self, nodes: dict[str, NodeView], silent: dict[str, str], word: str
    ) -> None:
        (entry,) = entries_of(cluster(BIG))["b"]
        where = cluster(BIG, reserved=[reservations("b", [entry])], nodes=nodes, silent=silent)
        decision = decided(migration(), where)
        assert told(decision) == {entry.id: Intent.UNDO} and word in decision.status.attempts[0].message

    def test_a_node_that_there_is_none_of_is_not_well(self) -> None:
        assert "no Node b" in (unwell(replace(cluster(BIG), nodes={}), "b") or "")


@dataclass
class Server:
    """An API server with NodeReservations and NodeDevices of node b, and a Node b or none."""

    entry: Entry
    node: bool = False
    migration: DeviceMigration | None = None
    now: float = 0.0
    fence: int = 1
    unreachable: bool = False
    conflict: bool = False
    sent: list[str] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    later: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.absences = Absences(after=HALF_AN_HOUR, clock=lambda: self.now)
        self.cluster = replace(cluster(BIG, reserved=[reservations("b", [self.entry])]), nodes={})

    @property
    def ctx(self) -> Context:
        inventory = SimpleNamespace(
            cluster=lambda: self.cluster,
            reservations=self.cluster.reservations.get,
            held_by=lambda uid: (Held(node="b", entry=self.entry, answer=None),),
            wrote=lambda obj, node: None,
        )
        queue = SimpleNamespace(add=self.queued.append, add_after=self.later.__setitem__)
        parts = {"send": self.send, "inventory": inventory, "queue": queue, "fence": lambda: self.fence}
        return cast(Context, SimpleNamespace(absences=self.absences, **parts))

    async def send(self, request: Request) -> dict[str, Any]:
        if self.unreachable:
            raise Unreachable(str(request), "no route", may_have_arrived=False)
        if request.method == "DELETE":
            if self.conflict:
                raise ApiError(409, "Conflict", "it changed", None)
            self.sent.append(request.path.rpartition("/v1alpha1/")[2])
            assert request.body is not None and b"resourceVersion" in request.body
            return {}
        if "/nodes/" in request.path and self.node:
            return {}
        if "/devicemigrations/" in request.path and self.migration is not None:
            return dump(self.migration)
        raise ApiError(404, "NotFound", "there is none", None)

    async def look(self, at: float) -> None:
        self.now = at
        await check_node(self.ctx, "b")


@pytest.fixture
def server() -> Server:
    (entry,) = entries_of(cluster(BIG))["b"]
    return Server(entry)


class TestHalfAnHour:
    async def test_nothing_is_deleted_before_it_has_been_gone_for_half_an_hour(self, server: Server) -> None:
        await server.look(0)
        await server.look(HALF_AN_HOUR - 1)
        assert server.sent == [] and server.absences.gone() == frozenset()
        assert server.later["gone/b"] == pytest.approx(1)

    async def test_then_both_objects_go_as_they_were_seen(self, server: Server) -> None:
        await server.look(0)
        await server.look(HALF_AN_HOUR)
        assert server.sent == ["nodereservations/b", "nodedevices/b"]

    async def test_a_node_that_returns_earlier_begins_anew(self, server: Server) -> None:
        await server.look(0)
        server.node = True
        await server.look(HALF_AN_HOUR - 1)
        server.node = False
        await server.look(HALF_AN_HOUR)
        assert server.sent == []

    async def test_no_answer_is_not_the_answer_that_it_is_gone(self, server: Server) -> None:
        server.unreachable = True
        with pytest.raises(Unreachable):
            await server.look(0)
        server.unreachable = False
        await server.look(HALF_AN_HOUR)
        assert server.sent == []

    async def test_a_new_process_counts_from_the_beginning(self, server: Server) -> None:
        await server.look(0)
        server.absences = Absences(after=HALF_AN_HOUR, clock=lambda: server.now)
        await server.look(HALF_AN_HOUR)
        assert server.sent == []

    async def test_the_migrations_that_need_it_end_first(self, server: Server) -> None:
        server.migration = on("b", migration(conditions=[READY], started=True))
        await server.look(0)
        await server.look(HALF_AN_HOUR)
        assert server.sent == [] and server.queued == ["migration/default/m"] and "gone/b" in server.later
        server.migration = on("b", migration(conditions=[READY, condition("Finished", True, "NodeGone")]))
        await server.look(HALF_AN_HOUR + 1)
        assert server.sent == ["nodereservations/b", "nodedevices/b"]

    async def test_what_somebody_wrote_since_keeps_the_objects_and_it_is_looked_again(self, server: Server) -> None:
        await server.look(0)
        server.conflict = True
        await server.look(HALF_AN_HOUR)
        assert server.sent == [] and server.later["gone/b"] > 0
        server.conflict = False
        await server.look(HALF_AN_HOUR + 5)
        assert server.sent == ["nodereservations/b", "nodedevices/b"]

    async def test_a_leader_of_yesterday_deletes_nothing(self, server: Server) -> None:
        server.fence = 0
        await server.look(0)
        with pytest.raises(Superseded):
            await server.look(HALF_AN_HOUR)
        assert server.sent == []
