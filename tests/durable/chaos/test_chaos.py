"""A short run of chaos (``make chaos`` has the long ones): one seed, every invariant, every fault that was planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.__main__ import told
from tests.chaos.plan import make_plan
from tests.chaos.run import run_plan
from tests.conftest import establish_crds
from tests.deployed import start_small

MOVES = 30


@pytest.mark.parametrize("seed", [1])
async def test_after_a_run_of_chaos_every_invariant_holds(seed: int, tmp_path: Path) -> None:
    with start_small(tmp_path / "control-plane") as plane:
        establish_crds(plane)
        result = await run_plan(make_plan(seed, MOVES), plane, tmp_path)
    if result.wrong:
        pytest.fail(told(result, MOVES), pytrace=False)
