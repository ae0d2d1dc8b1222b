"""NodeReservations: the instructions to one node (spec, the operator's) and what came of them (status, the agent's).

An entry or object that is missing means Hold, never Undo: no lost cache, deleted object or half-done upgrade removes a
running VM's device. The spec is written only as a compare-and-swap (JSON patch with a ``test`` on
``metadata.generation``), so two operators cannot both take the last device.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mdev_api.engine.metadata import ValueType, WriteStrategy
from mdev_api.kinds.common import (
    ATOMIC,
    KEEP_DEFAULT,
    ApiModel,
    ApiObject,
    Attribute,
    KernelName,
    Message,
    ParameterName,
    ProfileName,
    Uid,
    Value,
    list_map,
    rules,
)
from mdev_api.kinds.node_devices import BootId
from mdev_api.kinds.values import TypedValue

ReservationId = Annotated[str, Field(min_length=1, max_length=96, pattern=r"^[a-z0-9][a-z0-9.-]*$")]


class Role(StrEnum):
    """What the device is held for."""

    DESTINATION = "Destination"
    SOURCE = "Source"
    POOL_MEMBER = "PoolMember"


class Intent(StrEnum):
    """What the agent is to do; the only member of an entry that changes (api.md has the table)."""

    HOLD = "Hold"
    HAND_OVER = "HandOver"
    UNDO = "Undo"
    UNDO_IF_UNUSED = "UndoIfUnused"
    REMOVE_IF_UNUSED = "RemoveIfUnused"


class State(StrEnum):
    """The agent's answer."""

    PENDING = "Pending"
    PREPARED = "Prepared"
    FAILED = "Failed"
    HANDED_OVER = "HandedOver"
    UNDONE = "Undone"
    REMOVED = "Removed"
    TAINTED = "Tainted"
    LOST = "Lost"


FINAL_STATES = frozenset({State.HANDED_OVER, State.UNDONE, State.REMOVED, State.LOST})
"""States after which the operator may remove the entry (a root CEL rule enforces it)."""


class Waiting(StrEnum):
    """Why an undo or a removal does not go on."""

    IN_USE = "InUse"
    IN_USE_UNKNOWN = "InUseUnknown"
    REMOVE_BLOCKED = "RemoveBlocked"


class FailureReason(StrEnum):
    """Why a reservation could not be prepared or undone."""

    NODE_REBOOTED = "NodeRebooted"
    PROFILE_CHANGED = "ProfileChanged"
    NO_CAPACITY = "NoCapacity"
    REFUSED = "Refused"
    READBACK_MISMATCH = "ReadbackMismatch"
    DEADLINE = "Deadline"
    CONFLICT = "Conflict"
    JOURNAL_FAILED = "JournalFailed"
    INVALID = "Invalid"


class Step(StrEnum):
    """What the agent was doing."""

    CREATE = "Create"
    WRITE = "Write"
    READ_BACK = "ReadBack"
    UNDO = "Undo"
    REMOVE = "Remove"


class Create(ApiModel):
    """A new instance of an offer."""

    parent: KernelName
    """The device to make it from."""
    type: KernelName
    """The type to make."""
    profile: ProfileName
    """The DeviceProfile that the offer must have."""


class SlotRequest(ApiModel):
    """One device of an extended resource, whichever the kubelet picks (binding Late)."""

    resource: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the extended resource."""


class Device(ApiModel):
    """Which device: a new one, one that exists, or a slot; the latter two with the profile that it must have."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.create), has(self.instance), has(self.slot)].filter(x, x).size() == 1",
                "set exactly one of create, instance and slot",
            ),
            (
                "has(self.profile) == (has(self.instance) || has(self.slot))",
                "profile goes with instance and with slot (create has its own)",
            ),
        )
    )

    create: Create | None = None
    """Make a new instance."""
    instance: KernelName | None = None
    """Take this instance: mdev UUID or PCI address."""
    profile: ProfileName | None = None
    """The DeviceProfile that the instance must have; of a slot: that every free device of the resource must have."""
    slot: SlotRequest | None = None
    """Hold one device of an extended resource."""


class Owner(ApiModel):
    """The object that the device is held for."""

    kind: Annotated[str, Field(min_length=1, max_length=63)]
    """Kind of the object."""
    namespace: Annotated[str, Field(max_length=63)] | None = None
    """Its namespace, if it has one."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Its name."""
    uid: Uid
    """Its UID."""


class DesiredValue(TypedValue):
    """The value that a parameter is to have, and the file of the instance that holds it.

    ``offValue``: what is written before all values where the write strategy is OffFirst.
    """

    attribute: Attribute
    """The file of the instance that holds the value, relative to the instance."""
    off_value: Value | None = None
    """The value that switches the parameter off, written before all others with the write strategy OffFirst."""


_SAME_BUT_INTENT = " && ".join(
    (
        *(f"self.{member} == oldSelf.{member}" for member in ("role", "group", "owner", "bootID", "device")),
        "self.writeStrategy == oldSelf.writeStrategy",
        "has(self.values) == has(oldSelf.values) && (!has(self.values) || self.values == oldSelf.values)",
    )
)


class Entry(ApiModel):
    """One reservation. Everything but ``intent`` is immutable."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (_SAME_BUT_INTENT, "only intent may change in a reservation: take another id for another reservation"),
            (
                "self.intent == oldSelf.intent || oldSelf.intent == 'Hold'"
                " || (oldSelf.intent == 'UndoIfUnused' && self.intent in ['HandOver', 'Undo'])",
                "intent Hold may become any other, UndoIfUnused may become HandOver or Undo, and nothing else changes",
            ),
            ("self.intent != 'RemoveIfUnused' || self.role == 'Source'", "intent RemoveIfUnused is for role Source"),
            ("self.role != 'Source' || has(self.device.instance)", "role Source holds a device.instance"),
            ("self.role == 'Destination' || !has(self.device.slot)", "device.slot is for role Destination"),
            (
                "self.role != 'Source' || self.writeStrategy == 'Direct'",
                "writeStrategy is Direct for role Source: nothing is switched off on a device whose VM runs",
            ),
            (
                "self.writeStrategy == 'OffFirst' || !has(self.values) || self.values.all(v, !has(v.offValue))",
                "offValue goes with writeStrategy OffFirst",
            ),
        )
    )

    id: ReservationId
    """Name of the entry; the UUID of a new device is made from it."""
    role: Role
    """What the device is held for: Destination, Source or PoolMember."""
    intent: Intent = Intent.HOLD
    """What the agent is to do: Hold, HandOver, Undo, UndoIfUnused or RemoveIfUnused."""
    group: ReservationId
    """Entries of one group are prepared all or none."""
    owner: Owner
    """The object that the device is held for."""
    boot_id: BootId = Field(alias="bootID")
    """The boot of the node that this was decided for."""
    device: Device
    """Which device."""
    values: Annotated[tuple[DesiredValue, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """The value that every parameter with a file is to have; of a source, those that are to be changed."""
    write_strategy: WriteStrategy = WriteStrategy.DIRECT
    """How values are written."""


class NodeReservationsSpec(ApiModel):
    """The instructions. ``fence``: the Lease transitions of the operator that wrote last; never falls."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.fence >= oldSelf.fence", "fence never falls: another operator has taken the lead"),
            (
                "!has(self.reservations) || self.reservations.all(r, !has(r.device.instance)"
                " || self.reservations.exists_one(o, has(o.device.instance) && o.device.instance == r.device.instance"
                " && (o.role == 'PoolMember') == (r.role == 'PoolMember')))",
                "an instance is held by at most one PoolMember and one other reservation",
            ),
            (
                "!has(self.reservations) || self.reservations.all(r,"
                " self.reservations.all(o, o.group != r.group || o.owner.uid == r.owner.uid))",
                "the reservations of one group have one owner",
            ),
        )
    )

    fence: Annotated[int, Field(ge=0)] = 0
    """Lease transitions of the operator that wrote last; never falls."""
    reservations: Annotated[
        tuple[Entry, ...], Field(max_length=16, json_schema_extra=list_map("id") | KEEP_DEFAULT)
    ] = ()
    """The devices that are held."""


class ValueWrite(ApiModel):
    """A value that was changed. An undo goes through these backwards."""

    name: ParameterName
    """Name of the parameter."""
    type: ValueType
    """How the texts are to be read."""
    attribute: Attribute
    """The file that was written, relative to the instance."""
    from_value: Value = Field(alias="from")
    """The value before."""
    to: Value
    """The value written."""


class Failure(ApiModel):
    """What stopped the agent: the first error, never one of the undo that followed."""

    reason: FailureReason
    """Why, as one word for programs."""
    step: Step | None = None
    """What the agent was doing."""
    parameter: ParameterName | None = None
    """The parameter that it was about."""
    errno: Annotated[str, Field(max_length=32)] | None = None
    """The kernel's error, such as ENOSPC."""
    message: Message
    """What happened, for people."""


class EntryAnswer(ApiModel):
    """What came of one entry."""

    id: ReservationId
    """The entry that this answers."""
    state: State
    """How far the agent is."""
    waiting: Waiting | None = None
    """Why an undo or a removal does not go on."""
    instance: KernelName | None = None
    """The device: mdev UUID or PCI address."""
    created: bool | None = None
    """Whether the agent created it for this entry."""
    values: Annotated[tuple[TypedValue, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """The values as read back."""
    writes: Annotated[tuple[ValueWrite, ...], Field(max_length=128, json_schema_extra=ATOMIC)] = ()
    """What was written, in order (OffFirst may write a parameter twice); an undo goes through it backwards."""
    digest: Annotated[str, Field(max_length=80)] | None = None
    """Digest of the source device's reading, kept current while the entry stands."""
    failure: Failure | None = None
    """What stopped the agent."""


class NodeReservationsStatus(ApiModel):
    """The agent's answers, for as long as the entries stand."""

    boot_id: BootId | None = Field(default=None, alias="bootID")
    """The boot that these answers are of."""
    reservations: Annotated[tuple[EntryAnswer, ...], Field(max_length=32, json_schema_extra=list_map("id"))] = ()
    """One answer for each entry."""


_FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL_STATES))


class NodeReservations(ApiObject):
    """What one node's agent is to prepare, keep, hand over or undo, and its answers."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(oldSelf.spec.reservations) || oldSelf.spec.reservations.all(o,"
                " (has(self.spec.reservations) && self.spec.reservations.exists(n, n.id == o.id))"
                " || (has(oldSelf.status) && has(oldSelf.status.reservations)"
                f" && oldSelf.status.reservations.exists(a, a.id == o.id && a.state in [{_FINAL}])))",
                f"a reservation may go only when its answer is {_FINAL.replace(chr(39), '')}",
            )
        )
    )

    kind: str = "NodeReservations"
    spec: NodeReservationsSpec = NodeReservationsSpec()
    """The instructions, written by the operator."""
    status: NodeReservationsStatus | None = None
    """The answers, written by the node's agent."""

    def answer(self, entry_id: str) -> EntryAnswer | None:
        """The agent's answer to the entry of this id."""
        answers = self.status.reservations if self.status else ()
        return next((a for a in answers if a.id == entry_id), None)
