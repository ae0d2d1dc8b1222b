"""An agent that starts with a damaged memory tells it, and runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mdev_node_agent.memory import journal, ledger
from mdev_node_agent.run import run
from mdev_node_agent.settings import RunSettings
from tests.agent.full_disk import FullDisk
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.unit.agent.test_journal import BEGIN
from tests.waiting import eventually


async def told_at_start(directory: Path, kernel: MemoryKernel, event: str) -> list[dict[str, Any]]:
    """What an agent that cannot reach its API server says under this heading when it starts."""
    server = {"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "none", "context": {"cluster": "none", "user": "none"}}
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [server], "contexts": [context], "users": [{"name": "none", "user": {}}],
    }  # fmt: skip
    (directory / "kubeconfig").write_text(json.dumps(config))
    settings = RunSettings(node="node", kubeconfig=directory / "kubeconfig", state_dir=directory / "state")
    with capture_logs() as logs:
        task = asyncio.create_task(run(settings, port=kernel, source=kernel))

        async def works() -> bool:
            # Its first request comes after all that is told at start.
            assert not task.done(), task.exception()
            return any(line.get("retry_in") for line in logs)

        try:
            await eventually(works, timeout=60, what="the agent to be at work")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return [dict(line) for line in logs if line["event"] == event]


@pytest.mark.parametrize(
    ("file", "content", "word"),
    [
        (journal.FILE, '{"boot":"b","reservation":"move-1","event":"beg', "torn"),
        (journal.FILE, "rubbish\n", "line 1"),
        (ledger.FILE, '{"instances": [{"inst', "ledger"),
    ],
)
async def test_damage_is_told_at_start(tmp_path: Path, file: str, content: str, word: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / file).write_text(content)
    (line,) = await told_at_start(tmp_path, MemoryKernel(drivers=[Gfx()]), "memory is damaged")
    assert str(tmp_path / "state" / file) in line["reason"] and word in line["reason"]


async def test_of_a_sound_memory_nothing_is_told(tmp_path: Path) -> None:
    assert await told_at_start(tmp_path, MemoryKernel(drivers=[Gfx()]), "memory is damaged") == []


async def test_a_disk_that_is_full_at_start_is_told_and_the_agent_runs(tmp_path: Path) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    before = journal.Journal(tmp_path / "state", kernel.boot_id())
    before.append("move-1", BEGIN)
    before.close()
    with FullDisk(tmp_path / "state"):
        (line,) = await told_at_start(tmp_path, kernel, "reservations cannot be prepared")
    assert "No space left on device" in line["reason"] and "free the disk" in line["reason"]
