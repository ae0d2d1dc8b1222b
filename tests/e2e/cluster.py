"""A kind cluster with two nodes: VMs can move from one to the other.

The stock node image is taken where it can be pulled, else one made here. What a made one lacks is left out of every
cluster alike: CoreDNS and kind's own network. Each node gets its part of the pod network from the usual plugins, and
pods of different nodes do not reach each other: nothing here needs that or a name, only the API server's address.

The tree that stands for each node's sysfs is a directory of this machine, which the node has at ``SYSFS``.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane import binaries
from tests.controlplane.programs import KUBERNETES_VERSION
from tests.e2e.command import StepError, run, say, step, succeeds
from tests.e2e.node_image import build, programs
from tests.e2e.places import RUN

NAME = "mdev-operator"
SYSFS = "/mdev-sys"
TREES = RUN / "trees"
KUBECONFIG = RUN / "kubeconfig"
STOCK_IMAGE = f"kindest/node:v{KUBERNETES_VERSION}"
NODES = (f"{NAME}-control-plane", f"{NAME}-worker")
KUBELET = {"kind": "KubeletConfiguration", "failCgroupV1": False}
VFIO_FILES = (
    "mkdir -p /dev/vfio && for n in vfio $(seq 16 31); do [ -e /dev/vfio/$n ] || mknod /dev/vfio/$n c 1 3; done"
)
"""No kernel makes them here: files for the devices that agents make (played_kernel), each a /dev/null."""
NO_TAINT = {
    "kind": "InitConfiguration",
    "nodeRegistration": {"taints": []},
    "skipPhases": ["preflight", "addon/coredns"],
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """One that runs. ``environment`` is for every program that talks to Docker."""

    environment: Mapping[str, str]
    kind: Path
    kubectl_program: Path

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as administrator; what it printed."""
        return run(self.kubectl_program, f"--kubeconfig={KUBECONFIG}", *arguments, stdin=stdin, timeout=180)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects on the server's side."""
        text = yaml.safe_dump_all(objects, sort_keys=False)
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=text)

    def on_node(self, node: str, *command: str, stdin: str | None = None) -> str:
        """Run a command on a node."""
        return run("docker", "exec", "-i", node, *command, environment=self.environment, stdin=stdin)

    def tree(self, node: str) -> Path:
        """The directory of this machine that stands for the node's sysfs."""
        return TREES / node

    def load(self, *images: str) -> None:
        """Put images into the nodes' containerd, unless they have them; each must have a tag of its own."""
        there = self.on_node(NODES[-1], "crictl", "images", "-o", "json")
        tags = {tag.rpartition("/")[2] for image in json.loads(there)["images"] for tag in image["repoTags"]}
        missing = [image for image in images if image not in tags]
        if missing:
            with step(f"loading {', '.join(missing)} into the nodes", "10 s"):
                run(self.kind, "load", "docker-image", f"--name={NAME}", *missing, environment=self.environment)


def ensure(environment: Mapping[str, str]) -> Cluster:
    """The cluster of this checkout, started if it does not run."""
    kind = programs.kind()
    kubectl = binaries.ensure(("kubectl",))["kubectl"]
    cluster = Cluster(environment=environment, kind=kind, kubectl_program=kubectl)
    if KUBECONFIG.exists() and succeeds(kubectl, f"--kubeconfig={KUBECONFIG}", "get", "--raw=/readyz", timeout=10):
        say("e2e: the cluster runs already")
        return cluster
    delete(environment)
    image = _node_image(environment)
    with step("starting a cluster of two nodes", "30 s"):
        _create(cluster, image)
    return cluster


def delete(environment: Mapping[str, str]) -> None:
    """End the cluster, if there is one; nothing of it is left."""
    kind = programs.kind()
    if NAME in run(kind, "get", "clusters", environment=environment).split():
        run(kind, "delete", "cluster", f"--name={NAME}", f"--kubeconfig={KUBECONFIG}", environment=environment)
    KUBECONFIG.unlink(missing_ok=True)
    shutil.rmtree(TREES, ignore_errors=True)


def _node_image(environment: Mapping[str, str]) -> str:
    wanted = os.environ.get("MDEV_E2E_NODE_IMAGE", STOCK_IMAGE)
    if succeeds("docker", "image", "inspect", wanted, environment=environment):
        return wanted
    say(f"e2e: asking for {wanted}")
    if succeeds("docker", "pull", "-q", wanted, environment=environment, timeout=600):
        return wanted
    if "MDEV_E2E_NODE_IMAGE" in os.environ:
        raise StepError(f"{wanted}, which MDEV_E2E_NODE_IMAGE names, is not here and cannot be pulled")
    say("e2e: it cannot be pulled; taking a node image made here")
    return build.ensure(environment)


def _create(cluster: Cluster, image: str) -> None:
    for node in NODES:
        cluster.tree(node).mkdir(parents=True, exist_ok=True)
    roles = ("control-plane", "worker")
    mounts = [[{"hostPath": str(cluster.tree(node)), "containerPath": SYSFS}] for node in NODES]
    config = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"disableDefaultCNI": True},
        "kubeadmConfigPatches": [json.dumps(KUBELET), json.dumps(NO_TAINT)],
        "nodes": [{"role": role, "extraMounts": mount} for role, mount in zip(roles, mounts, strict=True)],
    }
    run(
        cluster.kind,
        *("create", "cluster", f"--name={NAME}", f"--image={image}", f"--kubeconfig={KUBECONFIG}", "--config=-"),
        environment=cluster.environment,
        stdin=json.dumps(config),
    )
    for node in NODES:
        _give_network(cluster, node)
        cluster.on_node(node, "sh", "-c", VFIO_FILES)
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", *(f"node/{node}" for node in NODES))
    labels = ("kubevirt.io/schedulable=true", "machine-type.node.kubevirt.io/q35=true")
    cluster.kubectl("label", "nodes", "--all", "--overwrite", *labels)


def _give_network(cluster: Cluster, node: str) -> None:
    """Write the node's part of the pod network, which the controller manager chooses, for its CNI plugins."""
    deadline = time.monotonic() + 60
    while not (subnet := cluster.kubectl("get", "node", node, "--output=jsonpath={.spec.podCIDR}").strip()):
        if time.monotonic() > deadline:
            raise StepError(f"node {node} got no pod network within a minute")
        time.sleep(0.2)
    ipam = {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugins = [
        {"type": "ptp", "ipMasq": True, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    text = json.dumps({"cniVersion": "0.3.1", "name": "pods", "plugins": plugins})
    cluster.on_node(node, "sh", "-c", "cat > /etc/cni/net.d/10-pods.conflist", stdin=text)
