"""NodeReservations: the instructions to one node (spec, the operator's) and what came of them (status, the agent's).

An entry or object that is missing means Hold, never Undo: no lost cache, deleted object or half-done upgrade removes a
running VM's device. The spec is written only as a compare-and-swap (JSON patch with a ``test`` on
``metadata.generation``), so two operators cannot both take the last device.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mdev_api.engine.metadata import ValueType
from mdev_api.kinds.common import (
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
from mdev_api.kinds.device_model import WriteStrategy
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
    type: KernelName
    profile: ProfileName


class SlotRequest(ApiModel):
    """One device of an extended resource, whichever the kubelet picks (binding Late)."""

    resource: Annotated[str, Field(min_length=1, max_length=253)]


class Device(ApiModel):
    """Which device: a new one, one that exists (with the profile it must have), or a slot."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.create), has(self.instance), has(self.slot)].filter(x, x).size() == 1",
                "set exactly one of create, instance and slot",
            ),
            ("has(self.profile) == has(self.instance)", "profile goes with instance (create has its own)"),
        )
    )

    create: Create | None = None
    instance: KernelName | None = None
    profile: ProfileName | None = None
    slot: SlotRequest | None = None


class Owner(ApiModel):
    """The object that the device is held for."""

    kind: Annotated[str, Field(min_length=1, max_length=63)]
    namespace: Annotated[str, Field(max_length=63)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=253)]
    uid: Uid


class DesiredValue(TypedValue):
    """The value that a parameter is to have, and the file of the instance that holds it."""

    attribute: Attribute


class Entry(ApiModel):
    """One reservation. Everything but ``intent`` is immutable."""

    id: ReservationId
    role: Role
    intent: Intent = Intent.HOLD
    group: ReservationId
    owner: Owner
    boot_id: BootId = Field(alias="bootID")
    device: Device
    values: Annotated[tuple[DesiredValue, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    write_strategy: WriteStrategy = WriteStrategy.DIRECT


class NodeReservationsSpec(ApiModel):
    """The instructions. ``fence``: the Lease transitions of the operator that wrote last; never falls."""

    fence: Annotated[int, Field(ge=0)] = 0
    reservations: Annotated[tuple[Entry, ...], Field(max_length=16, json_schema_extra=list_map("id"))] = ()


class ValueWrite(ApiModel):
    """A value that was changed. An undo goes through these backwards."""

    name: ParameterName
    type: ValueType
    attribute: Attribute
    from_value: Value = Field(alias="from")
    to: Value


class Failure(ApiModel):
    """What stopped the agent: the first error, never one of the undo that followed."""

    reason: FailureReason
    step: Step | None = None
    parameter: ParameterName | None = None
    errno: Annotated[str, Field(max_length=32)] | None = None
    message: Message


class EntryAnswer(ApiModel):
    """What came of one entry."""

    id: ReservationId
    state: State
    waiting: Waiting | None = None
    instance: KernelName | None = None
    created: bool | None = None
    values: Annotated[tuple[TypedValue, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    writes: Annotated[tuple[ValueWrite, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    digest: Annotated[str, Field(max_length=80)] | None = None
    failure: Failure | None = None


class NodeReservationsStatus(ApiModel):
    """The agent's answers, for as long as the entries stand."""

    boot_id: BootId | None = Field(default=None, alias="bootID")
    reservations: Annotated[tuple[EntryAnswer, ...], Field(max_length=32, json_schema_extra=list_map("id"))] = ()


class NodeReservations(ApiObject):
    """What one node's agent is to prepare, keep, hand over or undo, and its answers."""

    kind: str = "NodeReservations"
    spec: NodeReservationsSpec = NodeReservationsSpec()
    status: NodeReservationsStatus | None = None

    def answer(self, entry_id: str) -> EntryAnswer | None:
        """The agent's answer to the entry of this id."""
        answers = self.status.reservations if self.status else ()
        return next((a for a in answers if a.id == entry_id), None)
