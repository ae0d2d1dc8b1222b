"""The real operator as a process of its own, once it follows KubeVirt's migrations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.simulated.operator_process import OperatorProcess


@contextlib.contextmanager
def operator(kubeconfig: Path, log: Path, namespace: str, *options: str) -> Iterator[Callable[[], str]]:
    """``mdev-operator run`` with its Lease in ``namespace``, leading; gives what it has said until now."""
    with OperatorProcess(kubeconfig, log, *options, namespace=namespace) as process:
        process.wait_said("following its migrations")
        yield process.log
