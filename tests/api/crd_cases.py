"""For every CEL rule of the CRDs an object that it lets pass and one that it refuses.

A rule is named by file, path and message. A case is tried on the real API server: ``before`` is created (with its
status, if it has one), then ``after`` is written over it, to the status if ``status`` is set.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """What is written, and over what."""

    after: Object
    before: Object | None = None
    status: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One rule with a try that it accepts and one that it refuses."""

    file: str
    path: str
    rule: str
    accepted: Try
    refused: Try


def random_profile_name() -> str:
    """A name that DeviceProfiles may have."""
    return f"p-{_random_hash()}"


def random_class_name() -> str:
    """A name that CompatibilityClasses may have."""
    return f"c-{_random_hash()}"


def _random_hash() -> str:
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz234567", k=26))


def migration(**spec: Any) -> Object:
    """A DeviceMigration."""
    return {"spec": {"source": {"vm": {"name": "vm"}}, "mode": "Plan"} | spec}


def model(**spec: Any) -> Object:
    """A DeviceModel."""
    return {"spec": {"model": "vendor.com/gpu", "parameters": [{"name": "memory", "type": "int"}]} | spec}


def matching(**parameter: Any) -> Object:
    """A DeviceModel with one match and one parameter in it."""
    said = {"name": "memory", "initValue": {"literal": "1"}} | parameter
    return model(matches=[{"name": "m", "expression": "true", "parameters": [said]}])


def profile(**members: Any) -> Object:
    """A DeviceProfile."""
    return {"spec": {"backend": "mdev", "driver": {"name": "gfx"}} | members}


def devices(**instance: Any) -> Object:
    """A NodeDevices with one instance."""
    fixed = {"id": "i", "parent": "0000:00:01.0", "type": "t", "profile": random_profile_name()}
    return {"status": {"instances": [fixed | instance]}}


CREATE = {"create": {"parent": "0000:00:01.0", "type": "t", "profile": "p-" + "a" * 26}}
INSTANCE = {"instance": "i-1", "profile": "p-" + "a" * 26}
VALUE = {"name": "memory", "type": "int", "value": "1", "attribute": "migration/memory"}
SLOT = {"slot": {"resource": "vendor.com/gpu"}, "profile": "p-" + "a" * 26}


def entry(**members: Any) -> Object:
    """One reservation."""
    return {
        "id": "e-1",
        "role": "Destination",
        "intent": "Hold",
        "group": "g",
        "owner": {"kind": "DeviceMigration", "namespace": "ns", "name": "m", "uid": "u"},
        "bootID": "b",
        "device": CREATE,
        "values": [VALUE],
    } | members


def reservations(*entries: Object, fence: int = 0, state: str | None = None) -> Object:
    """A NodeReservations, with an answer to its first entry if ``state`` is given."""
    content: Object = {"spec": {"fence": fence, "reservations": list(entries)}}
    if state:
        content["status"] = {"reservations": [{"id": entries[0]["id"], "state": state}]}
    return content


def source(**members: Any) -> Object:
    """A reservation of role Source."""
    return entry(role="Source", device=INSTANCE) | members


def _owner(uid: str) -> Object:
    return {"kind": "DeviceMigration", "namespace": "ns", "name": "m", "uid": uid}


def _change(before: Object, after: Object) -> Try:
    return Try(before=before, after=after)


_PREPARE = migration(mode="Prepare")

MIGRATIONS = [
    Case(
        file="devicemigrations.yaml",
        path=".spec",
        rule="source is immutable: create another DeviceMigration",
        accepted=_change(migration(), migration(nodeName="a")),
        refused=_change(migration(), migration(source={"vm": {"name": "other"}})),
    ),
    Case(
        file="devicemigrations.yaml",
        path=".spec",
        rule="mode Plan may become Prepare, never back: delete the DeviceMigration to give it up",
        accepted=_change(migration(), _PREPARE),
        refused=_change(_PREPARE, migration()),
    ),
    Case(
        file="devicemigrations.yaml",
        path=".spec",
        rule="once mode is Prepare only started, outcome and sourcePolicy may change",
        accepted=_change(_PREPARE, migration(mode="Prepare", started=True, sourcePolicy="Remove", outcome="Failed")),
        refused=_change(_PREPARE, migration(mode="Prepare", excludeNodes=["a"])),
    ),
    Case(
        file="devicemigrations.yaml",
        path=".spec",
        rule="started is set once and stays true",
        accepted=_change(migration(mode="Prepare", started=False), migration(mode="Prepare", started=True)),
        refused=_change(migration(mode="Prepare", started=True), _PREPARE),
    ),
    Case(
        file="devicemigrations.yaml",
        path=".spec",
        rule="outcome is set once and stays as it is",
        accepted=_change(_PREPARE, migration(mode="Prepare", outcome="Succeeded")),
        refused=_change(migration(mode="Prepare", outcome="Failed"), migration(mode="Prepare", outcome="Succeeded")),
    ),
    Case(
        file="devicemigrations.yaml",
        path=".spec",
        rule="started needs mode Prepare: in mode Plan nothing is prepared that a VM could move to",
        accepted=Try(after=migration(mode="Prepare", started=True)),
        refused=Try(after=migration(started=True)),
    ),
    Case(
        file="devicemigrations.yaml",
        path=".spec",
        rule="outcome needs mode Prepare",
        accepted=Try(after=migration(mode="Prepare", outcome="Failed")),
        refused=Try(after=migration(outcome="Failed")),
    ),
    Case(
        file="devicemigrations.yaml",
        path=".spec.source",
        rule="set exactly one of vm, node and explicit",
        accepted=Try(after=migration(source={"node": {"name": "a", "devices": ["i"]}})),
        refused=Try(after=migration(source={"vm": {"name": "vm"}, "node": {"name": "a", "devices": ["i"]}})),
    ),
    Case(
        file="devicemigrations.yaml",
        path=".spec.nodeSelector",
        rule="a key has more than 317 characters",
        accepted=Try(after=migration(nodeSelector={"k" * 317: "v"})),
        refused=Try(after=migration(nodeSelector={"k" * 318: "v"})),
    ),
]

MODELS = [
    Case(
        file="devicemodels.yaml",
        path=".spec",
        rule="model is immutable: create another DeviceModel",
        accepted=_change(model(), model(description="new")),
        refused=_change(model(), model(model="vendor.com/other")),
    ),
    Case(
        file="devicemodels.yaml",
        path=".spec",
        rule="byIdentity takes everything known as a parameter: leave out matches and parameters",
        accepted=Try(after={"spec": {"model": "vendor.com/gpu", "byIdentity": True}}),
        refused=Try(after=model(byIdentity=True)),
    ),
    Case(
        file="devicemodels.yaml",
        path=".spec",
        rule="a match names a parameter that spec.parameters does not define",
        accepted=Try(after=matching()),
        refused=Try(after=matching(name="speed")),
    ),
    Case(
        file="devicemodels.yaml",
        path=".spec.matches[].parameters[].initValue",
        rule="set exactly one of expression and literal",
        accepted=Try(after=matching(initValue={"expression": "'1'"})),
        refused=Try(after=matching(initValue={"expression": "'1'", "literal": "1"})),
    ),
    Case(
        file="devicemodels.yaml",
        path=".spec.matches[].parameters[].allowedValues",
        rule="set exactly one of expression and literals",
        accepted=Try(after=matching(allowedValues={"literals": ["1"]})),
        refused=Try(after=matching(allowedValues={})),
    ),
]

_WITHOUT_TYPE = {"name": "memory", "initValue": "1"}
_FAULTY = _WITHOUT_TYPE | {"schemaError": "type is missing"}
_INCOMPLETE = "a parameter without schemaError needs type and initValue"

PROFILES = [
    Case(
        file="deviceprofiles.yaml",
        path="",
        rule="metadata.name is p- and the content hash of spec: agents create DeviceProfiles, people do not",
        accepted=Try(after=profile() | {"metadata": {"name": random_profile_name()}}),
        refused=Try(after=profile() | {"metadata": {"name": "by-hand"}}),
    ),
    Case(
        file="deviceprofiles.yaml",
        path=".spec",
        rule="a DeviceProfile is immutable: its name is the hash of its content",
        accepted=_change(profile(), profile()),
        refused=_change(profile(), profile(type={"id": "t"})),
    ),
    Case(
        file="deviceprofiles.yaml",
        path=".spec.published.parameters[]",
        rule=_INCOMPLETE,
        accepted=Try(after=profile(published={"model": "m", "parameters": [_FAULTY]})),
        refused=Try(after=profile(published={"model": "m", "parameters": [_WITHOUT_TYPE]})),
    ),
    Case(
        file="deviceprofiles.yaml",
        path=".status.parameters[]",
        rule=_INCOMPLETE,
        accepted=Try(before=profile(), after=profile() | {"status": {"parameters": [_FAULTY]}}, status=True),
        refused=Try(before=profile(), after=profile() | {"status": {"parameters": [_WITHOUT_TYPE]}}, status=True),
    ),
]

NODE_DEVICES = [
    Case(
        file="nodedevices.yaml",
        path=".status.instances[].values",
        rule="a key has more than 255 characters",
        accepted=Try(before={}, after=devices(values={"k" * 255: "v"}), status=True),
        refused=Try(before={}, after=devices(values={"k" * 256: "v"}), status=True),
    ),
    Case(
        file="nodedevices.yaml",
        path=".status.instances[].attributes",
        rule="a key has more than 300 characters",
        accepted=Try(before={}, after=devices(attributes={"k" * 300: "v"}), status=True),
        refused=Try(before={}, after=devices(attributes={"k" * 301: "v"}), status=True),
    ),
]

_ENTRY = ".spec.reservations[]"

NODE_RESERVATIONS = [
    Case(
        file="nodereservations.yaml",
        path="",
        rule="a reservation may go only when its answer is HandedOver, Lost, Removed, Undone",
        accepted=_change(reservations(entry(), state="HandedOver"), reservations()),
        refused=_change(reservations(entry(), state="Prepared"), reservations()),
    ),
    Case(
        file="nodereservations.yaml",
        path=".spec",
        rule="fence never falls: another operator has taken the lead",
        accepted=_change(reservations(fence=7), reservations(fence=7)),
        refused=_change(reservations(fence=7), reservations(fence=6)),
    ),
    Case(
        file="nodereservations.yaml",
        path=".spec",
        rule="an instance is held by at most one PoolMember and one other reservation",
        accepted=Try(
            after=reservations(entry(id="a", role="PoolMember", device=INSTANCE), entry(id="b", device=INSTANCE))
        ),
        refused=Try(after=reservations(source(id="a"), entry(id="b", device=INSTANCE))),
    ),
    Case(
        file="nodereservations.yaml",
        path=".spec",
        rule="the reservations of one group have one owner",
        accepted=Try(after=reservations(entry(id="a"), entry(id="b", group="h", owner=_owner("v")))),
        refused=Try(after=reservations(entry(id="a"), entry(id="b", owner=_owner("v")))),
    ),
    Case(
        file="nodereservations.yaml",
        path=_ENTRY,
        rule="only intent may change in a reservation: take another id for another reservation",
        accepted=_change(reservations(entry()), reservations(entry(intent="HandOver"))),
        refused=_change(reservations(entry()), reservations(entry(values=[]))),
    ),
    Case(
        file="nodereservations.yaml",
        path=_ENTRY,
        rule="intent Hold may become any other, UndoIfUnused may become HandOver or Undo, and nothing else changes",
        accepted=_change(reservations(entry(intent="UndoIfUnused")), reservations(entry(intent="Undo"))),
        refused=_change(reservations(entry(intent="HandOver")), reservations(entry(intent="Undo"))),
    ),
    Case(
        file="nodereservations.yaml",
        path=_ENTRY,
        rule="intent RemoveIfUnused is for role Source",
        accepted=Try(after=reservations(source(intent="RemoveIfUnused"))),
        refused=Try(after=reservations(entry(intent="RemoveIfUnused"))),
    ),
    Case(
        file="nodereservations.yaml",
        path=_ENTRY,
        rule="role Source holds a device.instance",
        accepted=Try(after=reservations(source())),
        refused=Try(after=reservations(source(device=CREATE))),
    ),
    Case(
        file="nodereservations.yaml",
        path=_ENTRY,
        rule="device.slot is for role Destination",
        accepted=Try(after=reservations(entry(device=SLOT))),
        refused=Try(after=reservations(entry(role="PoolMember", device=SLOT))),
    ),
    Case(
        file="nodereservations.yaml",
        path=_ENTRY,
        rule="writeStrategy is Direct for role Source: nothing is switched off on a device whose VM runs",
        accepted=Try(after=reservations(source(writeStrategy="Direct"))),
        refused=Try(after=reservations(source(writeStrategy="OffFirst"))),
    ),
    Case(
        file="nodereservations.yaml",
        path=_ENTRY,
        rule="offValue goes with writeStrategy OffFirst",
        accepted=Try(after=reservations(entry(writeStrategy="OffFirst", values=[{**VALUE, "offValue": "0"}]))),
        refused=Try(after=reservations(entry(writeStrategy="Direct", values=[{**VALUE, "offValue": "0"}]))),
    ),
    Case(
        file="nodereservations.yaml",
        path=f"{_ENTRY}.device",
        rule="set exactly one of create, instance and slot",
        accepted=Try(after=reservations(entry(device=INSTANCE))),
        refused=Try(after=reservations(entry(device={}))),
    ),
    Case(
        file="nodereservations.yaml",
        path=f"{_ENTRY}.device",
        rule="profile goes with instance and with slot (create has its own)",
        accepted=Try(after=reservations(entry(device=SLOT))),
        refused=Try(after=reservations(entry(device={"slot": SLOT["slot"]}))),
    ),
]

_CLASS_RULE = "metadata.name is c- and a content hash: the operator creates CompatibilityClasses, people do not"

CLASSES = [
    Case(
        file="compatibilityclasses.yaml",
        path="",
        rule=_CLASS_RULE,
        accepted=Try(after={"metadata": {"name": random_class_name()}}),
        refused=Try(after={"metadata": {"name": "my-class"}}),
    ),
]

CASES = [*MIGRATIONS, *MODELS, *PROFILES, *NODE_DEVICES, *NODE_RESERVATIONS, *CLASSES]
