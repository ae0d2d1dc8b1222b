"""Examples of docs/examples are what the programs read and print."""

from __future__ import annotations

import json
from pathlib import Path

from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.discover_command import as_document
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.facts import read_facts
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def test_what_a_node_has_seen_is_what_discover_prints() -> None:
    example = json.loads((EXAMPLES / "seen.json").read_text(encoding="utf-8"))
    kernel = MemoryKernel(drivers=[Mtty()], boot_id=example["bootID"])

    assert example == as_document(observe(kernel, [MdevBackend()]))


def test_the_agent_reads_the_example_of_facts() -> None:
    said = read_facts(EXAMPLES / "facts.d")

    assert (said.told, len(said.statements)) == ((), 2)
