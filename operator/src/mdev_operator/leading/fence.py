"""A new leader's first act: raise the fence wherever something is reserved, so that no older leader can write there."""

from __future__ import annotations

import structlog

from mdev_operator import reservations
from mdev_operator.context import Context
from mdev_operator.leading.elector import Elector
from mdev_operator.reservations import Raced

log = structlog.get_logger(__name__)


async def establish(ctx: Context, elector: Elector) -> int:
    """Raise our fence above every fence that is found, write it into every object with entries, and return it."""
    found = ctx.inventory.all_reservations()
    highest = max((r.spec.fence for r in found.values()), default=0)
    term = await elector.raise_fence(highest)
    for node in sorted(found):
        await _raise(ctx, node, term.fence)
    log.info("fence raised", fence=term.fence, nodes=len(found))
    return term.fence


async def _raise(ctx: Context, node: str, fence: int) -> None:
    """Until it is there: the agent's status writes do not disturb, only an older leader's last write can."""
    while True:
        seen = ctx.inventory.reservations(node)
        if seen is None or not seen.spec.reservations or seen.spec.fence >= fence:
            return
        try:
            ctx.inventory.wrote(await reservations.raise_fence(ctx.send, seen, fence), node)
            return
        except Raced as raced:
            ctx.inventory.wrote(raced.current, node)
