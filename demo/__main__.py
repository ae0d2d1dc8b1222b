"""``python -m demo [--nodes guests|simulated] [--break preparer]``: the main job end to end, on real parts.

Sets everything up, shows each step live, ends in a table. Exit status: 0 all held; 1 something did not, and what.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from demo.nodes import CARDS, Node
from demo.objects import Cluster, DemoFailed
from demo.progress import Progress
from demo.script import SERIAL_CARD, main_job
from tests.conftest import establish_crds
from tests.controlplane.binaries import ensure
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.programs import UnavailableError
from tests.controlplane.readiness import StartError
from tests.kernel.guest.errors import GuestError

NAMESPACES = ("mdev-operator", "mdev-node-agent")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="The main job, end to end.")
    parser.add_argument(
        "--nodes",
        choices=["guests", "simulated"],
        default="guests",
        help="qemu guests with real kernels, or kernels in memory for machines without qemu",
    )
    parser.add_argument(
        "--break", dest="broken", choices=["preparer"], help="let node-b's agent lie; the demo must then fail"
    )
    chosen = parser.parse_args(arguments)
    progress = Progress()
    try:
        with tempfile.TemporaryDirectory(prefix="mdev-demo-") as directory:
            _run(Path(directory), progress, simulated=chosen.nodes == "simulated", broken=chosen.broken is not None)
    except (DemoFailed, TimeoutError) as error:
        progress.table()
        progress.console.print("\n[bold red]The demo failed:[/bold red]")
        progress.console.print(str(error), markup=False)
        return 1
    except (UnavailableError, StartError, GuestError, RuntimeError, OSError) as error:
        progress.console.print("[bold red]The demo could not be set up:[/bold red]")
        progress.console.print(str(error), markup=False)
        progress.console.print("Without qemu, `make demo NODES=simulated` runs the same on kernels in memory.")
        return 1
    progress.table()
    progress.console.print("[bold green]The main job works, end to end.[/bold green]")
    return 0


def _run(directory: Path, progress: Progress, *, simulated: bool, broken: bool) -> None:
    with progress.step("Programs of the control plane"):
        ensure()
    with progress.step("Control plane with our CRDs and the serial card's DeviceModel"):
        plane = ControlPlane.start(directory / "control-plane")
    with plane, _nodes(directory, plane, progress, simulated=simulated) as nodes:
        cluster = Cluster(plane)
        with progress.step("CRDs, namespaces, Nodes; operator and agents start"):
            establish_crds(plane)
            cluster.apply_file(SERIAL_CARD)
            for namespace in NAMESPACES:
                cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            for name in CARDS:
                cluster.mark_ready(name)
            for name, node in nodes.items():
                node.run_agent(lying=broken and name == "node-b")
        with _operator(plane, directory / "operator.log"):
            try:
                main_job(cluster, nodes, progress)
            except BaseException:
                _show_logs(progress, nodes, directory / "operator.log")
                raise


@contextmanager
def _nodes(directory: Path, plane: ControlPlane, progress: Progress, *, simulated: bool) -> Iterator[dict[str, Node]]:
    context: AbstractContextManager[dict[str, Node]]
    if simulated:
        from demo.simulated import simulated_nodes

        title, context = "Three nodes with kernels in memory", simulated_nodes(directory, plane)
    else:
        from demo.guests import guest_nodes

        title, context = "Three guests boot Debian's kernel with mdev (about 10 s)", guest_nodes(directory, plane)
    with progress.step(title):
        nodes = context.__enter__()
    try:
        yield nodes
    finally:
        context.__exit__(*sys.exc_info())


@contextmanager
def _operator(plane: ControlPlane, log: Path) -> Iterator[None]:
    """The real operator as its own process."""
    command = [sys.executable, "-m", "mdev_operator", "run", f"--kubeconfig={plane.kubeconfig}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _show_logs(progress: Progress, nodes: dict[str, Node], operator_log: Path) -> None:
    progress.console.print("\n[bold]the end of the operator's log[/bold]")
    progress.console.print(operator_log.read_text(errors="replace")[-3000:], markup=False)
    for name, node in nodes.items():
        progress.console.print(f"\n[bold]the end of the log of {name}'s agent[/bold]")
        progress.console.print(node.agent_log(), markup=False)


if __name__ == "__main__":
    sys.exit(main())
