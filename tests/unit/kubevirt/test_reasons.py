"""Events that say why a VM cannot move."""

from __future__ import annotations

from mdev_operator.kubevirt.reasons import events, sentences
from tests.unit.kubevirt.sights import migration, vmi, vmim
from tests.unit.operator.world import NOW, condition


def test_every_note_is_told_on_the_migration_and_on_the_vm() -> None:
    made = events(vmim(), vmi(), ["one", "two"], NOW)
    told = {(e["regarding"]["kind"], e["regarding"]["name"], e["note"]) for e in made}
    kinds = [("VirtualMachineInstanceMigration", "move"), ("VirtualMachineInstance", "vm")]
    assert told == {(*kind, note) for kind in kinds for note in ("one", "two")}


def test_the_same_round_told_twice_has_the_same_names() -> None:
    once, again = events(vmim(), vmi(), ["one", "two"], NOW), events(vmim(), vmi(), ["one", "another"], NOW)
    names = [e["metadata"]["name"] for e in once]
    assert names == [e["metadata"]["name"] for e in again] and len(set(names)) == 4


def test_a_note_is_cut_to_what_the_api_server_takes_in_bytes() -> None:
    (event,) = events(vmim(), None, ["é" * 2000], NOW)
    assert 1000 < len(event["note"].encode()) <= 1024


def test_what_was_said_last_comes_first() -> None:
    ready, finished = condition("Ready", False), condition("Finished", True)
    ready["message"], finished["message"] = "no node can take it", "not Ready within 90 s; no node can take it"
    assert (
        sentences(migration(ready, finished))[0] == "the VM cannot move now: not Ready within 90 s; no node can take it"
    )
    assert sentences(migration(ready))[0] == "the VM cannot move now: no node can take it"
    assert "nothing was tried" in sentences(migration())[0]
