"""Which function a new device is made on: the decision alone, for every state of claims, use and journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mdev_api.hashing import profile_name
from mdev_api.kinds.node_reservations import Entry, EntryAnswer, FailureReason, Intent, State
from mdev_node_agent.deciding.claims import taken_places
from mdev_node_agent.deciding.decision import next_step
from mdev_node_agent.deciding.steps import Adopt, Attempt, Create, Remove, Settle, Situation
from mdev_node_agent.memory.ledger import Made
from mdev_node_agent.memory.record import Making, Record
from mdev_node_agent.seeing.in_use import InUse, Source, Use
from mdev_node_agent.seeing.observation import Instance, Observation, Offer, Parent, Unreadable
from mdev_node_agent.seeing.sight import Sight
from tests.agent.reservations import entry

PLACES = ("0000:65:00.4", "0000:65:00.5", "0000:65:00.6", "0000:65:00.7")
FRESH = Attempt(fresh=True)


def profile(kind: str) -> dict[str, Any]:
    return {"backend": "b", "driver": {"name": "d"}, "type": {"id": kind}}


def sight(
    configured: dict[str, str] | None = None,
    *,
    used: dict[str, InUse] | None = None,
    lasting: bool = False,
    told: tuple[str, ...] = (),
) -> Sight:
    """A card with four functions. ``configured``: type by place; the others are free places of type ``t``."""
    configured = configured or {}
    free = tuple(place for place in PLACES if place not in configured and place not in told)
    shown = dict.fromkeys(PLACES, "t") if lasting else configured
    offers = tuple(
        Offer(type=kind, profile=profile(kind), available=4, places=PLACES if lasting else free, lasting=lasting)
        for kind in ("t", "u")
    )
    observation = Observation(
        boot_id="boot-1",
        parents=(Parent(name="p", driver="d", offers=offers),),
        instances=tuple(Instance(id=place, parent="p", type=kind) for place, kind in shown.items()),
        unreadable=tuple(Unreadable(path=place, name=place, errno="EIO", message="broken") for place in told),
    )
    uses = {p: Use(state=(used or {}).get(p, InUse.NO), source=Source.PROCESS) for p in shown}
    return Sight(observation=observation, uses=uses)


def new(entry_id: str = "move-1", intent: Intent = Intent.HOLD) -> Entry:
    device = {"create": {"parent": "p", "type": "t", "profile": profile_name(profile("t"))}}
    return Entry.model_validate(entry(entry_id, boot_id="boot-1", device=device, intent=str(intent)))


def begun(place: str, making: Making) -> Record:
    return Record(instance=place, backend="b", making=making)


def decided(situation: Situation) -> str | None:
    """The place that is chosen, or None: the entry fails for lack of room."""
    step = next_step(replace(situation, attempt=replace(situation.attempt, fresh=True)))
    if isinstance(step, Create):
        assert step.place
        return step.instance
    assert isinstance(step, Settle) and step.answer.failure is not None
    assert step.answer.failure.reason is FailureReason.NO_CAPACITY
    return None


def test_the_first_place_is_chosen() -> None:
    assert decided(Situation(entry=new(), sight=sight())) == PLACES[0]


def test_a_place_that_is_claimed_or_was_lost_is_passed_over() -> None:
    situation = Situation(entry=new(), sight=sight(), elsewhere=frozenset(PLACES[:1]))
    assert decided(replace(situation, attempt=Attempt(lost=frozenset(PLACES[1:2])))) == PLACES[2]


def test_a_claim_from_before_a_restart_is_used() -> None:
    assert decided(Situation(entry=new(), sight=sight(), record=begun(PLACES[2], Making.NONE))) == PLACES[2]


def test_a_claim_that_somebody_else_has_configured_gives_way_to_another_place() -> None:
    taken = sight({PLACES[0]: "t"})
    assert decided(Situation(entry=new(), sight=taken, record=begun(PLACES[0], Making.NONE))) == PLACES[1]


def test_what_the_driver_was_asked_for_is_taken_on_unless_somebody_uses_it() -> None:
    there = Situation(entry=new(), sight=sight({PLACES[0]: "t"}), record=begun(PLACES[0], Making.BEGUN), attempt=FRESH)
    assert isinstance(next_step(there), Adopt)
    assert decided(replace(there, sight=sight({PLACES[0]: "t"}, used={PLACES[0]: InUse.YES}))) == PLACES[1]
    assert decided(replace(there, sight=sight({PLACES[0]: "u"}))) == PLACES[1]


def test_what_the_driver_was_asked_for_and_cannot_be_seen_is_told_and_not_made_twice() -> None:
    blind = sight(told=(PLACES[0],))
    situation = Situation(entry=new(), sight=blind, record=begun(PLACES[0], Making.BEGUN), attempt=FRESH)
    step = next_step(situation)
    assert isinstance(step, Settle) and step.answer.failure is not None
    assert step.answer.failure.reason is FailureReason.CONFLICT


def test_our_own_status_alone_takes_nothing_on_that_it_does_not_name() -> None:
    pending = EntryAnswer(id="move-1", state=State.PENDING)
    assert decided(Situation(entry=new(), sight=sight({PLACES[0]: "t"}), answer=pending)) == PLACES[1]


places = st.sampled_from(PLACES)
sights = st.builds(
    sight,
    st.dictionaries(places, st.sampled_from(["t", "u"])),
    used=st.dictionaries(places, st.sampled_from(InUse)),
    lasting=st.booleans(),
)
records = st.none() | st.builds(begun, places, st.sampled_from([Making.NONE, Making.BEGUN, Making.DONE]))
situations = st.builds(
    Situation,
    entry=st.sampled_from(Intent).filter(lambda i: i is not Intent.REMOVE_IF_UNUSED).map(lambda i: new("move-1", i)),
    sight=sights,
    record=records,
    answer=st.none() | st.sampled_from(State).map(lambda state: EntryAnswer(id="move-1", state=state)),
    elsewhere=st.frozensets(places),
    attempt=st.builds(Attempt, fresh=st.booleans(), lost=st.frozensets(places)),
)


@given(situations)
def test_a_device_is_only_made_where_nobody_else_is(situation: Situation) -> None:
    step = next_step(situation)
    if not isinstance(step, Create):
        return
    offer = situation.sight.observation.offer("p", "t")
    assert offer is not None and step.instance in (offer.places or ())
    assert step.instance not in situation.elsewhere | situation.attempt.lost
    seen = situation.sight.observation.instance(step.instance)
    assert (seen is not None) == offer.lasting
    assert seen is None or situation.sight.use(step.instance).state is InUse.NO


@given(situations)
def test_only_what_the_journal_proves_is_taken_on_or_released(situation: Situation) -> None:
    step = next_step(situation)
    if isinstance(step, Adopt):
        place = step.record.instance
    elif isinstance(step, Remove):
        place = step.instance
    else:
        return
    record, seen = situation.record, situation.sight.observation.instance(place)
    assert record is not None and record.instance == place and record.making in (Making.BEGUN, Making.DONE)
    assert seen is not None and seen.type == "t"
    assert record.making is Making.DONE or situation.sight.use(place).state is not InUse.YES


@given(sights, st.lists(st.tuples(records, st.booleans()), min_size=2, max_size=6))
def test_two_entries_never_get_the_same_place(there: Sight, begun_before: list[tuple[Record | None, bool]]) -> None:
    """One after the other under their parent's lock, each from whatever it and the others have begun before."""
    entries = {f"move-{n}": new(f"move-{n}") for n in range(len(begun_before))}
    known: dict[str, Record] = {}
    ledger: dict[str, Made] = {}
    for key, (record, listed) in zip(entries, begun_before, strict=True):
        # Nobody begins what another one has begun: that is what is shown here, so it is where it starts.
        if record is not None and record.instance not in {r.instance for r in known.values()}:
            known[key] = replace(record, making=Making.NONE)
            if listed:
                ledger[record.instance] = Made(
                    instance=record.instance, reservation=key, boot_id="boot-1", backend="b", made=False
                )
    got: dict[str, str] = {}
    for key, one in entries.items():
        others = [other for other in entries.values() if other.id != key]
        taken = taken_places(key, others, {}, known, ledger)
        place = decided(Situation(entry=one, sight=there, record=known.get(key), elsewhere=taken))
        if place is not None:
            got[key] = place
            known[key] = begun(place, Making.DONE)
            ledger[place] = Made(instance=place, reservation=key, boot_id="boot-1", backend="b")
    assert len(set(got.values())) == len(got)


@given(st.sets(places), st.sets(places))
def test_what_was_claimed_for_others_is_taken_whether_or_not_an_entry_names_it(
    listed: set[str], journalled: set[str]
) -> None:
    ledger = {p: Made(instance=p, reservation="gone", boot_id="boot-1", backend="b") for p in listed}
    journal = {f"gone-{p}": begun(p, Making.NONE) for p in journalled}
    assert taken_places("move-1", (), {}, journal, ledger) == listed | journalled
    own = {p: replace(made, reservation="move-1") for p, made in ledger.items()}
    assert taken_places("move-1", (), {}, {}, own) == set()
