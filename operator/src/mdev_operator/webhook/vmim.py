"""The early word on a VirtualMachineInstanceMigration: refused with the reason when no node could ever take its device.

Optional, and never in the way: whatever is not known here (the VM, its device, our own caches) is let through, because
the gate on the target pod decides in the end. A VM without a device of ours is none of our business. When the device's
class has a node label, it is added to ``addedNodeSelector`` beside the user's own keys, which are never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kube.client import ApiError, Unreachable
from mdev_api.kube.requests import get, list_page
from mdev_api.kube.resources import PODS
from mdev_operator.inventory.cluster import Cluster
from mdev_operator.kubevirt.objects import VMIS
from mdev_operator.kubevirt.vm import CREATED_BY, vm_view
from mdev_operator.migration.source import NoSource, SourceDevice, read_sources
from mdev_operator.reservations import Send
from mdev_operator.webhook.destinations import outlook
from mdev_operator.webhook.review import ALLOWED, Review, Verdict
from mdev_operator.webhook.server import Judge

log = structlog.get_logger(__name__)


def judge_migrations(send: Send, cluster: Callable[[], Cluster | None]) -> Judge:
    """``cluster()``: as it is known now; None before everything was listed once."""

    async def judge(review: Review) -> Verdict:
        known = cluster()
        if known is None:
            return ALLOWED
        try:
            vmi = await send(get(VMIS, str(review.object["spec"]["vmiName"]), review.namespace))
            pods = await send(
                list_page(
                    PODS,
                    namespace=review.namespace,
                    limit=None,
                    label_selector=f"{CREATED_BY}={vmi['metadata']['uid']}",
                )
            )
        except (ApiError, Unreachable, KeyError, ValueError) as error:
            log.info("a VM's migration is let through unseen", namespace=review.namespace, why=repr(error))
            return ALLOWED
        return decide(review.object, vmi, pods["items"], known)

    return judge


def decide(vmim: Mapping[str, Any], vmi: Mapping[str, Any], pods: list[Mapping[str, Any]], cluster: Cluster) -> Verdict:
    """The word on this migration of this VM."""
    spec = vmim.get("spec") or {}
    if spec.get("sendTo") or spec.get("receive"):
        return ALLOWED  # To or from another cluster: ours says nothing about it.
    source = _source(vmi, pods, cluster)
    if source is None:
        return ALLOWED
    added = spec.get("addedNodeSelector") or {}
    # KubeVirt writes the VM's own selector over the added one.
    selector = {**added, **((vmi.get("spec") or {}).get("nodeSelector") or {})}
    found = outlook(cluster, source, selector)
    name = vmi["metadata"]["name"]
    if found.hopeless is not None:
        return Verdict(refusal=f"mdev-operator: VM {name} with device {source.instance}: {found.hopeless}")
    if found.label is None or found.label in added:
        return ALLOWED
    return Verdict(patch=_adding(found.label, there="addedNodeSelector" in spec))


def _source(vmi: Mapping[str, Any], pods: list[Mapping[str, Any]], cluster: Cluster) -> SourceDevice | None:
    """The VM's device as its node's agent published it; None: no device of ours, or not known well enough."""
    meta = vmi["metadata"]
    question = DeviceMigration.model_validate(
        {
            "metadata": {"name": "early-word", "namespace": meta["namespace"], "uid": meta["uid"]},
            "spec": {"mode": "Plan", "source": {"vm": {"name": meta["name"]}}},
        }
    )
    view = vm_view(vmi, pods)
    found = view if isinstance(view, NoSource) else read_sources(question, cluster, view)
    return None if isinstance(found, NoSource) else found[0]


def _adding(label: str, *, there: bool) -> tuple[Mapping[str, Any], ...]:
    if not there:
        return ({"op": "add", "path": "/spec/addedNodeSelector", "value": {label: "true"}},)
    key = label.replace("~", "~0").replace("/", "~1")
    return ({"op": "add", "path": f"/spec/addedNodeSelector/{key}", "value": "true"},)
