"""Posts Events, each once.

What there is to tell is worked out anew from the objects in each round, so nothing is lost with a process, and the name
of an Event lets the API server refuse the second one. What this process has posted it does not even ask about again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import create
from mdev_api.kube.resources import EVENTS
from mdev_operator.context import Context
from mdev_operator.telling.notes import Note, Regarding, event, name_of, namespace_of

log = structlog.get_logger(__name__)


async def post(ctx: Context, key: str, about: Regarding, notes: Iterable[Note]) -> None:
    """Post what this process has not posted yet. ``key``: the queue key under which that is remembered.

    Raises what may pass (the API server is busy, or away), so that the round is repeated; a refusal is logged instead.
    """
    for note in notes:
        told = ctx.told.setdefault(key, set())
        name = name_of(about, note)
        if name in told:
            continue
        try:
            await ctx.send(create(EVENTS, event(about, note, datetime.now(UTC)), namespace_of(about)))
        except ApiError as error:
            if not (error.already_exists or error.forbidden or error.invalid or error.not_found):
                raise
            if not error.already_exists:
                # Without the right to tell people there, or in a namespace that is going: the log has to do.
                log.error("an Event was refused", note=note.text, reason=str(error))
        told.add(name)
