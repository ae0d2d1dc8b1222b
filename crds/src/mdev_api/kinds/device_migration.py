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
    Value,
    list_map,
    rules,
)
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


class NodeSource(ApiModel):
    """Devices of a node, by mdev UUID or PCI address."""

    name: ObjectName
    devices: Annotated[
        tuple[KernelName, ...], Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})
    ]


class ExplicitValue(ApiModel):
    """One parameter of an explicit source. Without ``offValue`` it cannot be disabled."""

    name: ParameterName
    type: ValueType
    value: Value
    off_value: Value | None = None


class ExplicitDevice(ApiModel):
    """A device that exists nowhere yet: cold placement, tests, other schedulers."""

    name: DeviceHandle
    model: ModelName
    version: Handle | None = None
    values: Annotated[tuple[ExplicitValue, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()


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
    node: NodeSource | None = None
    explicit: (
        Annotated[tuple[ExplicitDevice, ...], Field(min_length=1, max_length=16, json_schema_extra=list_map("name"))]
        | None
    ) = None


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
    mode: Mode
    binding: Binding = Binding.EARLY
    node_selector: Annotated[
        dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]], Field(max_length=16)
    ] = Field(default_factory=dict)
    node_name: ObjectName | None = None
    exclude_nodes: Annotated[
        tuple[ObjectName, ...], Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = ()
    source_policy: SourcePolicy = SourcePolicy.KEEP
    source_adjustment: SourceAdjustment = SourceAdjustment.NEVER
    deadline_seconds: Annotated[int, Field(ge=1, le=86400)] = 600
    prepared_ttl_seconds: Annotated[int, Field(ge=1, le=604800)] = Field(default=600, alias="preparedTTLSeconds")
    started: bool | None = None
    outcome: Outcome | None = None


class MappedDevice(ApiModel):
    """One device of the map that Ready publishes: what moves, and the instance it moves to."""

    name: DeviceHandle
    source: KernelName | None = None
    parent: KernelName
    type: KernelName
    instance: KernelName | None = None
    writes: Annotated[int, Field(ge=0)] = 0


class CandidateSummary(ApiModel):
    """One destination of the ranking, with what would be written and why it stands where it does."""

    node: ObjectName
    parent: KernelName
    type: KernelName
    instance: KernelName | None = None
    writes: Annotated[int, Field(ge=0)] = 0
    why: Message


class RejectionExample(ApiModel):
    """One place where the reason holds."""

    node: ObjectName
    parameter: ParameterName | None = None
    message: Message


class RejectionSummary(ApiModel):
    """One reason why nodes are no destination: how many nodes, and at most three examples."""

    code: Annotated[str, Field(min_length=1, max_length=64)]
    nodes: Annotated[int, Field(ge=0)]
    examples: Annotated[tuple[RejectionExample, ...], Field(max_length=3, json_schema_extra=ATOMIC)] = ()


class Attempt(ApiModel):
    """A destination that was tried and did not become Ready; recorded before it is undone, never tried again."""

    number: Annotated[int, Field(ge=1)]
    node: ObjectName
    parent: KernelName | None = None
    type: KernelName | None = None
    instance: KernelName | None = None
    state: Annotated[str, Field(max_length=64)]
    message: Message


class DeviceMigrationStatus(ApiModel):
    """What is known. Conditions ``Planned``, ``Ready``, ``Overdue``, ``Finished``."""

    conditions: Conditions = ()
    node: ObjectName | None = None
    devices: Annotated[tuple[MappedDevice, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    candidates: Annotated[tuple[CandidateSummary, ...], Field(max_length=10, json_schema_extra=ATOMIC)] = ()
    rejected: Annotated[tuple[RejectionSummary, ...], Field(max_length=32, json_schema_extra=ATOMIC)] = ()
    attempts: Annotated[tuple[Attempt, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()


class DeviceMigration(ApiObject):
    """Where the devices of one VM are to go: plan it, have the destination prepared, tell the outcome."""

    kind: str = "DeviceMigration"
    spec: DeviceMigrationSpec
    status: DeviceMigrationStatus = DeviceMigrationStatus()
