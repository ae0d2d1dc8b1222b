"""What the chaos suite calls wrong: each invariant is broken once, and the sentence names what is concerned."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mdev_api.hashing import instance_uuid
from tests.chaos.dumps import NodeDump, World
from tests.chaos.invariants import violations
from tests.chaos.plan import Ending, Move
from tests.chaos.stories import Register, Story

Object = dict[str, Any]

BOOT = "boot-1"
UID = "11111111-1111-4111-8111-111111111111"
ENTRY = f"{UID}-1-0"
DEVICE = instance_uuid(ENTRY)
FOREIGN = "22222222-2222-4222-8222-222222222222"


def entry(entry_id: str = ENTRY, **changes: Any) -> Object:
    create = {"create": {"parent": "gfx0", "type": "gfx-4GB", "profile": "p-1"}}
    standing = {"id": entry_id, "role": "Destination", "intent": "Hold", "owner": {"uid": UID}, "device": create}
    return {**standing, **changes}


def node(devices: set[str], *entries: Object, answers: tuple[Object, ...] = (), **changes: Any) -> NodeDump:
    ours = [{"instance": device, "boot_id": BOOT} for device in sorted(devices - {FOREIGN})]
    instances = [{"id": device} for device in sorted(devices)]
    dump = NodeDump(
        name="a",
        boot_id=BOOT,
        boot=0,
        devices=frozenset(devices),
        on_bus=frozenset(devices),
        held=frozenset(),
        foreign=frozenset({FOREIGN} & devices),
        journal="",
        ledger=json.dumps({"instances": ours}),
        reservations={"spec": {"reservations": list(entries)}, "status": {"reservations": list(answers)}},
        published={"status": {"bootID": BOOT, "instances": instances}},
    )
    return replace(dump, **changes)


def migration(kind: str, reason: str = "Because", message: str = "so it is") -> Object:
    conditions = [{"type": kind, "status": "True", "reason": reason, "message": message}]
    return {"status": {"conditions": conditions, "devices": [{"instance": DEVICE}]}}


def story(ending: Ending = Ending.SUCCEEDED, **changes: Any) -> Story:
    told = {"told": "Succeeded", "node": "a", "device": DEVICE, "boot": 0} if ending is Ending.SUCCEEDED else {}
    return Story(move=Move(number=1, ending=ending), name="m1", uid=UID, **{**told, **changes})


def found(where: NodeDump, obj: Object | None, of: Story | None = None, **register: Any) -> list[str]:
    world = World(nodes={"a": where}, migrations={} if obj is None else {UID: obj})
    return violations(world, Register(stories=[] if of is None else [of], **register))


SUCCEEDED = migration("Finished", "Succeeded")
FAILED = migration("Finished", "Failed")
READY = migration("Ready", "Prepared")


def test_a_device_that_is_foreign_or_handed_over_or_held_for_a_migration_that_is_ready_is_fine() -> None:
    assert found(node({FOREIGN, DEVICE}), SUCCEEDED, story()) == []
    assert found(node({DEVICE}, entry()), READY, story(Ending.STAYS)) == []
    assert found(node(set()), None, story(Ending.EARLY, gone=True)) == []


BROKEN: dict[str, tuple[NodeDump, Object | None, Story | None, str]] = {
    "a device of a migration that failed": (node({DEVICE}), FAILED, story(Ending.FAILED), f"{DEVICE} is a leak"),
    "a device of a migration that was deleted": (
        node({DEVICE}),
        None,
        story(Ending.DELETED, gone=True),
        f"{DEVICE} is a leak",
    ),
    "a device that nobody made": (node({DEVICE}), None, None, "made by nobody known"),
    "a device of an earlier attempt": (
        node({DEVICE, instance_uuid(f"{UID}-2-0")}),
        SUCCEEDED,
        story(),
        f"{instance_uuid(f'{UID}-2-0')} is a leak",
    ),
    "a device that the ledger does not know": (
        node({DEVICE}, ledger='{"instances": []}'),
        SUCCEEDED,
        story(),
        "not in the ledger",
    ),
    "a foreign device removed": (node(set(), foreign=frozenset({FOREIGN})), None, None, "did not make"),
    "a held device removed": (node(set(), held=frozenset({FOREIGN})), None, None, "had it open"),
    "a held device that only leaves": (
        node({DEVICE}, on_bus=frozenset(), held=frozenset({DEVICE}), published={"status": {"bootID": BOOT}}),
        SUCCEEDED,
        story(),
        "had it open",
    ),
    "a handed-over device removed": (node(set()), SUCCEEDED, story(), "handed over"),
    "two owners": (
        node(
            {DEVICE},
            entry(),
            entry(f"{UID}-source-0", role="Source", device={"instance": DEVICE}),
        ),
        READY,
        story(Ending.STAYS),
        "two owners",
    ),
    "an entry of a migration that has ended": (node({DEVICE}, entry()), SUCCEEDED, story(), "still stands"),
    "a migration in between": (node(set()), migration("Planned"), story(Ending.FAILED), "neither Ready"),
    "a migration without a reason": (
        node(set()),
        migration("Finished", "Failed", ""),
        story(Ending.FAILED),
        "no good reason",
    ),
    "a migration that says something else": (node({DEVICE}), FAILED, story(), "was told Succeeded"),
    "a migration that vanished": (node(set()), None, story(Ending.FAILED), "nobody deleted it"),
    "a migration that does not go": (node(set()), READY, story(Ending.DELETED, gone=True), "is still there"),
    "an open record": (
        node(set(), journal=json.dumps({"boot": BOOT, "reservation": "x-1-0", "event": "begin"})),
        None,
        None,
        "x-1-0, which does not stand",
    ),
    "an open intent": (
        node(
            {DEVICE},
            entry(),
            journal=json.dumps({"boot": BOOT, "reservation": ENTRY, "event": "making", "state": "begun"}),
        ),
        READY,
        story(Ending.STAYS),
        "open intent",
    ),
    "another boot": (node(set(), published={"status": {"bootID": "other"}}), None, None, "another boot"),
    "a device that is not published": (
        node({DEVICE}, published={"status": {"bootID": BOOT}}),
        SUCCEEDED,
        story(),
        "the kernel differ",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_found(name: str) -> None:
    where, obj, of, words = BROKEN[name]
    sentences = found(where, obj, of)
    assert sentences and any(words in sentence for sentence in sentences), sentences


def test_a_source_that_was_to_be_removed_and_is_there_is_wrong() -> None:
    moved = Story(
        move=Move(number=2, ending=Ending.SUCCEEDED, remove=True),
        name="m2",
        uid="33333333-3333-4333-8333-333333333333",
        source=("a", DEVICE),
        told="Succeeded",
        node="b",
        gone=True,
    )
    world = World(nodes={"a": node({DEVICE})}, migrations={UID: SUCCEEDED})
    (sentence,) = violations(world, Register(stories=[story(), moved]))
    assert "was to be removed when m2" in sentence


def test_what_the_harness_removed_by_hand_and_what_another_boot_had_is_not_missed() -> None:
    assert found(node(set()), SUCCEEDED, story(), taken={DEVICE}) == []
    assert found(node(set(), boot=1), SUCCEEDED, story()) == []


def test_what_was_seen_on_the_way_counts_too() -> None:
    assert found(node(set()), None, wrongs=["two machines were given it"]) == ["two machines were given it"]


def test_a_record_of_another_boot_and_one_that_has_ended_are_closed() -> None:
    lines = [
        {"boot": "boot-0", "reservation": "old", "event": "begin"},
        {"boot": BOOT, "reservation": "new", "event": "begin"},
        {"boot": BOOT, "reservation": "new", "event": "end"},
    ]
    assert found(node(set(), journal="\n".join(json.dumps(line) for line in lines)), None) == []
