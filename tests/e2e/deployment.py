"""Puts the project into a cluster as its README says: the same manifests, with the images built here.

Changed for kind is only what is not there: the nodes' /sys is the tree that the tests make, and the agent is started by
a program that makes and removes devices in it (played_kernel). Added are a resource that the agents serve, KubeVirt's
kinds, a KubeVirt that calls node hooks, and a device plugin of somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.e2e import images, sysfs_tree
from tests.e2e.cluster import SYSFS, Cluster
from tests.e2e.command import StepError, step
from tests.e2e.places import CHECKOUT, DEPLOY
from tests.kubevirt.cluster import CRDS as KUBEVIRT_CRDS

Object = dict[str, Any]

RESOURCE = "gpu.example.com/gfx"
OWN_RESOURCE = "gpu.example.com/own"
"""What the agents' own device plugin serves."""
PYTHON = "/opt/mdev/bin/python"
AGENTS, OPERATORS = "mdev-node-agent", "mdev-operator"
HERE = Path(__file__).parent
PROGRAMS = "played"
PLUGINS = "/var/lib/kubelet/device-plugins"
POLICIES = ("rbac.yaml", "policy.yaml", "kubevirt-rbac.yaml", "gate-policy.yaml", "plugin.yaml")


def deploy(cluster: Cluster, built: Mapping[str, str]) -> None:
    """Apply everything and wait until it runs. ``built``: name of each part's image in the cluster."""
    with step("deploying the operator and the agents", "10 s"):
        crds = [*sorted((CHECKOUT / "crds").glob("*.yaml")), *sorted(KUBEVIRT_CRDS.glob("*.yaml"))]
        cluster.apply(*_read(crds))
        files = [f"--filename={path}" for path in crds]
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files)
        cluster.apply(*(_for_kind(obj) for obj in _read(DEPLOY / name for name in POLICIES)))
        cluster.apply(_kubevirt_namespace(), _kubevirt(), *_plugin(built["node-agent"]))
        for part in ("operator", "node-agent"):
            cluster.apply(*(_with_image(_for_kind(o), built[part]) for o in _read([DEPLOY / f"{part}.yaml"])))
        for namespace, what in (
            (AGENTS, "daemonset/played-device-plugin"),
            (AGENTS, "daemonset/mdev-node-agent"),
            (OPERATORS, "deployment/mdev-operator"),
        ):
            _wait(cluster, namespace, what)


def pod_image(built: Mapping[str, str]) -> str:
    """An image that is on the nodes, for pods that play virt-launcher."""
    return built["node-agent"]


def _wait(cluster: Cluster, namespace: str, what: str) -> None:
    try:
        cluster.kubectl("rollout", "status", f"--namespace={namespace}", what, "--timeout=90s")
    except StepError as error:
        pods = cluster.kubectl("get", "pods", f"--namespace={namespace}", "--output=wide")
        logs = cluster.kubectl("logs", f"--namespace={namespace}", what, "--tail=30", "--ignore-errors")
        raise StepError(f"{error}\n{pods}\n{logs}") from error


def _read(paths: Iterable[Path]) -> list[Object]:
    return [obj for path in paths for obj in yaml.safe_load_all(path.read_text()) if obj]


def _for_kind(obj: Object) -> Object:
    """The gate for our resource, and the agents on the tree of the tests."""
    if obj["kind"] == "ConfigMap" and obj["metadata"]["name"] == "mdev-operator-gate":
        return {**obj, "data": {"resources": f"{RESOURCE}\n{OWN_RESOURCE}\n"}}
    if obj["kind"] == "DaemonSet":
        pod = obj["spec"]["template"]["spec"]
        for volume in pod["volumes"]:
            host = volume.get("hostPath", {})
            if host.get("path") in ("/sys", "/sys/devices"):
                host["path"] = SYSFS + host["path"].removeprefix("/sys")
        (agent,) = pod["containers"]
        agent["command"] = [PYTHON, "/program/played_kernel.py"]
        agent["args"].append(f"--serve={OWN_RESOURCE}={sysfs_tree.TYPE}")
        agent["volumeMounts"].append({"name": "program", "mountPath": "/program"})
        pod["volumes"].append({"name": "program", "configMap": {"name": PROGRAMS}})
    return obj


def _with_image(obj: Object, image: str) -> Object:
    if "template" in obj.get("spec", {}):
        for container in obj["spec"]["template"]["spec"]["containers"]:
            assert container["image"] in images.NAMES.values(), container["image"]
            container["image"] = image
    return obj


def _kubevirt_namespace() -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubevirt"}}


def _kubevirt() -> Object:
    """A KubeVirt that calls node hooks and leaves our resource to a device plugin."""
    declared = [
        {"mdevNameSelector": sysfs_tree.TYPE, "resourceName": resource, "externalResourceProvider": True}
        for resource in (RESOURCE, OWN_RESOURCE)
    ]
    configuration = {
        "developerConfiguration": {"featureGates": ["Plugins"]},
        "permittedHostDevices": {"mediatedDevices": declared},
    }
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt", "namespace": "kubevirt"},
        "spec": {"configuration": configuration},
    }


def _plugin(image: str) -> list[Object]:
    meta = {"name": "played-device-plugin", "namespace": AGENTS}
    labels = {"app.kubernetes.io/name": "played-device-plugin"}
    command = [PYTHON, "/program/device_plugin.py", RESOURCE, f"{SYSFS}/{sysfs_tree.OFFERED}", PLUGINS]
    container = {
        "name": "plugin",
        "image": image,
        "command": command,
        "volumeMounts": [
            {"name": "program", "mountPath": "/program"},
            {"name": "sys", "mountPath": SYSFS, "readOnly": True},
            {"name": "plugins", "mountPath": PLUGINS},
        ],
    }
    volumes = [
        {"name": "program", "configMap": {"name": PROGRAMS}},
        {"name": "sys", "hostPath": {"path": SYSFS}},
        {"name": "plugins", "hostPath": {"path": PLUGINS}},
    ]
    pod = {
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": volumes,
    }
    programs = {name: (HERE / name).read_text() for name in ("device_plugin.py", "played_kernel.py")}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": PROGRAMS, "namespace": AGENTS},
            "data": programs,
        },
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": meta,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
