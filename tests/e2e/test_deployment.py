"""What the agent's pod may do to its node, tried in the pod itself."""

from __future__ import annotations

import pytest

from tests.e2e.agents import agent_of
from tests.e2e.cluster import NODES, Cluster
from tests.e2e.deployment import AGENTS

NODE = NODES[1]


def in_agent(cluster: Cluster, script: str) -> str:
    """Run a script in the agent's container; what it printed, errors too."""
    where = ("exec", f"--namespace={AGENTS}", agent_of(cluster, NODE), "--")
    return cluster.kubectl(*where, "sh", "-c", f"{{ {script}; }} 2>&1; true").strip()


def test_the_agent_is_root_without_any_capability(cluster: Cluster) -> None:
    lines = in_agent(cluster, "cat /proc/1/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split()[0] == "0"
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0000000000000000"}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("path", ["/x", "/host/sys/x", "/host/sys/bus/x", "/host/sys/class/x"])
def test_the_agent_can_write_neither_its_root_nor_the_hosts_sysfs(cluster: Cluster, path: str) -> None:
    assert "Read-only file system" in in_agent(cluster, f"echo 1 > {path}")


def test_the_agent_can_write_a_devices_files(cluster: Cluster) -> None:
    path = "/host/sys/devices/virtual/gfx/gfx0/mdev_supported_types/gfx-vgpu/create"
    assert in_agent(cluster, f"echo 1 > {path} && cat {path} && : > {path}") == "1"
