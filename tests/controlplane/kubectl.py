"""Running kubectl against one cluster and nothing else of the user's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 120.0


class KubectlError(RuntimeError):
    """A kubectl command that failed; the message has the command, its exit code and what it said."""


def run_kubectl(
    kubectl: Path,
    kubeconfig: Path,
    arguments: Sequence[str],
    *,
    cache: Path,
    input: str | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run one command and return it with its output.

    ``cache`` keeps kubectl's discovery of this cluster apart from that of another one on the same port.
    Raises KubectlError on a non-zero exit when ``check`` is set.
    """
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    command = [str(kubectl), f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}", *arguments]
    done = subprocess.run(
        command, input=input, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment
    )
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise KubectlError(f"kubectl {' '.join(arguments)}: exit {done.returncode}: {said}")
    return done
