"""The control plane itself: real, quick, and gone when it is over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import control_plane as module
from tests.controlplane.binaries import ensure
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.cuttable import Cuttable
from tests.controlplane.kubectl import KubectlError
from tests.controlplane.ports import free_ports
from tests.controlplane.readiness import StartError
from tests.waiting import wait_until

NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "no-machine"},
    "status": {
        "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "says the test"}],
    },
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "to-be-bound"},
    "spec": {
        "nodeSelector": {"only": "here"},
        "containers": [{"name": "main", "image": "none", "resources": {"requests": {"cpu": "1"}}}],
    },
}


def whoami(plane: ControlPlane, kubeconfig: Path) -> dict[str, object]:
    answer = plane.kubectl("auth", "whoami", "--output=json", kubeconfig=kubeconfig).stdout
    user: dict[str, object] = json.loads(answer)["status"]["userInfo"]
    return user


def processes_in(directory: Path) -> list[str]:
    """Command lines of all processes of this machine that name something in the directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"{directory}/" in command:
            found.append(command)
    return found


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.controlplane", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One without controllers and scheduler, of this module alone, to do harm to."""
    with ControlPlane.start(tmp_path_factory.mktemp("small"), controllers=False, scheduler=False) as plane:
        yield plane


@pytest.fixture
def node(control_plane: ControlPlane) -> Iterator[str]:
    """A ready Node that has no machine."""
    body = {**NODE, "metadata": {"name": "no-machine", "labels": {"only": "here"}}}
    control_plane.kubectl("create", "--filename=-", input=json.dumps(body))
    patch = json.dumps({"status": NODE["status"]})
    control_plane.kubectl("patch", "node", "no-machine", "--subresource=status", f"--patch={patch}")
    yield "no-machine"
    control_plane.kubectl("delete", "node", "no-machine")


def test_it_serves_readyz(control_plane: ControlPlane) -> None:
    assert control_plane.kubectl("get", "--raw=/readyz").stdout == "ok"


def test_it_is_ready_in_seconds(control_plane: ControlPlane) -> None:
    assert 0 < control_plane.ready_after < 60


def test_the_real_scheduler_binds_a_pod_to_a_node_without_a_machine(control_plane: ControlPlane, node: str) -> None:
    control_plane.kubectl("create", "--filename=-", input=json.dumps(POD))
    try:
        bound = wait_until(
            lambda: control_plane.kubectl("get", "pod", "to-be-bound", "--output=jsonpath={.spec.nodeName}").stdout,
            timeout=30,
            what="the pod to be bound",
        )
    finally:
        control_plane.kubectl("delete", "pod", "to-be-bound", "--force", "--grace-period=0")
    assert bound == node


def test_the_controllers_make_service_accounts(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "namespace", "made-by-a-test")
    try:
        control_plane.kubectl(
            "wait", "--for=create", "serviceaccount/default", "--namespace=made-by-a-test", "--timeout=30s"
        )
    finally:
        control_plane.kubectl("delete", "namespace", "made-by-a-test", "--wait=false")


def test_a_user_is_who_the_kubeconfig_says(control_plane: ControlPlane) -> None:
    user = whoami(control_plane, control_plane.kubeconfig_for("system:node:n1", ["system:nodes", "testers"]))
    assert user["username"] == "system:node:n1"
    assert set(user["groups"]) == {"system:nodes", "testers", "system:authenticated"}  # type: ignore[call-overload]


def test_a_user_without_rights_is_forbidden(control_plane: ControlPlane) -> None:
    nobody = control_plane.kubeconfig_for("nobody")
    with pytest.raises(KubectlError, match=r'User "nobody" cannot list resource "nodes"'):
        control_plane.kubectl("get", "nodes", kubeconfig=nobody)


def test_a_service_account_token_makes_a_kubeconfig_too(control_plane: ControlPlane) -> None:
    token = control_plane.kubectl("create", "token", "default").stdout.strip()
    user = whoami(control_plane, control_plane.kubeconfig_for("account", token=token))
    assert user["username"] == "system:serviceaccount:default:default"


def test_a_kubeconfig_is_for_its_owner_alone(control_plane: ControlPlane) -> None:
    assert control_plane.kubeconfig_for("nobody").stat().st_mode & 0o777 == 0o600


def test_a_guest_may_trust_the_certificate(control_plane: ControlPlane) -> None:
    """kubectl verifies the certificate for the name that a guest uses, while it talks to the port on this side."""
    path = control_plane.kubeconfig_for("nobody")
    answer = control_plane.kubectl("--tls-server-name=10.0.2.2", "get", "--raw=/version", kubeconfig=path)
    assert json.loads(answer.stdout)["major"] == "1"
    assert control_plane.guest_server == f"https://10.0.2.2:{control_plane.port}"


def test_a_cut_line_separates_only_those_behind_it(small: ControlPlane) -> None:
    with Cuttable(small.port) as line:
        behind = small.kubeconfig_for("admin", ["system:masters"], server=line.server)
        assert small.kubectl("get", "--raw=/readyz", kubeconfig=behind).stdout == "ok"
        line.cut()
        assert small.kubectl("get", "--raw=/readyz", kubeconfig=behind, check=False).returncode != 0
        assert small.kubectl("get", "--raw=/readyz").stdout == "ok"


def test_objects_survive_a_restart_of_the_apiserver(small: ControlPlane) -> None:
    small.kubectl("create", "configmap", "kept")
    before = {process.name: process.pid for process in small.processes}
    small.restart_apiserver()
    after = {process.name: process.pid for process in small.processes}
    assert small.kubectl("get", "configmap", "kept", "--output=name").stdout.strip() == "configmap/kept"
    assert [name for name in before if before[name] != after[name]] == ["kube-apiserver"]


def test_stop_leaves_no_process_behind(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path) as plane:
        assert len(processes_in(tmp_path)) == 4
        plane.stop()
        assert processes_in(tmp_path) == []


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.controlplane.control_plane import ControlPlane\n"
        "ControlPlane.start(Path(sys.argv[1]), controllers=False, scheduler=False)\n"
        "print(os.getpid(), flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_in(tmp_path), timeout=10, what="etcd and the API server to die")


def test_ports_that_others_took_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First that of etcd, then that of the API server."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        choices = [list(free_ports(5)) for _ in range(3)]
        choices[0][0] = choices[1][2] = stranger.getsockname()[1]
        left = iter(choices)
        monkeypatch.setattr(module, "free_ports", lambda _count: tuple(next(left)))
        with ControlPlane.start(tmp_path, controllers=False, scheduler=False) as plane:
            assert plane.kubectl("get", "--raw=/readyz").stdout == "ok"
            assert len(processes_in(tmp_path)) == 2
            assert plane.port == choices[2][2]


def test_a_part_that_does_not_start_is_named_with_the_end_of_its_log_and_nothing_is_left(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho the disk is on fire\nexit 1\n")
    broken.chmod(0o755)
    message = r"(?s)kube-apiserver ended while it was starting.*kube-apiserver\.log:.*the disk is on fire"
    with pytest.raises(StartError, match=message):
        ControlPlane.start(tmp_path / "plane", programs={**ensure(), "kube-apiserver": broken})
    assert processes_in(tmp_path / "plane") == []


def test_one_left_running_is_found_again_and_ended_by_down(tmp_path: Path) -> None:
    where = f"--directory={tmp_path / 'plane'}"
    assert (shell("path", where).returncode, shell("path", where).stdout) == (1, "")
    first = shell("up", where)
    try:
        kubeconfig = first.stdout.strip()
        second = shell("up", where)
        pids = processes_in(tmp_path / "plane")
        assert (second.stdout.strip(), shell("path", where).stdout.strip()) == (kubeconfig, kubeconfig)
        assert "runs already" in second.stderr
        assert len(pids) == 4
        programs = ensure(["kubectl"])
        command = [str(programs["kubectl"]), f"--kubeconfig={kubeconfig}", "get", "--raw=/readyz"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "ok"
    finally:
        ended = shell("down", where)
    assert "ended kube-scheduler, kube-controller-manager, kube-apiserver, etcd" in ended.stderr
    assert processes_in(tmp_path / "plane") == []
    assert not (tmp_path / "plane").exists()
    assert "no control plane was left running" in shell("down", where).stderr
