"""Short runs of chaos (``make chaos`` has the long ones): every invariant, and every fault that was planned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.life import Snare
from tests.chaos.plan import Ending, Move, Plan, make_plan
from tests.chaos.result import told
from tests.chaos.run import run_plan
from tests.conftest import establish_crds
from tests.controlplane.control_plane import ControlPlane
from tests.deployed import start_small

MOVES = 24


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with start_small(tmp_path_factory.mktemp("control-plane")) as started:
        establish_crds(started)
        yield started


async def run(plan: Plan, plane: ControlPlane, directory: Path) -> None:
    result = await run_plan(plan, plane, directory)
    if result.wrong:
        pytest.fail(told(result, len(plan.moves)), pytrace=False)


async def test_after_a_run_of_chaos_every_invariant_holds(plane: ControlPlane, tmp_path: Path) -> None:
    await run(make_plan(1, MOVES), plane, tmp_path)


async def test_what_a_dead_agent_still_creates_when_its_migration_is_undone_is_no_leak(
    plane: ControlPlane, tmp_path: Path
) -> None:
    moves = tuple(Move(number=n, ending=Ending.EARLY, opens=True, memory=2048, node="a") for n in range(12))
    kills = tuple((4 * n, Snare(step="inside create", hold=4.0)) for n in range(3))
    await run(Plan(seed=0, moves=moves, troubles=kills), plane, tmp_path)
