"""What must hold whatever happens: of every single write, and of the world as it is between two events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mdev_api.hashing import instance_uuid
from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.node_reservations import FINAL_STATES
from mdev_api.kube.resources import DEVICE_MIGRATIONS, NODE_RESERVATIONS
from mdev_operator.migration.status import condition_of, is_true
from tests.durable.protocol.nodes import BrokenError, Node
from tests.durable.protocol.store import Author, Change, Object, Store
from tests.durable.protocol.world import World

# api.md, the table of intents.
MAY_BECOME = {
    "Hold": {"Hold", "HandOver", "Undo", "UndoIfUnused", "RemoveIfUnused"},
    "UndoIfUnused": {"UndoIfUnused", "HandOver", "Undo"},
}


@dataclass(kw_only=True)
class Writes:
    """Judges every write. ``shown``: ids of the entries whose devices somebody was told of by a Ready migration."""

    store: Store
    shown: set[str] = field(default_factory=set)

    def judge(self, change: Change) -> None:
        """BrokenError if this write should never have been possible."""
        if change.plural == DEVICE_MIGRATIONS.plural and change.new is not None:
            self._of_migration(change.old, change.new)
        if change.plural == NODE_RESERVATIONS.plural and change.old is not None and change.new is not None:
            _of_reservations(change.old, change.new)
            _of_their_author(change.by, change.old, change.new)
            self._of_intents(change.old, change.new)

    def _of_migration(self, old: Object | None, new: Object) -> None:
        name, uid = new["metadata"]["name"], new["metadata"]["uid"]
        if _shows(new, "Ready"):
            instances = {device["instance"] for device in new["status"]["devices"]}
            node = self.store.get(NODE_RESERVATIONS.plural, new["status"]["node"]) or {"spec": {}}
            held = {key: entry for key, entry in entries(node).items() if entry["owner"]["uid"] == uid}
            self.shown |= {key for key, entry in held.items() if device_of(key, entry) in instances}
        if old is None:
            return
        _must(_shows(new, "Finished") or not _shows(old, "Finished"), f"{name} was Finished and is not any more")
        known = {attempt["number"] for attempt in new.get("status", {}).get("attempts", ())}
        forgotten = {attempt["number"] for attempt in old.get("status", {}).get("attempts", ())} - known
        _must(not forgotten, f"attempts {forgotten} of {name} are forgotten")

    def _of_intents(self, old: Object, new: Object) -> None:
        """Undo is for what nobody was told of, or when it was said that the VM is not there (api.md).

        And what was started while it was Ready is let go for no clock, and for no other reason but its outcome.
        """
        before, name = entries(old), new["metadata"]["name"]
        for key, entry in entries(new).items():
            intent, owner = entry["intent"], entry["owner"]
            if intent == before.get(key, entry)["intent"] or entry["role"] != "Destination":
                continue
            migration = self.store.get(DEVICE_MIGRATIONS.plural, owner["name"], owner["namespace"]) or {"spec": {}}
            outcome = migration["spec"].get("outcome")
            undone = intent == "Undo" and key in self.shown and outcome != "Failed"
            _must(not undone, f"{key} of {name} was told {intent}, but somebody may have its device")
            begun = migration["spec"].get("started") and _shows(migration, "Ready") and outcome is None
            _must(not begun, f"{key} of {name} was told {intent} when its migration was Ready and started")


def _of_reservations(old: Object, new: Object) -> None:
    name = new["metadata"]["name"]
    _must(new["spec"]["fence"] >= old["spec"]["fence"], f"the fence of {name} fell")
    before, after, answers = entries(old), entries(new), states(old)
    for key, entry in before.items():
        if key not in after:
            _must(answers.get(key) in FINAL_STATES, f"{key} of {name} was removed when it was {answers.get(key)}")
            continue
        became = after[key]["intent"]
        _must(became in MAY_BECOME.get(entry["intent"], {entry["intent"]}), f"{key}: {entry['intent']} became {became}")
        rest = {k: v for k, v in entry.items() if k != "intent"}
        _must(rest == {k: v for k, v in after[key].items() if k != "intent"}, f"{key} of {name} is another entry now")


def _of_their_author(by: Author | None, old: Object, new: Object) -> None:
    """Whoever changes spec leads as far as the object knows, says so, and has decided from what is there."""
    if old["spec"] == new["spec"]:
        return
    name, meta = new["metadata"]["name"], old["metadata"]
    _must(by is not None and by.fence is not None, f"spec of {name} was written by {by}, which is no operator")
    assert by is not None
    fences = (old["spec"]["fence"], by.fence, new["spec"]["fence"])
    _must(fences[0] <= fences[1] == fences[2], f"{by.name} with fence {by.fence} wrote {name}: {fences}")
    _must(by.seen == (meta["uid"], meta["generation"]), f"{by.name} saw {by.seen} of {name} and changed {meta}")


def of_the_world(world: World) -> None:
    """BrokenError if the world should never be like this."""
    _of_migrations(world)
    for node in world.nodes.values():
        taken = node.foreign - set(node.kernel.devices())
        _must(not taken, f"foreign devices {sorted(taken)} of {node.name} were removed")
        _one_owner(world, node)
    for operator in world.operators:
        for fault in operator.faults:
            raise BrokenError(f"an operator failed: {fault!r}") from fault
    for key, met in world.faults:
        raise BrokenError(f"an agent met a fault with {key}: {met!r}") from met
    unexpected = [text for text in world.store.refused if "fence" not in text]
    _must(not unexpected, f"what no operator may ask for was asked for: {unexpected}")


def _of_migrations(world: World) -> None:
    shown: dict[tuple[str, str], str] = {}
    for obj in world.migrations():
        status, name = obj.get("status", {}), obj["metadata"]["name"]
        if not _shows(obj, "Ready") or _shows(obj, "Finished"):
            continue
        for device in status.get("devices", ()):
            place = (status["node"], device["instance"])
            other = shown.setdefault(place, name)
            _must(other == name, f"device {place} is shown as that of {name} and of {other}")


def _one_owner(world: World, node: Node) -> None:
    obj = world.store.get(NODE_RESERVATIONS.plural, node.name)
    if obj is None:
        return
    owners: dict[str, str] = {}
    for key, entry in entries(obj).items():
        if states(obj).get(key) in FINAL_STATES:
            continue
        instance = device_of(key, entry)
        other = owners.setdefault(instance, key)
        _must(other == key, f"device {instance} of {node.name} is held by {key} and by {other}")


def at_rest(world: World, kept: dict[str, set[str]]) -> None:
    """BrokenError if something is left that should not be, when all has come to its end.

    ``kept``: by node, the devices that a VM has; all others but foreign ones were given ten minutes.
    """
    for obj in world.migrations():
        status = DeviceMigration.model_validate(obj).status
        ready = condition_of(status.conditions, "Ready")
        _must(is_true(status.conditions, "Finished"), f"{obj['metadata']['name']} does not end: {ready}")
    for node in world.nodes.values():
        obj = world.store.get(NODE_RESERVATIONS.plural, node.name) or {"spec": {}}
        _must(not entries(obj), f"reservations of {node.name} do not end: {obj}")
        _must(not node.records(), f"the journal of {node.name} is open: {node.records()}")
        if not node.forgot:
            left = set(node.kernel.devices()) - node.foreign - kept[node.name]
            _must(not left, f"devices {sorted(left)} of {node.name} are nobody's")


def _shows(obj: Object, kind: str) -> bool:
    conditions = obj.get("status", {}).get("conditions", ())
    return any(condition["type"] == kind and condition["status"] == "True" for condition in conditions)


def device_of(key: str, entry: Object) -> str:
    """The device that an entry is about, also one that is still to be made."""
    return entry["device"].get("instance") or instance_uuid(key)


def entries(obj: Object) -> dict[str, Object]:
    """The entries of NodeReservations by id."""
    return {entry["id"]: entry for entry in obj["spec"].get("reservations", ())}


def states(obj: Object) -> dict[str, Any]:
    """How their agent answers them."""
    return {answer["id"]: answer["state"] for answer in obj.get("status", {}).get("reservations", ())}


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BrokenError(otherwise)
