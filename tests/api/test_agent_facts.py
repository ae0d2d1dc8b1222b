"""facts.d of a running agent, against a real API server: profiles follow the files, and a wrong file is told."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import get
from mdev_api.kube.resources import DEVICE_PROFILES
from tests.agent.node import Node, ensure_namespace
from tests.controlplane.control_plane import ControlPlane
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty
from tests.waiting import eventually

RESCAN = 0.2


@pytest_asyncio.fixture
async def node(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Node]:
    """A node with serial cards, whose agent reads the facts of a directory."""
    facts = tmp_path / "facts.d"
    facts.mkdir()
    async with Client(load(control_plane.kubeconfig)) as client:
        await ensure_namespace(client)
        yield Node(
            name=f"node-{uuid.uuid4().hex[:8]}",
            kernel=MemoryKernel(drivers=[Mtty()]),
            client=client,
            kubeconfig=control_plane.kubeconfig,
            state_dir=tmp_path / "state",
            facts_dir=facts,
        )


def write(node: Node, name: str, text: str) -> None:
    """Beside it first, as the files are to be written."""
    assert node.facts_dir is not None
    beside = node.facts_dir / f".{name}"
    beside.write_text(text, encoding="utf-8")
    beside.rename(node.facts_dir / name)


async def facts(node: Node) -> list[dict[str, str]]:
    """What the published profile of one type says."""
    profile = await node.client.send(get(DEVICE_PROFILES, await node.profile("mtty", "mtty-1")))
    said: list[dict[str, str]] = profile["spec"].get("facts", [])
    return said


async def healthy(node: Node) -> dict[str, Any]:
    conditions = (await node.status()).get("conditions", ())
    return next((c for c in conditions if c["type"] == "Healthy"), {})


async def test_profiles_follow_the_facts_at_the_next_rescan(node: Node) -> None:
    async with node.agent(rescan_seconds=RESCAN):
        assert await facts(node) == []
        write(node, "site.json", json.dumps({"parents": "mtty", "facts": {"firmware": "7"}}))

        async def seven() -> bool:
            return await facts(node) == [{"name": "firmware", "value": "7"}]

        await eventually(seven, timeout=10, what="the fact in the published profile")


async def test_a_wrong_file_is_told_in_healthy_with_its_name_and_place_and_others_count(node: Node) -> None:
    write(node, "bad.json", '{"parents": "*",\n "facts": {"firmware" 7}}')
    write(node, "good.json", json.dumps({"parents": "*", "facts": {"firmware": "7"}}))
    async with node.agent(rescan_seconds=RESCAN):
        assert await facts(node) == [{"name": "firmware", "value": "7"}]

        async def told() -> dict[str, Any] | None:
            condition = await healthy(node)
            return condition if condition.get("status") == "False" else None

        message = (await eventually(told, timeout=10, what="Healthy=False"))["message"]
        assert "bad.json" in message
        assert "line 2 column" in message

        write(node, "bad.json", json.dumps({"parents": "*", "facts": {}}))

        async def well() -> bool:
            return (await healthy(node)).get("status") == "True"

        await eventually(well, timeout=10, what="Healthy=True after the file was corrected")
