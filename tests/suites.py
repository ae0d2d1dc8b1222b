"""``python -m tests.suites [lint|unit|api|kubevirt|durable|kernel ...]``: every check, with a time budget for each.

Without arguments all run: lint first, then the suites. What a suite needs and the machine lacks is fetched or built
before its clock starts. A suite over its budget is told so (another machine may be busy), one over twice its budget is
ended and has failed. Where qemu, Go and apt could be had, a suite that ran no test, or skipped one, has failed.
Elsewhere what cannot run is said loudly, and the rest still counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
WORKERS = 2
"""Test files at a time, each worker with a control plane of its own: most tests wait for other programs."""

LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "--quiet", "."),
    ("mypy",),
    ("lint-imports",),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A folder of tests, its budget in minutes with a warm cache on 2 cores, and what gets its parts ready: modules."""

    name: str
    minutes: float
    prepare: tuple[tuple[str, ...], ...] = ()


CONTROL_PLANE = ("tests.controlplane", "binaries")
GUESTS = ("tests.kernel.guest", "prepare")

SUITES = (
    Suite(name="unit", minutes=3),
    Suite(name="api", minutes=5, prepare=(CONTROL_PLANE,)),
    Suite(name="kubevirt", minutes=6, prepare=(CONTROL_PLANE,)),
    Suite(name="durable", minutes=5, prepare=(CONTROL_PLANE,)),
    Suite(name="kernel", minutes=12, prepare=(CONTROL_PLANE, GUESTS)),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one suite. ``fault`` is None if it is fine."""

    name: str
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    fault: str | None = None
    note: str = "ok"


def main() -> int:
    """The command line; 0 if everything that was asked for is fine."""
    known = ["lint", *(suite.name for suite in SUITES)]
    parser = argparse.ArgumentParser(prog="python -m tests.suites", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SUITE", help=f"{', '.join(known)} (default: all)")
    names = parser.parse_args().names
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(known)}")
    outcomes = []
    if not names or "lint" in names:
        outcomes.append(_lint())
    outcomes += [_run(suite) for suite in SUITES if not names or suite.name in names]
    return _report(outcomes)


def _lint() -> Outcome:
    began = time.monotonic()
    failed = []
    for command in LINT:
        print(f"== lint: {' '.join(command)}", flush=True)
        done = subprocess.run([TOP / ".venv" / "bin" / command[0], *command[1:]], cwd=TOP, check=False)
        if done.returncode != 0:
            failed.append(command[0])
    fault = f"{', '.join(failed)} found something" if failed else None
    return Outcome(name="lint", seconds=time.monotonic() - began, fault=fault)


def _run(suite: Suite) -> Outcome:
    print(f"\n== {suite.name}", flush=True)
    for part in suite.prepare:
        prepared = subprocess.run([sys.executable, "-m", *part], cwd=TOP, check=False)
        if prepared.returncode != 0:
            return _unavailable(suite)
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "junit.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            f"tests/{suite.name}",
            "-q",
            f"--junit-xml={report}",
            "--durations=8",
            f"--numprocesses={WORKERS}",
            "--dist=loadfile",
        ]
        began = time.monotonic()
        late = None
        try:
            rc = subprocess.run(command, cwd=TOP, check=False, timeout=2 * 60 * suite.minutes).returncode
        except subprocess.TimeoutExpired:
            rc, late = 1, f"ended after {2 * suite.minutes:g} minutes, twice its budget"
        seconds = time.monotonic() - began
        return _judge(suite, rc, seconds, report, late)


def _judge(suite: Suite, rc: int, seconds: float, report: Path, late: str | None) -> Outcome:
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    if report.exists():
        for found in ElementTree.parse(report).getroot().iter("testsuite"):
            for key in counts:
                counts[key] += int(found.get(key, "0"))
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    fault = late
    if fault is None and (rc != 0 or failed):
        fault = f"pytest ended with {rc}"
    if fault is None and passed == 0:
        fault = "ran no test"
    if fault is None and counts["skipped"] and _complete():
        fault = f"skipped {counts['skipped']} on a machine that has everything"
    note = f"OVER ITS BUDGET of {suite.minutes:g} minutes" if seconds > 60 * suite.minutes else "ok"
    return Outcome(
        name=suite.name,
        seconds=seconds,
        passed=passed,
        failed=failed,
        skipped=counts["skipped"],
        fault=fault,
        note=note,
    )


def _complete() -> bool:
    """Whether this machine has, or can install, all that any suite needs."""
    apt = shutil.which("apt-get") is not None and os.geteuid() == 0
    return shutil.which("go") is not None and (apt or shutil.which("qemu-system-x86_64") is not None)


def _unavailable(suite: Suite) -> Outcome:
    if _complete():
        return Outcome(name=suite.name, seconds=0, fault="its parts could not be made ready")
    print(f"!! the {suite.name} suite does not run here: see above for what is missing", flush=True)
    return Outcome(name=f"{suite.name} (NOT RUN)", seconds=0)


def _report(outcomes: list[Outcome]) -> int:
    print(f"\n{'suite':<18}{'seconds':>9}{'passed':>9}{'failed':>9}{'skipped':>9}")
    for o in outcomes:
        counts = f"{o.passed:>9}{o.failed:>9}{o.skipped:>9}" if o.name != "lint" else " " * 27
        print(f"{o.name:<18}{o.seconds:>9.1f}{counts}  {o.fault or o.note}")
    passed, failed, skipped = (sum(getattr(o, key) for o in outcomes) for key in ("passed", "failed", "skipped"))
    faults = [o for o in outcomes if o.fault]
    if outcomes and any(o.name != "lint" for o in outcomes):
        print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    if faults:
        print("FAILED: " + "; ".join(f"{o.name}: {o.fault}" for o in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
