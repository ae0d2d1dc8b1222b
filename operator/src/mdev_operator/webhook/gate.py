"""Which pods wait for a device: the same answer as deploy/gate-policy.yaml gives, for clusters that have only webhooks.

The webhook's own match (deploy/gate-webhook.yaml) says which resource names are meant. What can be told without them is
checked again here, so that a match that was widened by mistake holds back no other pod of the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mdev_operator.kubevirt.objects import GATE, MIGRATION_UID
from mdev_operator.kubevirt.vm import LAUNCHER_LABEL
from mdev_operator.webhook.review import ALLOWED, Verdict


def gate(pod: Mapping[str, Any]) -> Verdict:
    """Add our scheduling gate to a migration's target pod that lacks it, after the gates that others set."""
    labels = pod.get("metadata", {}).get("labels") or {}
    key, value = LAUNCHER_LABEL
    if labels.get(key) != value or MIGRATION_UID not in labels:
        return ALLOWED
    spec = pod.get("spec") or {}
    gates = spec.get("schedulingGates") or []
    if spec.get("nodeName") or any(g.get("name") == GATE for g in gates):
        return ALLOWED
    ours = {"name": GATE}
    if gates:
        return Verdict(patch=({"op": "add", "path": "/spec/schedulingGates/-", "value": ours},))
    return Verdict(patch=({"op": "add", "path": "/spec/schedulingGates", "value": [ours]},))
