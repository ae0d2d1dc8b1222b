"""DeviceMigration: where the devices of one VM are to go, and what is known of it.

Written by a user, a scheduler or the KubeVirt adapter; the status is the operator's. Whoever moves the VM says
``started`` and later ``outcome``: both are set once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mdev_api.engine.metadata import ValueType
from mdev_api.kinds.common import (
    ATOMIC,
    ApiModel,
    ApiObject,
    Conditions,
    KernelName,
    Message,
    ModelName,
    ObjectName,
    ParameterName,
    ProfileName,
    Value,
    keys_up_to,
    list_map,
    rules,
)
from mdev_api.kinds.compatibility_class import ClassName
from mdev_api.kinds.device_model import Handle

DeviceHandle = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
"""Name of one device of a migration: explicit names are the user's; those of a node source are ``device-0``..."""


class Mode(StrEnum):
    """``Plan`` answers and follows the cluster; ``Prepare`` also reserves and prepares."""

    PLAN = "Plan"
    PREPARE = "Prepare"


class Binding(StrEnum):
    """When the device is chosen: by us before Ready, or by the kubelet among those that exist."""

    EARLY = "Early"
    LATE = "Late"


class SourcePolicy(StrEnum):
    """What happens to the source device after success. ``Remove`` removes only what this project created."""

    KEEP = "Keep"
    REMOVE = "Remove"


class SourceAdjustment(StrEnum):
    """Whether a runtime-writable parameter of the running source may be changed to make a destination fit."""

    NEVER = "Never"
    IF_NEEDED = "IfNeeded"


class Outcome(StrEnum):
    """How the move of the VM ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class VmSource(ApiModel):
    """A VirtualMachineInstance of this namespace."""

    name: ObjectName
    """Name of the VirtualMachineInstance."""


class NodeSource(ApiModel):
    """Devices of a node, by mdev UUID or PCI address."""

    name: ObjectName
    """Name of the node."""
    devices: Annotated[
        tuple[KernelName, ...], Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})
    ]
    """mdev UUIDs or PCI addresses."""


class ExplicitValue(ApiModel):
    """One parameter of an explicit source. Without ``offValue`` it cannot be disabled."""

    name: ParameterName
    """Name of the parameter."""
    type: ValueType
    """Its type: bool, int or str."""
    value: Value
    """The value that the destination must have."""
    off_value: Value | None = None
    """The value that switches the parameter off; without one it cannot be disabled."""


class ExplicitDevice(ApiModel):
    """A device that exists nowhere yet: cold placement, tests, other schedulers."""

    name: DeviceHandle
    """Name of the device in this migration."""
    model: ModelName
    """The device model."""
    version: Handle | None = None
    """A version that the DeviceModel defines: an alias for a value of each parameter."""
    values: Annotated[tuple[ExplicitValue, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """The parameters and their values; beside a version, those that are to be other than it says."""


class Source(ApiModel):
    """What is to move: exactly one of these."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.vm), has(self.node), has(self.explicit)].filter(x, x).size() == 1",
                "set exactly one of vm, node and explicit",
            )
        )
    )

    vm: VmSource | None = None
    """A VirtualMachineInstance of this namespace."""
    node: NodeSource | None = None
    """Devices of a node."""
    explicit: (
        Annotated[tuple[ExplicitDevice, ...], Field(min_length=1, max_length=16, json_schema_extra=list_map("name"))]
        | None
    ) = None
    """Devices that exist nowhere yet."""


_PLANNING_IS_OVER = "once mode is Prepare only started, outcome and sourcePolicy may change"


class DeviceMigrationSpec(ApiModel):
    """What is asked for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.source == oldSelf.source", "source is immutable: create another DeviceMigration"),
            (
                "self.mode == oldSelf.mode || oldSelf.mode == 'Plan'",
                "mode Plan may become Prepare, never back: delete the DeviceMigration to give it up",
            ),
            (
                "oldSelf.mode == 'Plan' || (self.binding == oldSelf.binding"
                " && self.sourceAdjustment == oldSelf.sourceAdjustment"
                " && self.deadlineSeconds == oldSelf.deadlineSeconds"
                " && self.preparedTTLSeconds == oldSelf.preparedTTLSeconds"
                " && has(self.nodeName) == has(oldSelf.nodeName)"
                " && (!has(self.nodeName) || self.nodeName == oldSelf.nodeName)"
                " && has(self.nodeSelector) == has(oldSelf.nodeSelector)"
                " && (!has(self.nodeSelector) || self.nodeSelector == oldSelf.nodeSelector)"
                " && has(self.excludeNodes) == has(oldSelf.excludeNodes)"
                " && (!has(self.excludeNodes) || self.excludeNodes == oldSelf.excludeNodes))",
                _PLANNING_IS_OVER,
            ),
            (
                "!has(oldSelf.started) || !oldSelf.started || (has(self.started) && self.started)",
                "started is set once and stays true",
            ),
            (
                "!has(oldSelf.outcome) || (has(self.outcome) && self.outcome == oldSelf.outcome)",
                "outcome is set once and stays as it is",
            ),
            (
                "!has(self.started) || !self.started || self.mode == 'Prepare'",
                "started needs mode Prepare: in mode Plan nothing is prepared that a VM could move to",
            ),
            ("!has(self.outcome) || self.mode == 'Prepare'", "outcome needs mode Prepare"),
        )
    )

    source: Source
    """What is to move; immutable."""
    mode: Mode
    """Plan answers and follows the cluster; Prepare also reserves and prepares. Plan may become Prepare."""
    binding: Binding = Binding.EARLY
    """Early: the device is named at Ready. Late: the kubelet picks among devices that exist."""
    node_selector: Annotated[
        dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]],
        Field(max_length=16, json_schema_extra=keys_up_to(317)),
    ] = Field(default_factory=dict)
    """Labels that a destination node must have."""
    node_name: ObjectName | None = None
    """The only node that may be the destination."""
    exclude_nodes: Annotated[
        tuple[ObjectName, ...], Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = ()
    """Nodes that must not be the destination."""
    source_policy: SourcePolicy = SourcePolicy.KEEP
    """What happens to the source device after success; Remove removes only what this project created."""
    source_adjustment: SourceAdjustment = SourceAdjustment.NEVER
    """Whether a runtime-writable parameter of the running source may be changed to make a destination fit."""
    deadline_seconds: Annotated[int, Field(ge=1, le=86400)] = 600
    """Seconds from mode Prepare to Ready, after which the migration is given up."""
    prepared_ttl_seconds: Annotated[int, Field(ge=1, le=604800)] = Field(default=600, alias="preparedTTLSeconds")
    """Seconds from Ready to started, after which the destination is undone."""
    started: bool | None = None
    """Set to true, once, by whoever moves the VM, before it moves. If the object is Ready in the answer to that write,
    what was prepared stays until the outcome is set; if not, the VM must not move, and the outcome is Failed.
    """
    outcome: Outcome | None = None
    """How the move ended; set once."""


class Adjustment(ApiModel):
    """A parameter that the running source is given another value of first, so that a destination fits."""

    name: ParameterName
    """Name of the parameter."""
    from_value: Value = Field(alias="from")
    """The source's value before; it is written back unless the outcome is Succeeded."""
    to: Value
    """The value that it is given."""


class MappedDevice(ApiModel):
    """One device of the map: what moves, and from Ready on where to. Its class is there as soon as it could be read."""

    name: DeviceHandle
    """Name of the device in this migration."""
    source: KernelName | None = None
    """The device that moves."""
    device_class: ClassName | None = Field(default=None, alias="class")
    """The CompatibilityClass of the device: all devices of one class have the same destinations."""
    parent: KernelName | None = None
    """The destination's parent device; from Ready on, unless the kubelet picks among devices of several parents."""
    type: KernelName | None = None
    """The destination's type; from Ready on."""
    instance: KernelName | None = None
    """The destination device: mdev UUID or PCI address. With binding Late absent until the kubelet has picked it."""
    writes: Annotated[int, Field(ge=0)] = 0
    """How many values are written to it."""
    adjustments: Annotated[tuple[Adjustment, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """What is changed on the running source first (spec.sourceAdjustment IfNeeded)."""


class CandidateDevice(ApiModel):
    """Where one of several devices would go."""

    name: DeviceHandle
    """Name of the device in this migration."""
    parent: KernelName | None = None
    """The parent device."""
    type: KernelName
    """The type."""
    instance: KernelName | None = None
    """The idle device that would be taken; absent: one would be made."""
    writes: Annotated[int, Field(ge=0)] = 0
    """How many values would be written."""


class CandidateSummary(ApiModel):
    """One destination of the ranking, with what would be written and why it stands where it does."""

    node: ObjectName
    """The node."""
    parent: KernelName | None = None
    """The parent device; absent where the kubelet picks among devices of several parents, and for several devices."""
    type: KernelName | None = None
    """The type; absent for several devices."""
    instance: KernelName | None = None
    """The idle device that would be taken; absent: one would be made, or the kubelet picks one (binding Late)."""
    devices: Annotated[tuple[CandidateDevice, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """Where each device would go, if several move together."""
    writes: Annotated[int, Field(ge=0)] = 0
    """How many values would be written, to all devices together."""
    why: Message
    """Why it stands where it does in the ranking."""


class RejectionExample(ApiModel):
    """One place where the reason holds."""

    node: ObjectName
    """The node."""
    parameter: ParameterName | None = None
    """The parameter that it is about."""
    message: Message
    """What is wrong there."""


class RejectionSummary(ApiModel):
    """One reason why nodes are no destination: how many nodes, and at most three examples."""

    code: Annotated[str, Field(min_length=1, max_length=64)]
    """The reason, as one word for programs."""
    nodes: Annotated[int, Field(ge=0)]
    """How many nodes it holds for."""
    examples: Annotated[tuple[RejectionExample, ...], Field(max_length=3, json_schema_extra=ATOMIC)] = ()
    """At most three of them."""


class FailedPlace(ApiModel):
    """Where one more of several devices of an attempt failed."""

    parent: KernelName | None = None
    """The parent device."""
    type: KernelName | None = None
    """The type."""
    profile: ProfileName | None = None
    """The profile."""
    instance: KernelName | None = None
    """The device: mdev UUID or PCI address."""


class Attempt(ApiModel):
    """A destination that was tried and did not become Ready; recorded before it is undone, never tried again."""

    number: Annotated[int, Field(ge=1)]
    """Which attempt, from 1."""
    node: ObjectName
    """The node."""
    parent: KernelName | None = None
    """The parent device."""
    type: KernelName | None = None
    """The type."""
    profile: ProfileName | None = None
    """The profile: others of the same type may still be tried. Absent: the whole type counts as tried."""
    instance: KernelName | None = None
    """The device: mdev UUID or PCI address."""
    others: Annotated[tuple[FailedPlace, ...], Field(max_length=15, json_schema_extra=ATOMIC)] = ()
    """The places of the other devices that failed in it, on the same node."""
    state: Annotated[str, Field(max_length=64)]
    """How it ended."""
    message: Message
    """Why, for people."""


class DeviceMigrationStatus(ApiModel):
    """What is known. Conditions ``Planned``, ``Ready``, ``Overdue``, ``ConflictingManager``, ``Finished``."""

    conditions: Conditions = ()
    """Planned, Ready, Overdue, Finished. ConflictingManager: places are left out because another program would remove
    the devices there; the message says what to configure.
    """
    node: ObjectName | None = None
    """The destination node."""
    devices: Annotated[tuple[MappedDevice, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """Which device goes where."""
    candidates: Annotated[tuple[CandidateSummary, ...], Field(max_length=10, json_schema_extra=ATOMIC)] = ()
    """The best destinations, best first."""
    rejected: Annotated[tuple[RejectionSummary, ...], Field(max_length=32, json_schema_extra=ATOMIC)] = ()
    """Why the other nodes are no destination."""
    attempts: Annotated[tuple[Attempt, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Destinations that were tried and failed."""


class DeviceMigration(ApiObject):
    """Where the devices of one VM are to go: plan it, have the destination prepared, tell the outcome."""

    kind: str = "DeviceMigration"
    spec: DeviceMigrationSpec
    """What is asked for."""
    status: DeviceMigrationStatus = DeviceMigrationStatus()
    """What is known."""
