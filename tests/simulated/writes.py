"""How many writes the API server was sent, by its own count: what shows that nothing is written of nothing new."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from tests.controlplane.control_plane import ControlPlane
from tests.simulated.cluster import PATIENCE
from tests.waiting import eventually


async def settled_writes(plane: ControlPlane) -> Counter[str]:
    """The writes that the API server was sent for our kinds, when there came no more for a second."""
    last = await asyncio.to_thread(written, plane)
    since = asyncio.get_running_loop().time()

    async def look() -> bool:
        nonlocal last, since
        now, count = asyncio.get_running_loop().time(), await asyncio.to_thread(written, plane)
        if count != last:
            last, since = count, now
        return now - since >= 1.0

    await eventually(look, timeout=PATIENCE, what="no more writes for a second")
    return last


def written(plane: ControlPlane) -> Counter[str]:
    """Writes that the API server has answered so far for the kinds of our group, also those that changed nothing.

    But for CompatibilityClasses: their counts are written up to ten seconds after what they count.
    """
    counted: Counter[str] = Counter()
    for line in plane.kubectl("get", "--raw", "/metrics").stdout.splitlines():
        if not line.startswith("apiserver_request_total{") or 'group="mdev-operator.io"' not in line:
            continue
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        writes = labels["verb"] in ("POST", "PUT", "PATCH", "APPLY", "DELETE")
        if writes and labels["resource"] != "compatibilityclasses":
            what = f"{labels['verb']} {labels['resource']} {labels['subresource']} {labels['code']}"
            counted[what] += int(float(line.rpartition(" ")[2]))
    return counted
