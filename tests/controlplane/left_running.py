"""A control plane that is left running for a person, below ``.run/`` of the checkout.

What it consists of is written to a state file with each process's start time, so that ``down`` ends exactly those
processes even days later, and never a stranger that got the same id.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.processes import Process, stop

DIRECTORY = Path(__file__).resolve().parents[2] / ".run" / "controlplane"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftRunning:
    """What the state file says."""

    kubeconfig: Path
    server: str
    processes: tuple[Process, ...]

    @property
    def whole(self) -> bool:
        """Whether every part of it still runs."""
        return all(process.alive for process in self.processes)


def running(directory: Path = DIRECTORY) -> LeftRunning | None:
    """Return the control plane that was left running, or None if there is none or a part of it ended."""
    state = _read(directory)
    return state if state is not None and state.whole else None


def up(directory: Path = DIRECTORY, *, programs: Mapping[str, Path] | None = None) -> LeftRunning:
    """Leave one running, unless one runs already; return it.

    Remains of one of which a part has ended are ended first. Raises what ``ControlPlane.start`` raises.
    """
    with _locked(directory):
        found = running(directory)
        if found is not None:
            return found
        _end(directory)
        plane = ControlPlane.start(directory, outlive=True, programs=programs)
        try:
            state = LeftRunning(kubeconfig=plane.kubeconfig, server=plane.server, processes=plane.processes)
            _write(directory, state)
        except BaseException:
            plane.stop()
            raise
        return state


def down(directory: Path = DIRECTORY) -> tuple[str, ...]:
    """End it and remove its directory; return the names of the programs that were still running."""
    with _locked(directory):
        return _end(directory)


def _end(directory: Path) -> tuple[str, ...]:
    state = _read(directory)
    if state is None:
        return ()
    ended = tuple(process.name for process in reversed(state.processes) if stop(process))
    shutil.rmtree(directory)
    return ended


def _read(directory: Path) -> LeftRunning | None:
    try:
        text = (directory / "state.json").read_text()
    except FileNotFoundError:
        return None
    saved = json.loads(text)
    processes = tuple(Process(**{**process, "log": Path(process["log"])}) for process in saved["processes"])
    return LeftRunning(kubeconfig=Path(saved["kubeconfig"]), server=saved["server"], processes=processes)


def _write(directory: Path, state: LeftRunning) -> None:
    half = directory / "state.json.new"
    half.write_text(json.dumps(asdict(state), default=str, indent=2) + "\n")
    half.replace(directory / "state.json")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f"{directory.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
