"""What people are told of a migration beside its status, and what an ended one still holds."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.node_reservations import Entry, Intent
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from mdev_operator.inventory.cluster import Cluster, Held, NodeView
from mdev_operator.migration.decide import decide
from mdev_operator.migration.decision import Situation
from mdev_operator.migration.telling import next_look, notes
from mdev_operator.telling.notes import NOTE_BYTES, Note, Regarding, event
from mdev_operator.tidying.orphans import note_of
from tests.unit.operator.test_decide import BIG, SOURCE, entries_of, prepared, ready_on_b
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

ABOUT = Regarding(resource=DEVICE_MIGRATIONS, namespace="default", name="m", uid=UID)


def said(what: DeviceMigration, where: Cluster) -> dict[str, Note]:
    """What a round tells, by reason."""
    held = tuple(h for n in where.reservations for h in where.held_on(n) if h.entry.owner.uid == UID)
    s = Situation(migration=what, cluster=where, held=held, now=NOW)
    return {note.reason: note for note in notes(s, decide(s).status)}


def waits(entry: Entry, why: str) -> dict[str, Any]:
    return {**prepared(entry), "waiting": why}


def tainted(entry: Entry) -> dict[str, Any]:
    failure = {"reason": "Refused", "step": "Undo", "errno": "EIO", "message": "the kernel refused to write it back"}
    return {**prepared(entry), "state": "Tainted", "failure": failure}


def held_with(entry: Entry, answer: dict[str, Any], intent: Intent = Intent.UNDO_IF_UNUSED) -> Cluster:
    out = entry.model_copy(update={"intent": intent})
    return cluster(BIG, reserved=[reservations("b", [out], [answer])])


@pytest.fixture
def entry() -> Entry:
    (made,) = entries_of(cluster(BIG))["b"]
    return made


ENDED = [condition("Ready", False, "Expired"), condition("Finished", True, "Expired", age=5)]


class TestExpiry:
    def test_at_four_fifths_of_the_time_people_are_told_that_it_will_expire(self, entry: Entry) -> None:
        waiting = migration(conditions=[condition("Ready", True, "Prepared", age=480)])
        assert "spec.started" in said(waiting, ready_on_b(entry))["ExpiresSoon"].text

    def test_not_earlier(self, entry: Entry) -> None:
        waiting = migration(conditions=[condition("Ready", True, "Prepared", age=479)])
        assert "ExpiresSoon" not in said(waiting, ready_on_b(entry))

    def test_not_of_one_that_was_started(self, entry: Entry) -> None:
        started = migration(conditions=[condition("Ready", True, "Prepared", age=480)], started=True)
        assert "ExpiresSoon" not in said(started, ready_on_b(entry))

    def test_the_clock_is_looked_at_when_there_is_something_to_tell_and_when_it_is_over(self) -> None:
        assert (next_look(0, 600), next_look(100, 600), next_look(480, 600)) == (480, 380, 120)

    def test_the_decision_comes_back_for_it(self, entry: Entry) -> None:
        waiting = migration(conditions=[condition("Ready", True, "Prepared", age=100)])
        assert decided(waiting, ready_on_b(entry)).look_again == pytest.approx(380)

    def test_afterwards_they_are_told_that_it_has_expired(self) -> None:
        old = migration(conditions=[condition("Ready", False, "Expired")])
        assert "preparedTTLSeconds" in said(old, cluster(BIG))["Expired"].text

    def test_a_process_that_begins_later_does_not_tell_it_again(self) -> None:
        long_ago = migration(conditions=[condition("Finished", True, "Expired", age=3601)])
        assert said(long_ago, cluster(BIG)) == {}

    def test_an_end_that_somebody_asked_for_is_no_news(self) -> None:
        assert said(migration(conditions=[condition("Finished", True, "Succeeded")]), cluster(BIG)) == {}


class TestHeld:
    @pytest.mark.parametrize(("why", "words"), [("InUse", "in use"), ("InUseUnknown", "nobody can tell")])
    def test_what_an_expired_migration_still_holds_is_overdue(self, entry: Entry, why: str, words: str) -> None:
        decision = decided(migration(conditions=ENDED), held_with(entry, waits(entry, why)))
        status, reason, message = shown(decision, "Overdue") or ("", "", "")
        assert (status, reason) == ("True", why) and words in message and "node b" in message
        assert decision.tell == ()

    def test_it_is_told_as_an_event_too(self, entry: Entry) -> None:
        told = said(migration(conditions=ENDED), held_with(entry, waits(entry, "InUseUnknown")))
        assert {"Expired", "OverdueInUseUnknown"} == told.keys()

    def test_a_failed_undo_is_overdue_as_tainted_whatever_else_is_held(self, entry: Entry) -> None:
        other = entry.model_copy(update={"id": f"{UID}-1-1", "intent": Intent.UNDO_IF_UNUSED})
        bad = entry.model_copy(update={"intent": Intent.UNDO_IF_UNUSED})
        both = reservations("b", [bad, other], [tainted(bad), waits(other, "InUse")])
        decision = decided(migration(conditions=ENDED), cluster(BIG, reserved=[both]))
        status, reason, message = shown(decision, "Overdue") or ("", "", "")
        assert (status, reason) == ("True", "Tainted") and "write it back" in message and "in use" in message

    def test_when_nothing_is_held_any_more_it_is_overdue_no_longer(self) -> None:
        after = migration(conditions=[*ENDED, condition("Overdue", True, "InUse")])
        assert (shown(decided(after, cluster(BIG)), "Overdue") or ("", ""))[:2] == ("False", "Ended")

    def test_one_that_never_was_overdue_gets_no_condition(self) -> None:
        assert shown(decided(migration(conditions=ENDED), cluster(BIG)), "Overdue") is None

    def test_a_source_that_its_vm_has_just_left_is_not_overdue(self) -> None:
        (pin,) = entries_of(cluster(SOURCE, BIG), source=on_node())["a"]
        out = pin.model_copy(update={"intent": Intent.REMOVE_IF_UNUSED})
        where = cluster(SOURCE, BIG, reserved=[reservations("a", [out], [waits(out, "InUse")])])
        done = migration(on_node(), conditions=[condition("Finished", True, "Succeeded")], outcome="Succeeded")
        assert shown(decided(done, where), "Overdue") is None

    def test_a_failed_undo_is_told_also_while_the_migration_goes_on_elsewhere(self, entry: Entry) -> None:
        told = said(migration(), held_with(entry, tainted(entry), Intent.UNDO))
        assert "write it back" in told["Tainted"].text

    def test_a_started_migration_that_nobody_ends_is_told_as_overdue(self, entry: Entry) -> None:
        old = migration(conditions=[condition("Ready", True, "Prepared", age=601)], started=True)
        assert "spec.outcome" in said(old, ready_on_b(entry))["OverdueOutcomeNotTold"].text


class TestLost:
    def test_each_device_that_was_lost_is_told_once(self, entry: Entry) -> None:
        lost = [{"number": n, "node": "b", "state": "Lost", "message": "the node rebooted"} for n in (1, 2)]
        what = migration(attempts=lost)
        held = Situation(migration=what, cluster=cluster(BIG), held=(), now=NOW)
        keys = [n.key for n in notes(held, what.status) if n.reason == "ReservationLost"]
        assert keys == ["lost-1", "lost-2"]

    def test_a_ready_migration_whose_node_is_not_well_is_told_so(self, entry: Entry) -> None:
        ready = migration(conditions=[condition("Ready", True, "Prepared", age=5)])
        ready = ready.model_copy(update={"status": ready.status.model_copy(update={"node": "b"})})
        ill = NodeView(name="b", labels={}, ready=False, schedulable=True)
        where = cluster(BIG, reserved=[reservations("b", [entry], [prepared(entry)])], nodes={"b": ill})
        assert "not Ready" in said(ready, where)["DestinationNotWell"].text
        assert "DestinationNotWell" not in said(ready, ready_on_b(entry))


class TestEvent:
    def test_the_same_news_have_the_same_name_whoever_tells_them_and_other_news_another(self, entry: Entry) -> None:
        one = Note(key=f"tainted-{entry.id}", reason="Tainted", text="t")
        other = Note(key="finished", reason="Expired", text="t")
        names = [event(ABOUT, note, NOW)["metadata"]["name"] for note in (one, one, other)]
        assert names[0] == names[1] != names[2]

    def test_a_long_note_is_cut_to_what_the_api_server_takes_between_characters(self) -> None:
        note = event(ABOUT, Note(key="k", reason="R", text="ü" * 2000), NOW)["note"]
        assert len(note.encode()) == NOTE_BYTES and set(note) == {"ü"}

    def test_where_no_migration_is_left_the_note_names_whose_the_device_was(self, entry: Entry) -> None:
        where = held_with(entry, tainted(entry))
        (held,) = where.held_on("b")
        note = note_of(held)
        assert note is not None and "default/m" in note.text and entry.id in note.text

    def test_an_entry_that_does_well_is_no_news(self, entry: Entry) -> None:
        assert note_of(Held(node="b", entry=entry, answer=None)) is None
