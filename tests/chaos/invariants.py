"""What must hold when everything is quiet again, checked from outside. Pure: dumps in, sentences out, none is fine."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from mdev_api.hashing import instance_uuid
from tests.chaos.dumps import NodeDump, World
from tests.chaos.plan import Ending
from tests.chaos.stories import Register, Story

Object = dict[str, Any]

MOST_ATTEMPTS = 64
GOOD_ENDS = frozenset({"Succeeded", "Failed", "Expired", "Deadline"})


def violations(world: World, register: Register) -> list[str]:
    """All of them."""
    found = list(register.wrongs)
    found += _migrations(world, register.stories)
    found += _two_owners(world)
    for node in world.nodes.values():
        found += _entries(world, node, register.stories)
        found += _leaks(world, node, register.stories)
        found += _missing(node, register)
        found += _journal(node)
        found += _published(node)
    return found


def _migrations(world: World, stories: Iterable[Story]) -> Iterator[str]:
    """Every migration is Ready, done, or failed with a reason."""
    for story in stories:
        obj = world.migrations.get(story.uid)
        if obj is None:
            if not story.gone:
                yield f"migration {story.name} is gone, and nobody deleted it"
            continue
        conditions = {c["type"]: c for c in (obj.get("status") or {}).get("conditions", ())}
        finished, ready = conditions.get("Finished", {}), conditions.get("Ready", {})
        said = f"migration {story.name} ({story.move.ending})"
        if story.gone:
            yield f"{said} was deleted and is still there: {conditions}"
        elif finished.get("status") == "True":
            if finished["reason"] not in GOOD_ENDS or not finished.get("message"):
                yield f"{said} has ended for no good reason: {finished}"
            elif story.told is not None and finished["reason"] != story.told:
                yield f"{said} was told {story.told} and says {finished['reason']}"
        elif not (ready.get("status") == "True" and story.move.ending is Ending.STAYS):
            yield f"{said} is neither Ready, done nor failed: {conditions}"


def _two_owners(world: World) -> Iterator[str]:
    """No instance has two owners."""
    owners: dict[tuple[str, str], list[str]] = defaultdict(list)
    for node in world.nodes.values():
        for entry, answer in _standing(node):
            if entry["role"] != "PoolMember":
                for instance in _instances(entry, answer):
                    owners[node.name, instance].append(entry["id"])
    for (name, instance), entries in owners.items():
        if len(entries) > 1:
            yield f"{name}: {instance} has two owners: {', '.join(entries)}"


def _entries(world: World, node: NodeDump, stories: Iterable[Story]) -> Iterator[str]:
    """A reservation stands only for a migration that is Ready."""
    known = {story.uid: story for story in stories}
    for entry, answer in _standing(node):
        story = known.get(entry["owner"]["uid"])
        obj = world.migrations.get(entry["owner"]["uid"])
        ready = obj is not None and any(
            c["type"] == "Ready" and c["status"] == "True" for c in obj.get("status", {}).get("conditions", ())
        )
        if not ready:
            whose = f"{story.name} ({story.move.ending}, {story.ended})" if story is not None else "nobody known"
            yield f"{node.name}: reservation {entry['id']} of {whose} still stands: {entry['intent']}, {answer}"


def _leaks(world: World, node: NodeDump, stories: Sequence[Story]) -> Iterator[str]:
    """Every device is foreign, or a Succeeded migration's, or named by a reservation that stands."""
    named = {instance for entry, answer in _standing(node) for instance in _instances(entry, answer)}
    listed = _ledger(node)
    for device in sorted(node.devices - node.foreign):
        maker = _maker(device, stories)
        what = f"{node.name}: {device}"
        if device not in listed:
            yield f"{what} is not in the ledger, so nobody will ever remove it"
        if device in named:
            continue
        if maker is None:
            yield f"{what} was made by nobody known"
        elif not _succeeded_with(world, maker, device):
            yield f"{what} is a leak: made for {maker.name} ({maker.move.ending}, {maker.ended or 'gone'})"
        else:
            last = next((s for s in stories if s.told == "Succeeded" and s.source == (node.name, device)), None)
            if last is not None and last.move.remove:
                yield f"{what} was to be removed when {last.name} had moved its machine away, and is there"


def _missing(node: NodeDump, register: Register) -> Iterator[str]:
    """Nothing that a process has open was removed, nothing that is foreign, and nothing that a machine was given."""
    for device in sorted(node.held - node.on_bus):
        yield f"{node.name}: {device} was removed while a process had it open"
    for device in sorted(node.foreign - node.on_bus):
        yield f"{node.name}: {device}, which this project did not make, was removed"
    moved = {s.source for s in register.stories if s.move.remove and s.told == "Succeeded"}
    for story in register.stories:
        given = story.told == "Succeeded" and (story.node, story.boot) == (node.name, node.boot)
        kept = story.device not in register.taken and (node.name, story.device) not in moved
        if given and kept and story.device not in node.on_bus:
            yield f"{node.name}: {story.device} is gone, which {story.name} had handed over to its machine"


def _journal(node: NodeDump) -> Iterator[str]:
    """No journal has an open intent: what was begun has ended, or stands for a reservation and is done."""
    standing = {entry["id"] for entry, _ in _standing(node)}
    for reservation, open_ in _open_records(node).items():
        if reservation not in standing:
            yield f"{node.name}: the journal has an open record of {reservation}, which does not stand: {open_}"
        elif open_ & {"making begun", "write"}:
            yield f"{node.name}: the journal has an open intent of {reservation}: {open_}"


def _open_records(node: NodeDump) -> dict[str, set[str]]:
    records: dict[str, set[str]] = {}
    for line in node.journal.splitlines():
        content = json.loads(line)
        if content["boot"] != node.boot_id:
            continue
        key, event = content["reservation"], content["event"]
        record = records.setdefault(key, set())
        if event == "end":
            del records[key]
        elif event == "making":
            records[key] = {e for e in record if not e.startswith("making")} | {f"making {content['state']}"}
        elif event == "wrote":
            record.discard("write")
        else:
            record.add(event)
    return records


def _published(node: NodeDump) -> Iterator[str]:
    """NodeDevices says what the kernel shows."""
    status = node.published.get("status") or {}
    shown = {instance["id"] for instance in status.get("instances", ())}
    if status.get("bootID") != node.boot_id:
        yield f"{node.name}: NodeDevices is of another boot"
    elif shown != node.on_bus:
        yield f"{node.name}: NodeDevices and the kernel differ in {sorted(shown ^ node.on_bus)}"


def _standing(node: NodeDump) -> Iterator[tuple[Object, Object]]:
    """The reservations of a node, each with its answer."""
    status = node.reservations.get("status") or {}
    answers = {answer["id"]: answer for answer in status.get("reservations", ())}
    for entry in (node.reservations.get("spec") or {}).get("reservations", ()):
        yield entry, answers.get(entry["id"], {})


def _instances(entry: Object, answer: Object) -> set[str]:
    device = entry["device"]
    named = {device.get("instance"), answer.get("instance")}
    if "create" in device:
        named.add(instance_uuid(entry["id"]))
    return {instance for instance in named if instance is not None}


def _ledger(node: NodeDump) -> frozenset[str]:
    content = json.loads(node.ledger) if node.ledger else {"instances": []}
    return frozenset(made["instance"] for made in content["instances"] if made["boot_id"] == node.boot_id)


def _maker(device: str, stories: Iterable[Story]) -> Story | None:
    """The migration for which a device was made: its UUID tells."""
    return next((story for story in stories if device in _made_for(story.uid)), None)


@cache
def _made_for(uid: str) -> frozenset[str]:
    return frozenset(instance_uuid(f"{uid}-{number}-0") for number in range(1, MOST_ATTEMPTS + 1))


def _succeeded_with(world: World, story: Story, device: str) -> bool:
    obj = world.migrations.get(story.uid) or {}
    told = {d.get("instance") for d in (obj.get("status") or {}).get("devices", ())}
    return story.told == "Succeeded" and device in {story.device, *told}
