"""The agents' pods in the cluster."""

from __future__ import annotations

from tests.e2e.cluster import Cluster
from tests.e2e.deployment import AGENTS

SELECTOR = "--selector=app.kubernetes.io/name=mdev-node-agent"


def agent_of(cluster: Cluster, node: str) -> str:
    """The agent's pod on a node."""
    field = f"--field-selector=spec.nodeName={node},status.phase=Running"
    name = "--output=jsonpath={.items[0].metadata.name}"
    return cluster.kubectl("get", "pod", f"--namespace={AGENTS}", field, SELECTOR, name)


def restart_agent(cluster: Cluster, node: str) -> None:
    """Have the agent look at everything anew."""
    at = f"--field-selector=spec.nodeName={node}"
    cluster.kubectl("delete", "pod", f"--namespace={AGENTS}", at, SELECTOR, "--wait=true")
    cluster.kubectl("rollout", "status", f"--namespace={AGENTS}", "daemonset/mdev-node-agent", "--timeout=90s")
