"""What is to be done when virt-handler is about to let a migration in: pure.

The VirtualMachineInstance names the migration and its target pod, the kubelet's view names what that pod has, and the
reservations of this node name what was promised to the migration. A VM without a device of this node is none of our
business. One with such a device needs a reservation that stands: without it nobody has compared the device with the
one that the VM leaves, so the migration must not begin.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from mdev_api.kinds.node_reservations import Entry, EntryAnswer, Intent, Role, State
from mdev_node_agent.kubelet.serving import Pod, Served, Service

ADAPTER_PREFIX = "vmim-"
"""The operator names the DeviceMigration of a VirtualMachineInstanceMigration by its UID behind this."""


class VmiError(Exception):
    """What virt-handler sent is no VirtualMachineInstance that can be understood; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vmi:
    """What is read of a VirtualMachineInstance. ``resources``: extended resources of its gpus and host devices."""

    namespace: str
    name: str
    resources: frozenset[str] = frozenset()
    migration_uid: str = ""
    target_pod: str = ""

    @property
    def pod(self) -> Pod:
        """The target pod."""
        return Pod(namespace=self.namespace, name=self.target_pod)


class Code(Enum):
    """Names of gRPC's status codes."""

    UNAVAILABLE = "UNAVAILABLE"
    """It may be different in a moment: virt-handler tries again."""
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    """It stays so for this migration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refuse:
    """Fail the hook."""

    code: Code
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bind:
    """Bind this slot reservation to the instance that the pod has."""

    entry: str
    instance: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """Nothing to be done. ``why`` for the log."""

    why: str


Decision: TypeAlias = Refuse | Bind | Pass


def vmi_of(raw: bytes) -> Vmi:
    """The members that count. VmiError."""
    try:
        obj = json.loads(raw)
        metadata, devices = obj["metadata"], obj["spec"]["domain"].get("devices") or {}
        named = [*(devices.get("gpus") or ()), *(devices.get("hostDevices") or ())]
        state: Mapping[str, Any] = (obj.get("status") or {}).get("migrationState") or {}
        return Vmi(
            namespace=str(metadata["namespace"]),
            name=str(metadata["name"]),
            resources=frozenset(str(device["deviceName"]) for device in named if device.get("deviceName")),
            migration_uid=str(state.get("migrationUid") or ""),
            target_pod=str(state.get("targetPod") or ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VmiError(f"the VirtualMachineInstance cannot be understood: {type(error).__name__}: {error}") from None


def decide(
    vmi: Vmi, service: Service, entries: Iterable[Entry], answers: Mapping[str, EntryAnswer], *, known: bool
) -> list[Decision]:
    """What to do for a VM that asks for devices: one decision for each that the target pod has of this node.

    ``known``: the API server has said which reservations stand.
    """
    if not vmi.migration_uid or not vmi.target_pod:
        return [_later(f"VirtualMachineInstance {vmi.namespace}/{vmi.name} names no migration and target pod yet")]
    own = [entry for entry in entries if _is_for(entry, vmi)]
    served = service.of_pod(vmi.pod)
    if not served:
        return [_nothing_served(vmi, service, own)]
    if not known:
        return [_later("the API server has not told this node's agent yet which reservations stand")]
    return [_about(vmi, device, own, answers) for device in served]


def _is_for(entry: Entry, vmi: Vmi) -> bool:
    owner = entry.owner
    name = f"{ADAPTER_PREFIX}{vmi.migration_uid}"
    return entry.role is Role.DESTINATION and (owner.namespace, owner.name) == (vmi.namespace, name)


def _nothing_served(vmi: Vmi, service: Service, own: list[Entry]) -> Decision:
    pod = f"pod {vmi.namespace}/{vmi.target_pod}"
    if not service.current:
        return _later(service.fault or f"the kubelet does not say now which devices {pod} has")
    ours = {slots.resource for slots in service.slots}
    if asked := sorted(vmi.resources & ours):
        return _later(f"{pod} is to have a device of {', '.join(asked)}, and the kubelet names none yet")
    if any(entry.intent is Intent.HOLD for entry in own):
        return _later(f"a device is reserved for {pod}, and the kubelet names none of this node")
    return Pass(why=f"{pod} has no device of this node")


def _about(vmi: Vmi, device: Served, own: list[Entry], answers: Mapping[str, EntryAnswer]) -> Decision:
    what = f"device {device.instance} ({device.resource}) of pod {vmi.namespace}/{vmi.target_pod}"
    standing = [entry for entry in own if entry.intent in (Intent.HOLD, Intent.HAND_OVER)]
    if not standing:
        why = "its reservations are being given up" if own else "the pod's scheduling gate was bypassed"
        return _never(f"{what}: nothing is reserved on this node for migration {vmi.migration_uid}: {why}")
    for entry in standing:
        answer = answers.get(entry.id)
        if answer is not None and answer.instance == device.instance:
            if answer.state in (State.PREPARED, State.HANDED_OVER):
                return Pass(why=f"{what} is prepared")
            return _failed(what, entry, answer)
    slots = [e for e in standing if e.device.slot is not None and e.device.slot.resource == device.resource]
    for entry in slots:
        answer = answers.get(entry.id)
        if entry.intent is Intent.HOLD and (answer is None or answer.instance is None):
            return Bind(entry=entry.id, instance=device.instance)
    promised = sorted({_promised(entry, answers.get(entry.id)) for entry in standing})
    return _never(f"{what} is not what is reserved for this migration: {', '.join(promised)}")


def _failed(what: str, entry: Entry, answer: EntryAnswer) -> Decision:
    if answer.failure is not None:
        return _never(f"{what}: {answer.failure.reason}: {answer.failure.message}")
    return _later(f"{what}: reservation {entry.id} is {answer.state}")


def _promised(entry: Entry, answer: EntryAnswer | None) -> str:
    if answer is not None and answer.instance is not None:
        return f"device {answer.instance}"
    if entry.device.slot is not None:
        return f"a device of {entry.device.slot.resource}"
    return f"the device of reservation {entry.id}"


def _later(message: str) -> Refuse:
    return Refuse(code=Code.UNAVAILABLE, message=message)


def _never(message: str) -> Refuse:
    return Refuse(code=Code.FAILED_PRECONDITION, message=message)
