"""The back-ends of an agent: a new one is its own file and a line here."""

from __future__ import annotations

from pathlib import Path

from mdev_node_agent.backends.backend import Backend
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.backends.nvidia import NAMES_FILE, Names, NvidiaBackend
from mdev_node_agent.backends.vfio_pci import VfioPciBackend


def every_backend(state_dir: Path | None = None) -> tuple[Backend, ...]:
    """All of them. ``state_dir``: where what they have to remember survives the process; None: nowhere."""
    names = Names(None if state_dir is None else state_dir / NAMES_FILE)
    return MdevBackend(), NvidiaBackend(names=names), VfioPciBackend()
