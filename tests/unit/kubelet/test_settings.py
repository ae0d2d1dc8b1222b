"""What the agent says to a device plugin that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdev_node_agent.cli import EXIT_UNUSABLE, main


@pytest.fixture
def sysfs(tmp_path: Path) -> str:
    for name in ("bus", "class"):
        (tmp_path / name).mkdir()
    return str(tmp_path)


def said(capsys: pytest.CaptureFixture[str], sysfs: str, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--node-name", "n", "--sysfs", sysfs, *arguments])
    told = capsys.readouterr()
    assert ended.value.code == EXIT_UNUSABLE and told.out == ""
    return told.err


def test_a_plugin_needs_the_kubelet(capsys: pytest.CaptureFixture[str], sysfs: str) -> None:
    assert "set --kubelet-dir beside --serve" in said(capsys, sysfs, "--serve", "a.com/x=t")


def test_an_own_pod_that_names_none_is_told(capsys: pytest.CaptureFixture[str], sysfs: str) -> None:
    told = said(capsys, sysfs, "--own-pod", "agent-x", "--kubelet-dir", "/var/lib/kubelet")
    assert "'agent-x' names no pod: write NAMESPACE/NAME" in told


def test_a_resource_that_cannot_be_is_told(capsys: pytest.CaptureFixture[str], sysfs: str) -> None:
    assert "write DOMAIN/NAME" in said(capsys, sysfs, "--serve", "gpu=t", "--kubelet-dir", "/var/lib/kubelet")
