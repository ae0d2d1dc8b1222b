"""Carries the steps of a decision out. Each write holds only for the version that was decided from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog

from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import create, delete, get, json_patch, merge_patch
from mdev_api.kube.resources import DEVICE_MIGRATIONS, EVENTS, PODS
from mdev_operator.kubevirt import reasons
from mdev_operator.kubevirt.binding import RESOURCE_ANNOTATION
from mdev_operator.kubevirt.decide import (
    Create,
    Decision,
    DeletePod,
    Explain,
    Forget,
    Sight,
    Start,
    Step,
    Tell,
    Ungate,
)
from mdev_operator.kubevirt.foreign import TARGET_POD_ANNOTATION
from mdev_operator.kubevirt.lookup import VMIM_LABEL, VMIM_NAME_PREFIX
from mdev_operator.kubevirt.ungate import CannotBind, ungate
from mdev_operator.kubevirt.watching import VMIM_ANNOTATION
from mdev_operator.migration.letting_go import SUPERSEDED_BY
from mdev_operator.reservations import Raced, Send

log = structlog.get_logger(__name__)

Object = dict[str, Any]

LABEL_LENGTH = 63


@dataclass(frozen=True, kw_only=True, slots=True)
class Matter:
    """One migration of KubeVirt, and the objects of it as they were read."""

    namespace: str
    name: str
    uid: str
    migration: Object | None
    pod: Object | None


async def carry_out(send: Send, matter: Matter, sight: Sight, decision: Decision) -> None:
    """All steps in their order; raises Raced at the first for which something had changed."""
    for step in decision.steps:
        try:
            await _carry_out(send, matter, sight, step)
        except ApiError as error:
            if not error.conflict:
                raise
            raise Raced(f"{type(step).__name__}: {error.message}", None) from error
        log.info(_said(step), migration=f"{matter.namespace}/{matter.name}", uid=matter.uid)


async def _carry_out(send: Send, matter: Matter, sight: Sight, step: Step) -> None:
    match step:
        case Create():
            await _create(send, matter, sight, step)
        case Start():
            await _start(send, matter)
        case Ungate():
            await _ungate(send, matter, step.node)
        case Explain():
            await _explain(send, sight, step.notes)
        case DeletePod():
            await _delete_pod(send, matter)
        case Tell():
            await _tell(send, matter, step)
        case Forget():
            assert matter.migration is not None
            await _gone_is_fine(send, delete(DEVICE_MIGRATIONS, matter.migration["metadata"]["name"], matter.namespace))


async def _create(send: Send, matter: Matter, sight: Sight, step: Create) -> None:
    assert sight.vmim is not None and sight.pod is not None
    resource = sight.vmi.resource if sight.vmi is not None else None
    # As the pod has it: where the VM has the same key KubeVirt lets the VM win.
    wanted = {k: sight.pod.node_selector[k] for k in sight.vmim.added_node_selector if k in sight.pod.node_selector}
    body = {
        "metadata": {
            "name": f"{VMIM_NAME_PREFIX}{matter.uid}",
            "namespace": matter.namespace,
            "labels": {VMIM_LABEL: matter.name[:LABEL_LENGTH].rstrip("-.")},
            "annotations": {
                VMIM_ANNOTATION: matter.name,
                TARGET_POD_ANNOTATION: sight.pod.name,
                **({RESOURCE_ANNOTATION: resource} if resource else {}),
            },
        },
        "spec": {
            "source": {"vm": {"name": sight.vmim.vmi}},
            "mode": "Prepare",
            "binding": str(step.binding),
            "deadlineSeconds": step.deadline_seconds,
            **({"nodeSelector": wanted} if wanted else {}),
        },
    }
    try:
        await send(create(DEVICE_MIGRATIONS, body, matter.namespace))
    except ApiError as error:
        if not error.already_exists:
            raise
        raise Raced(f"DeviceMigration {VMIM_NAME_PREFIX}{matter.uid} is there already", None) from error


async def _start(send: Send, matter: Matter) -> None:
    assert matter.migration is not None
    meta = matter.migration["metadata"]
    body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "spec": {"started": True}}
    await send(merge_patch(DEVICE_MIGRATIONS, meta["name"], body, matter.namespace))


async def _ungate(send: Send, matter: Matter, node: str) -> None:
    assert matter.pod is not None
    name = matter.pod["metadata"]["name"]
    operations = ungate(matter.pod, node)
    assert not isinstance(operations, CannotBind), operations.message
    try:
        await send(json_patch(PODS, name, operations, matter.namespace))
    except ApiError as error:
        if error.not_found:
            raise Raced(f"pod {matter.namespace}/{name} is gone", None) from error
        if not error.invalid:
            raise
        current = await send(get(PODS, name, matter.namespace))
        if current["metadata"]["resourceVersion"] == matter.pod["metadata"]["resourceVersion"]:
            # Nobody was first: the API server refuses the change itself, and deciding again would ask for the same.
            raise
        raise Raced(f"pod {matter.namespace}/{name} changed meanwhile", None) from error


async def _explain(send: Send, sight: Sight, notes: tuple[str, ...]) -> None:
    if sight.vmim is None:
        return
    for event in reasons.events(sight.vmim, sight.vmi, notes, sight.now):
        try:
            await send(create(EVENTS, event, sight.vmim.namespace))
        except ApiError as error:
            if error.already_exists:
                continue
            if not error.forbidden:
                raise
            # Without the right to tell people there, or in a namespace that is being deleted: the log has to do.
            log.error("an Event was refused", note=event["note"], reason=str(error))


async def _delete_pod(send: Send, matter: Matter) -> None:
    assert matter.pod is not None
    meta = matter.pod["metadata"]
    await _gone_is_fine(send, delete(PODS, meta["name"], matter.namespace, meta["uid"], meta["resourceVersion"]))


async def _tell(send: Send, matter: Matter, step: Tell) -> None:
    assert matter.migration is not None
    body: Object = {"spec": {"outcome": str(step.outcome)}}
    if step.superseded_by is not None:
        body["metadata"] = {"annotations": {SUPERSEDED_BY: step.superseded_by}}
    name = matter.migration["metadata"]["name"]
    await _gone_is_fine(send, merge_patch(DEVICE_MIGRATIONS, name, body, matter.namespace))


async def _gone_is_fine(send: Send, request: Any) -> None:
    try:
        await send(request)
    except ApiError as error:
        if not error.not_found:
            raise


def _said(step: Step) -> str:
    match step:
        case Create():
            return f"a target pod waits: looking for a device, binding {step.binding}"
        case Start():
            return "a device is prepared: started"
        case Ungate():
            return f"gate lifted, bound to node {step.node}"
        case Explain():
            return f"cannot move: {step.notes[0]}"
        case DeletePod():
            return "target pod deleted"
        case Tell():
            return f"outcome {step.outcome}"
        case Forget():
            return "forgotten"
