"""The place in which the README's commands run: a control plane, two nodes, and programs that plain pip installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import structlog

from tests.controlplane.control_plane import ControlPlane
from tests.deployed import TOP, as_administrator, kubeconfig_of, mark_ready, start_small
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.simulated.node import SimulatedNode
from tests.waiting import wait_until
from tests.whole_command import Ran, run_whole

PATIENCE = 300.0
"""Seconds for one command: pip and the demos take less than 60 on a quiet machine, not where much else runs."""
STATE = Path("/var/lib/mdev-node-agent")
PLAYED = "node-a"


class Expected:
    """What the README promises of a command.

    ``words`` that it prints, possibly only ``within`` some seconds (it is run again until then). ``seen``: it goes on
    until told to stop, and this command succeeds once it works.
    """

    def __init__(self, *words: str, within: float = 0.0, seen: str = "") -> None:
        self.words = words
        self.within = within
        self.seen = seen


def run_all(directory: Path, commands: Mapping[str, Expected], demos: Sequence[str]) -> dict[str, Ran]:
    """Run the commands in their order; beside them the demos, which have control planes of their own."""
    with ThreadPoolExecutor(max_workers=1) as beside:
        shown = {demo: beside.submit(_run, demo, TOP, os.environ) for demo in demos}
        with _scene(directory) as scene:
            ran = scene.run(commands)
        return {**ran, **{demo: future.result() for demo, future in shown.items()}}


class _Scene:
    def __init__(self, place: Path, environment: Mapping[str, str], plane: ControlPlane) -> None:
        self._place = place
        self._environment = environment
        self._plane = plane
        self._kernel = MemoryKernel(drivers=[Gfx()])
        self._log = (place.parent / "agent-of-node-a.log").open("w", encoding="utf-8")

    def run(self, commands: Mapping[str, Expected]) -> dict[str, Ran]:
        """Run them; those that go on are stopped at the end, in the order in which they were started."""
        ran: dict[str, Ran] = {}
        going: dict[str, subprocess.Popen[bytes]] = {}
        with ExitStack() as stack:
            for command, expected in commands.items():
                if not expected.seen:
                    ran[command] = self._ended(command, expected)
                    continue
                going[command] = stack.enter_context(self._going(command))
                if len(going) == 1:
                    stack.enter_context(self._played_node())
                ran[command] = self._ended(expected.seen, Expected(within=PATIENCE))
            ran["the device that was placed"] = self._placed()
            for command, process in going.items():
                ran[command] = self._stopped(process, ran[command])
        return ran

    def _ended(self, command: str, expected: Expected) -> Ran:
        deadline = time.monotonic() + expected.within
        while True:
            ran = _run(command, self._place, self._environment)
            right = ran.status == 0 and all(word in ran.output for word in expected.words)
            if right or time.monotonic() > deadline:
                return ran
            time.sleep(0.3)

    @contextmanager
    def _going(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        with self._log_of(command).open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self._place,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _stopped(self, process: subprocess.Popen[bytes], seen: Ran) -> Ran:
        """SIGTERM, as systemd and the kubelet stop it; what it was seen to do counts first."""
        if seen.status != 0:
            return seen
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        return Ran(status=process.returncode if process.returncode is not None else -1, output=seen.output)

    def _log_of(self, command: str) -> Path:
        return self._place.parent / f"{command.split()[0]}.log"

    @contextmanager
    def _played_node(self) -> Iterator[None]:
        """The node that has devices: the real agent, with the identity of one, on a kernel in memory."""
        kubeconfig = kubeconfig_of(self._plane, self._place.parent, "agent", PLAYED)
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(self._log))
        node = SimulatedNode(PLAYED, self._kernel, kubeconfig=kubeconfig, state_dir=self._place.parent / PLAYED)
        node.start()
        try:
            yield
        finally:
            node.stop()
            structlog.reset_defaults()
            self._log.close()

    def _placed(self) -> Ran:
        """Whether the device of place-gpu is in the kernel, and stays there without a reservation."""
        asked = "kubectl get devicemigration place-gpu -o jsonpath={.status.devices[0].instance}"
        device = _run(asked, self._place, self._environment).output.strip()
        try:
            wait_until(self._no_reservations, timeout=30, what="the reservation to be handed over and removed")
        except TimeoutError as error:
            return Ran(status=1, output=str(error))
        there = bool(device) and device in self._kernel.dump_tree()
        return Ran(status=0 if there else 1, output=f"device {device!r}; the kernel has it: {there}")

    def _no_reservations(self) -> bool:
        asked = f"kubectl get nodereservations {PLAYED} -o jsonpath={{.spec.reservations}}"
        return _run(asked, self._place, self._environment).output.strip() in ("", "[]")


@contextmanager
def _scene(directory: Path) -> Iterator[_Scene]:
    """A place that looks like the checkout, so that what the commands write does not land in it."""
    place = directory / "checkout"
    place.mkdir()
    for entry in TOP.iterdir():
        if not entry.name.startswith("."):
            (place / entry.name).symlink_to(entry)
    fresh = directory / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(fresh)], check=True)
    had_state = STATE.exists()
    with start_small(directory / "control-plane") as plane:
        environment = {**as_administrator(plane, directory), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        environment["PATH"] = f"{fresh / 'bin'}{os.pathsep}{environment['PATH']}"
        for node in (socket.gethostname(), PLAYED):
            mark_ready(plane, node)
        try:
            yield _Scene(place, environment, plane)
        finally:
            if not had_state:
                shutil.rmtree(STATE, ignore_errors=True)


def _run(command: str, place: Path, environment: Mapping[str, str]) -> Ran:
    return run_whole(command, cwd=place, timeout=PATIENCE, env=environment)
