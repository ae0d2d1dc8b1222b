"""``make demo BREAK=preparer``: an agent that says what it should have done and does nothing.

It runs the real agent on a kernel of its own in memory instead of the node's, and tells the API server what happens
there. Nobody who reads only API objects can tell; the demo's last word is sysfs, so it must fail.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.nodes import CARDS
from demo.simulated import kernel_with
from mdev_node_agent.logs import configure
from mdev_node_agent.run import run
from mdev_node_agent.settings import RunSettings


def main(arguments: Sequence[str]) -> None:
    """The same options as ``mdev-node-agent run`` has; only those that matter to a liar are looked at."""
    options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    settings = RunSettings(
        node=options["--node-name"],
        kubeconfig=Path(options["--kubeconfig"]),
        state_dir=Path(options["--state-dir"]),
    )
    configure("console")
    kernel = kernel_with(CARDS[settings.node])
    asyncio.run(run(settings, port=kernel, source=kernel))


if __name__ == "__main__":
    main(sys.argv[1:])
