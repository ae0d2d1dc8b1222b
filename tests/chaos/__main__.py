"""``python -m tests.chaos --seed N [--seeds K] [--moves M]``: runs of chaos, each with a control plane of its own.

Exit 0 if every run kept all invariants and met every fault that was planned. A run that did not is told with its seed,
and with the command that does it again; its files stay.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import structlog

from tests.chaos.plan import make_plan
from tests.chaos.result import Result, told
from tests.chaos.run import run_plan
from tests.conftest import establish_crds
from tests.controlplane.control_plane import ControlPlane

MOVES = 120


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other (default: 1)")
    parser.add_argument("--moves", type=int, default=MOVES, help=f"migrations in each run (default: {MOVES})")
    options = parser.parse_args()
    failed = []
    for seed in range(options.seed, options.seed + options.seeds):
        directory = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
        print(f"seed {seed}: begins, {options.moves} migrations, files in {directory}", flush=True)
        result = _run(seed, options.moves, directory)
        print(told(result, options.moves), flush=True)
        if result.wrong:
            failed.append(seed)
            print(f"  the files of this run are in {directory}", flush=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"{options.seeds - len(failed)} of {options.seeds} seeds are fine" + (f"; not: {failed}" if failed else ""))
    return 1 if failed else 0


def _run(seed: int, moves: int, directory: Path) -> Result:
    log = (directory / "agents.log").open("w", encoding="utf-8")
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=log), cache_logger_on_first_use=False)
    with log, ControlPlane.start(directory / "control-plane", controllers=False, scheduler=False) as plane:
        establish_crds(plane)
        return asyncio.run(run_plan(make_plan(seed, moves), plane, directory))


if __name__ == "__main__":
    sys.exit(main())
