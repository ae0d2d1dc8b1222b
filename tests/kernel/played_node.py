"""What a guest's agent has beside it on a node of KubeVirt, played in the guest: the kubelet, and virt-handler's call.

``python -m tests.kernel.played_node DIRECTORY KUBELET-DIR HOOK-SOCKET``: the host appends commands to the directory's
file ``commands``, one JSON array a line, and for each a line with its answer comes to ``answers``, in order. The
sockets are the guest's own, as the agent in it meets them; the directory is all that both sides see.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kubelet.fake import FakeKubelet
from tests.kubelet.virt_handler import call_hook

INTERVAL = 0.1


async def play(directory: Path, kubelet: FakeKubelet, hook: Path) -> None:
    """Do what is commanded until killed."""
    calls: dict[str, Callable[..., None]] = {"offer": kubelet.offer, "give": kubelet.give, "end": kubelet.end}
    done = 0
    while True:
        lines = (directory / "commands").read_text().split("\n")[:-1]
        for line in lines[done:]:
            name, *arguments = json.loads(line)
            answer: Any = await call_hook(hook, *arguments) if name == "hook" else calls[name](*arguments)
            with (directory / "answers").open("a") as answers:
                answers.write(json.dumps(answer) + "\n")
        done = len(lines)
        await asyncio.sleep(INTERVAL)


def main() -> None:
    """Serve PodResources and play."""
    directory, kubelet_dir, hook = map(Path, sys.argv[1:])
    with FakeKubelet(kubelet_dir).running() as kubelet:
        asyncio.run(play(directory, kubelet, hook))


if __name__ == "__main__":
    main()
