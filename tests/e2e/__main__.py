"""``python -m tests.e2e up|test|down``: the project in a kind cluster, with real kubelets.

``up`` starts what does not run yet and leaves it running; ``test`` does that, runs the tests and ends everything, if it
is not told to keep it; ``down`` ends what runs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time

from tests.controlplane.programs import UnavailableError
from tests.e2e import cluster, daemon, deployment, images, sysfs_tree
from tests.e2e.command import StepError, say
from tests.e2e.places import CHECKOUT, RUN, cache


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e", description=__doc__)
    parser.add_argument("what", choices=("up", "test", "down"))
    parser.add_argument("--keep", action="store_true", help="leave the cluster running after the tests")
    parser.add_argument("pytest", nargs="*", help="further arguments for pytest")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        if arguments.what == "down":
            down()
            return 0
        up()
        say(f"e2e: everything runs after {time.monotonic() - began:.0f} s; kubeconfig: {cluster.KUBECONFIG}")
        if arguments.what == "up":
            say("e2e: make e2e-down ends it")
            return 0
        try:
            tests = [sys.executable, "-m", "pytest", "tests/e2e", "-v", *arguments.pytest]
            return subprocess.run(tests, cwd=CHECKOUT, check=False).returncode
        finally:
            if not arguments.keep:
                down()
            say(f"e2e: {time.monotonic() - began:.0f} s in all")
    except (StepError, UnavailableError) as error:
        say(f"e2e: error: {error}")
        return 3


def up() -> None:
    """Start everything that does not run yet."""
    cache().mkdir(parents=True, exist_ok=True)
    RUN.mkdir(parents=True, exist_ok=True)
    environment = daemon.environment()
    running = cluster.ensure(environment)
    for node in cluster.NODES:
        if not any(running.tree(node).iterdir()):
            sysfs_tree.make(running.tree(node), instances={}, allowed=(4096, 8192))
    built = dict(zip(images.PACKAGES, images.ensure(environment), strict=True))
    running.load(*built.values())
    (RUN / "pod-image").write_text(deployment.pod_image(built))
    deployment.deploy(running, built)


def down() -> None:
    """End everything that runs."""
    if daemon.reachable():
        cluster.delete(daemon.environment())
    daemon.stop()
    shutil.rmtree(RUN, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
