"""Every command of README.md is run, in its order, in one scene, with what the README promises of it.

The scene is a control plane with one Node that is this machine and one that is played by the real agent on a kernel in
memory; the programs are those that plain pip installed into a fresh environment. Five kinds of commands are not run
here: ``make demo`` and ``make demo BREAK=preparer`` boot guests, so the kernel suite runs them
(tests/kernel/test_demo.py); and ``make test`` cannot run inside itself: here it is checked that it resolves to all
suites, that ``make test SUITES=unit`` resolves to one, and that ``.ci/run`` calls it; ``make chaos`` takes many minutes
(the durable suite has short runs of it) and ``make e2e`` a cluster of containers, so here it is checked what they
resolve to.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deployed import TOP
from tests.readme.commands import commands_in
from tests.readme.scene import Expected, run_all
from tests.whole_command import Ran

README = commands_in((TOP / "README.md").read_text(encoding="utf-8"))
KERNEL_SUITE = TOP / "tests" / "kernel" / "test_demo.py"

IN_THE_KERNEL_SUITE = ("make demo", "make demo BREAK=preparer")
MAKE_TEST = {
    "make test": "-m tests.suites",
    "make test SUITES=unit": "-m tests.suites unit",
    "make chaos SEEDS=3": "-m tests.chaos --seeds 3 && .venv/bin/python -m pytest -q tests/chaos/guests",
    "make outages": "-m pytest -q tests/chaos/outages",
    "make e2e": "-m tests.e2e test",
}
OF_MAKE = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "SUITES", "SEEDS")
DEMOS = ("make demo NODES=simulated", "make demo BREAK=preparer NODES=simulated")
RUN: Mapping[str, Expected] = {
    "kubectl apply -f crds/": Expected(
        "devicemigrations.mdev-operator.io created", "devicemodels.mdev-operator.io created"
    ),
    "kubectl wait --for=condition=Established crd --all": Expected("nodedevices.mdev-operator.io condition met"),
    "kubectl apply -f deploy/models/mtty.yaml": Expected("devicemodel.mdev-operator.io/", "created"),
    "kubectl apply -f deploy/rbac.yaml": Expected(
        "namespace/mdev-operator created", "serviceaccount/mdev-node-agent created"
    ),
    "kubectl apply -f deploy/policy.yaml": Expected(
        "mdev-node-agent-own-node created", "mdev-operator-reserve created"
    ),
    "kubectl apply -f deploy/operator.yaml": Expected("deployment.apps/mdev-operator created"),
    "kubectl apply -f deploy/node-agent.yaml": Expected("daemonset.apps/mdev-node-agent created"),
    "pip install ./crds ./operator ./node-agent ./cli": Expected("Successfully installed", "mdev-node-agent-0.1.0"),
    'deploy/kubeconfig agent "$(hostname)" > agent.kubeconfig': Expected(),
    "deploy/kubeconfig operator > operator.kubeconfig": Expected(),
    'mdev-node-agent run --node-name "$(hostname)" --kubeconfig agent.kubeconfig': Expected(
        seen='kubectl get nodedevices "$(hostname)" && kubectl -n mdev-node-agent get lease "$(hostname)"'
    ),
    "mdev-operator run --kubeconfig operator.kubeconfig": Expected(
        seen="kubectl -n mdev-operator wait --for=jsonpath={.spec.holderIdentity} lease/mdev-operator"
    ),
    "kubectl get nodedevices,deviceprofiles": Expected("nodedevices.mdev-operator.io/node-a", "com.gfx/GPU", within=30),
    "kubectl apply -f docs/examples/plan.yaml": Expected("devicemigration.mdev-operator.io/plan-gpu created"),
    "kubectl get devicemigrations": Expected("plan-gpu", "True", within=30),
    "kubectl get devicemigration plan-gpu -o yaml": Expected("candidates:", "type: gfx-8GB", "type: Planned"),
    "kubectl apply -f docs/examples/place.yaml": Expected("devicemigration.mdev-operator.io/place-gpu created"),
    "kubectl wait --for=condition=Ready devicemigration/place-gpu": Expected("place-gpu condition met"),
    """kubectl patch devicemigration place-gpu --type=merge -p '{"spec":{"started":true}}'""": Expected(
        "place-gpu patched"
    ),
    """kubectl patch devicemigration place-gpu --type=merge -p '{"spec":{"outcome":"Succeeded"}}'""": Expected(
        "place-gpu patched"
    ),
    "mdev-node-agent discover": Expected(),
    "mdev-node-agent discover -o json": Expected('"parents": [', '"instances": ['),
    "kubectl-mdev check "
    "--source docs/examples/source.json --destination docs/examples/destination.json -o json": Expected(
        '"verdict": "Compatible"'
    ),
    "kubectl-mdev check "
    "--source docs/examples/source.json --destination docs/examples/destination.json    "
    "--both-directions --source-info docs/examples/source-info.json": Expected("There", "Back", "Compatible"),
    "kubectl-mdev check --source docs/examples/source.json --destination docs/examples/destination.json "
    "--arguments vfio-user": Expected("--m-memory=4096"),
    "kubectl-mdev model test -f deploy/models/mtty.yaml --profiles docs/examples/seen.json": Expected(
        "DeviceModel mtty: can be used", "kernel.org/mtty"
    ),
    "mdev-node-agent discover --facts-dir docs/examples/facts.d": Expected(),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Everything that is run here, once, whichever test is selected."""
    chosen = {command: RUN[command] for command in README if command in RUN}
    return run_all(tmp_path_factory.mktemp("readme"), chosen, DEMOS)


@pytest.mark.parametrize("command", README)
def test_every_command_of_the_readme_is_run_by_a_test(command: str) -> None:
    assert command in {*RUN, *DEMOS, *MAKE_TEST, *IN_THE_KERNEL_SUITE}


@pytest.mark.parametrize("command", [command for command in README if command in RUN])
def test_the_command_does_what_the_readme_says(command: str, ran: dict[str, Ran]) -> None:
    what = ran[command]
    assert what.status == 0, what.output
    assert [word for word in RUN[command].words if word not in what.output] == [], what.output


def test_a_handed_over_device_is_there_after_the_last_command(ran: dict[str, Ran]) -> None:
    assert ran["the device that was placed"].status == 0, ran["the device that was placed"].output


def test_the_demo_on_kernels_in_memory_succeeds(ran: dict[str, Ran]) -> None:
    what = ran["make demo NODES=simulated"]
    assert what.status == 0, what.output
    assert "The main job works, end to end." in what.output


def test_the_demo_fails_when_an_agent_lies(ran: dict[str, Ran]) -> None:
    what = ran["make demo BREAK=preparer NODES=simulated"]
    assert what.status != 0, what.output
    assert "The demo failed" in what.output
    assert "node-b's sysfs shows" in what.output


@pytest.mark.parametrize("command", IN_THE_KERNEL_SUITE)
def test_the_kernel_suite_runs(command: str) -> None:
    assert f'"{command}"' in KERNEL_SUITE.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", MAKE_TEST)
def test_what_is_not_run_here_resolves_to_its_program(command: str) -> None:
    make, *arguments = command.split()
    command_line = [make, "--no-print-directory", "-n", *arguments]
    # What the make that runs these tests was told is not said again.
    environment = {name: text for name, text in os.environ.items() if name not in OF_MAKE}
    done = subprocess.run(command_line, cwd=TOP, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip().endswith(MAKE_TEST[command])


def test_what_lands_has_passed_make_test() -> None:
    assert (TOP / ".ci" / "run").read_text(encoding="utf-8").strip().endswith("exec make test")


def test_discover_prints_json_for_programs(ran: dict[str, Ran]) -> None:
    assert json.loads(ran["mdev-node-agent discover -o json"].output)["bootID"] == _boot_id()


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
