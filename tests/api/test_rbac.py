"""Least privilege on a real API server: what deploy/ gives each identity is enough for the main job, and no more.

Attempts against the policies are made twice, before the policies are there and after: one that fails both times would
prove nothing about them. For those, the agent is given every right on our kinds, so that RBAC is not what refuses.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import structlog

from mdev_api.hashing import profile_name
from tests.api.rbac_attempts import (
    APPLY,
    EXPLICIT,
    LET_THROUGH,
    MISNAMED,
    PROFILE_SPEC,
    SENTENCES,
    STOPPED_BY_POLICY,
    Done,
    Object,
    migration,
    named,
)
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.kubectl import KubectlError
from tests.deployed import DEPLOY, apply_roles, kubeconfig_of, mark_ready, start_small
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty
from tests.simulated.node import SimulatedNode
from tests.simulated.operator_process import OperatorProcess
from tests.waiting import wait_until

AGENT = "system:serviceaccount:mdev-node-agent:mdev-node-agent"
OPERATOR = "system:serviceaccount:mdev-operator:mdev-operator"

MAY = [
    (OPERATOR, "patch", "nodereservations"),
    (OPERATOR, "patch", "devicemigrations"),
    (OPERATOR, "create", "events.events.k8s.io"),
    (OPERATOR, "delete", "nodereservations"),
    (OPERATOR, "delete", "nodedevices"),
    (AGENT, "create", "nodedevices"),
    (AGENT, "patch", "nodereservations/status"),
]
MAY_NOT = [
    (AGENT, "patch", "nodereservations"),
    (AGENT, "create", "nodereservations"),
    (AGENT, "get", "devicemigrations"),
    (AGENT, "patch", "devicemigrations"),
    (AGENT, "patch", "devicemigrations/status"),
    (AGENT, "patch", "deviceprofiles"),
    (AGENT, "patch", "deviceprofiles/status"),
    (AGENT, "delete", "deviceprofiles"),
    (AGENT, "delete", "nodedevices"),
    (AGENT, "list", "nodedevices"),
    (AGENT, "delete", "nodereservations"),
    (AGENT, "create", "events.events.k8s.io"),
    (AGENT, "get", "nodes"),
    (AGENT, "get", "secrets"),
    (AGENT, "get", "pods"),
    (OPERATOR, "patch", "nodedevices"),
    (OPERATOR, "patch", "nodedevices/status"),
    (OPERATOR, "patch", "nodereservations/status"),
    (OPERATOR, "create", "nodedevices"),
    (OPERATOR, "patch", "events.events.k8s.io"),
    (OPERATOR, "delete", "events.events.k8s.io"),
    (OPERATOR, "delete", "devicemigrations"),
    (OPERATOR, "update", "nodes"),
    (OPERATOR, "delete", "nodes"),
    (OPERATOR, "patch", "nodes/status"),
    (OPERATOR, "get", "secrets"),
    (OPERATOR, "get", "pods"),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rbac")


@pytest.fixture(scope="module")
def plane(directory: Path) -> Iterator[ControlPlane]:
    """Kinds, identities and roles, without the policies."""
    with start_small(directory / "control-plane") as started:
        apply_roles(started)
        for node in ("node-a", "node-b"):
            mark_ready(started, node)
        yield started


@pytest.fixture(scope="module")
def attempts(plane: ControlPlane, directory: Path) -> dict[str, tuple[Done, Done]]:
    """Each attempt before and after the policies came; they stay."""
    users = _users(plane, directory)
    _objects(plane)
    plane.kubectl(
        "create", "clusterrole", "too-much", "--verb=*", "--resource=*.mdev-operator.io,*.mdev-operator.io/status"
    )
    plane.kubectl(
        "create", "clusterrolebinding", "too-much", "--clusterrole=too-much", f"--serviceaccount={_account(AGENT)}"
    )
    tried = {**STOPPED_BY_POLICY, **LET_THROUGH}
    asks = tried["an agent asks for a migration"]
    wait_until(lambda: asks.make(plane, users).returncode == 0, timeout=20, what="the agent to have every right")
    before = {name: attempt.make(plane, users) for name, attempt in tried.items()}
    enforce(plane, users)
    after = {name: attempt.make(plane, users) for name, attempt in tried.items()}
    plane.kubectl("delete", "clusterrolebinding/too-much", "clusterrole/too-much")
    wait_until(lambda: not _may(plane, AGENT, "patch", "nodereservations"), timeout=20, what="the rights to be gone")
    return {name: (before[name], after[name]) for name in tried}


def enforce(plane: ControlPlane, users: Mapping[str, Path]) -> None:
    """Apply the policies and wait until the API server has taken each in."""
    plane.kubectl("apply", f"--filename={DEPLOY / 'policy.yaml'}")
    for name in (
        "node-a's agent writes what node-b offers",
        "the operator annotates a Node",
        "a user names a device of a node",
    ):
        attempt = STOPPED_BY_POLICY[name]
        wait_until(lambda a=attempt: a.make(plane, users).returncode != 0, timeout=30, what=f"a refusal: {name}")  # type: ignore[misc]


def _users(plane: ControlPlane, directory: Path) -> dict[str, Path]:
    unbound = plane.kubectl("create", "token", "mdev-node-agent", "--namespace=mdev-node-agent").stdout.strip()
    users = {
        "operator": kubeconfig_of(plane, directory, "operator"),
        "agent node-a": kubeconfig_of(plane, directory, "agent", "node-a"),
        "agent unbound": plane.kubeconfig_for("agent-unbound", token=unbound),
    }
    plane.kubectl(
        "create", "clusterrole", "reserve-node-a", "--verb=reserve",
        "--resource=nodedevices.mdev-operator.io", "--resource-name=node-a",
    )  # fmt: skip
    for name, reserve in {
        "editor": "",
        "editor with node-a": "reserve-node-a",
        "editor with all nodes": "mdev-operator-reserve",
    }.items():
        user = name.replace(" ", "-")
        users[name] = plane.kubeconfig_for(user)
        for role in ("edit", "view"):
            binding = ("rolebinding", f"{user}-{role}", f"--clusterrole=mdev-operator-migrations-{role}")
            plane.kubectl("create", *binding, f"--user={user}", "--namespace=default")
        if reserve:
            plane.kubectl(
                "create", "clusterrolebinding", f"{user}-reserve", f"--clusterrole={reserve}", f"--user={user}"
            )
    return users


def _objects(plane: ControlPlane) -> None:
    """What attempts want to change."""
    objects = [named("NodeDevices", node) for node in ("node-a", "node-b")]
    objects += [named("NodeReservations", node, spec={"fence": 0}) for node in ("node-a", "node-b")]
    objects.append(named("DeviceProfile", MISNAMED, spec=PROFILE_SPEC))
    objects.append(migration("planned", EXPLICIT))
    plane.kubectl(*APPLY, "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def _account(user: str) -> str:
    return user.removeprefix("system:serviceaccount:")


def _may(plane: ControlPlane, user: str, verb: str, resource: str) -> bool:
    name, _, sub = resource.partition("/")
    group = "" if name in ("nodes", "secrets", "pods") or "." in name else ".mdev-operator.io"
    asked = ["auth", "can-i", verb, f"{name}{group}", "--quiet", f"--as={user}", "--all-namespaces"]
    return plane.kubectl(*asked, *([f"--subresource={sub}"] if sub else []), check=False).returncode == 0


@pytest.mark.parametrize("name", [*STOPPED_BY_POLICY, *LET_THROUGH])
def test_without_the_policies_it_passes(name: str, attempts: dict[str, tuple[Done, Done]]) -> None:
    before, _ = attempts[name]
    assert before.returncode == 0, before.stderr


@pytest.mark.parametrize("name", STOPPED_BY_POLICY)
def test_a_policy_refuses_it(name: str, attempts: dict[str, tuple[Done, Done]]) -> None:
    _, after = attempts[name]
    assert after.returncode != 0
    assert "ValidatingAdmissionPolicy" in after.stderr
    assert "resulted in error" not in after.stderr


@pytest.mark.parametrize("name", SENTENCES)
def test_the_refusal_is_a_sentence_that_says_what_to_do(name: str, attempts: dict[str, tuple[Done, Done]]) -> None:
    _, after = attempts[name]
    assert SENTENCES[name] in after.stderr


@pytest.mark.parametrize("name", LET_THROUGH)
def test_the_policies_do_not_stand_in_the_way_of(name: str, attempts: dict[str, tuple[Done, Done]]) -> None:
    _, after = attempts[name]
    assert after.returncode == 0, after.stderr


@pytest.mark.usefixtures("attempts")
def test_each_identity_may_do_its_own_work_and_nothing_else(plane: ControlPlane) -> None:
    assert [right for right in MAY if not _may(plane, *right)] == []
    assert [right for right in MAY_NOT if _may(plane, *right)] == []


@pytest.mark.usefixtures("attempts")
def test_a_migration_is_prepared_and_handed_over_and_nothing_is_refused_to_operator_or_agent(
    plane: ControlPlane, directory: Path, agents_log: Path
) -> None:
    options = ("--node-gone-after=2", "--keep-profiles=2")
    operator = OperatorProcess(kubeconfig_of(plane, directory, "operator"), directory / "operator.log", *options)
    kernels = {"node-a": MemoryKernel(drivers=[Gfx(), Mtty()]), "node-b": MemoryKernel(drivers=[Gfx()])}
    agents = [
        SimulatedNode(
            name, kernel, kubeconfig=kubeconfig_of(plane, directory, "agent", name), state_dir=directory / name
        )
        for name, kernel in kernels.items()
    ]
    plane.kubectl("apply", f"--filename={DEPLOY / 'models' / 'mtty.yaml'}")
    with operator:
        try:
            for agent in agents:
                agent.start()
            device = _main_job(plane)
            _clearing_away(plane)
        except (KubectlError, TimeoutError) as error:
            pytest.fail(f"{error}; the operator said:\n{operator.log()[-4000:]}", pytrace=False)
        finally:
            for agent in agents:
                agent.stop()
        operator.signal(signal.SIGTERM)
        assert operator.wait_ended(seconds=15) == 0
    said = operator.log() + agents_log.read_text(encoding="utf-8")
    assert device in kernels["node-b"].dump_tree()
    assert "fence raised" in said
    assert "published" in said
    assert [line for line in said.splitlines() if "orbidden" in line] == []


@pytest.fixture
def agents_log(directory: Path) -> Iterator[Path]:
    """What the agents of the test say."""
    path = directory / "agents.log"
    with path.open("w", encoding="utf-8") as output:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(output))
        yield path
    structlog.reset_defaults()


def _main_job(plane: ControlPlane) -> str:
    """From an explicit source to handed over, with what else the operator writes and deletes; returns the device."""
    source = {"explicit": [{"name": "gpu", "model": "com.gfx/GPU", "values": [_memory(8192)]}]}
    plane.kubectl(
        "create", "--filename=-", input=json.dumps(migration("place", source, mode="Prepare", nodeName="node-b"))
    )
    _wait(plane, "devicemigration/place", "condition=Ready")
    device = plane.kubectl("get", "devicemigration", "place", "--output=jsonpath={.status.devices[0].instance}").stdout
    for change in ({"started": True}, {"outcome": "Succeeded"}):
        plane.kubectl("patch", "devicemigration", "place", "--type=merge", f"--patch={json.dumps({'spec': change})}")
    _wait(plane, "devicemigration/place", "condition=Finished")
    wait_until(
        lambda: not _reservations(plane), timeout=30, what="the reservation to be answered HandedOver and removed"
    )
    _wait(plane, "devicemodels", "condition=Valid", "--all")
    _wait(plane, f"deviceprofile/{MISNAMED}", "delete")
    plane.kubectl("delete", "devicemigration", "place", "--timeout=30s")
    return device


def _clearing_away(plane: ControlPlane) -> None:
    """What happens by the clock alone: a migration expires and that is told, and what nothing needs any more goes."""
    source = {"explicit": [{"name": "gpu", "model": "com.gfx/GPU", "values": [_memory(8192)]}]}
    expiring = migration("idle", source, mode="Prepare", nodeName="node-b", preparedTTLSeconds=1)
    unused = {**PROFILE_SPEC, "type": {"id": "unused"}}
    objects = [
        expiring,
        named("NodeDevices", "node-z"),
        named("NodeReservations", "node-z", spec={"fence": 0}),
        named("DeviceProfile", profile_name(unused), spec=unused),
    ]
    plane.kubectl("create", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    _wait(plane, "devicemigration/idle", "condition=Finished")
    events = ("get", "events.events.k8s.io", "--namespace=default", "--output=jsonpath={.items[*].reason}")
    wait_until(lambda: "Expired" in plane.kubectl(*events).stdout, timeout=30, what="an Event that it has expired")
    for gone in ("nodedevices/node-z", "nodereservations/node-z", f"deviceprofile/{profile_name(unused)}"):
        _wait(plane, gone, "delete")


def _reservations(plane: ControlPlane) -> list[Object]:
    found = json.loads(plane.kubectl("get", "nodereservations", "node-b", "--output=json").stdout)
    entries: list[Object] = found["spec"].get("reservations", [])
    return entries


def _memory(value: int) -> Object:
    return {"name": "memory", "type": "int", "value": str(value)}


def _wait(plane: ControlPlane, what: str, until: str, *more: str) -> None:
    plane.kubectl("wait", f"--for={until}", "--timeout=60s", what, *more)
