"""Reads NodeReservations, entry by entry, so that one that this version does not understand hides no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import ValidationError

from mdev_api.kinds.node_reservations import Entry, EntryAnswer, FailureReason, Intent, State
from mdev_node_agent.deciding.steps import failure

log = structlog.get_logger(__name__)


def understood(obj: Mapping[str, Any]) -> tuple[list[Entry], dict[str, EntryAnswer]]:
    """The entries, and the answers so far by id.

    An entry that cannot be understood is never acted on. With intent Hold it is answered as Failed (Invalid), so that
    whoever wrote it learns of it; anything else done to it would be a guess.
    """
    entries: list[Entry] = []
    answers: dict[str, EntryAnswer] = {}
    for content in obj.get("status", {}).get("reservations", ()):
        try:
            answer = EntryAnswer.model_validate(content)
            answers[answer.id] = answer
        except ValidationError as error:
            log.error("own answer not understood", reservation=content.get("id"), reason=_first(error))
    for content in obj.get("spec", {}).get("reservations", ()):
        try:
            entries.append(Entry.model_validate(content))
        except ValidationError as error:
            log.error("reservation not understood", reservation=content.get("id"), reason=_first(error))
            if content.get("intent") == Intent.HOLD:
                why = failure(FailureReason.INVALID, f"this agent does not understand the entry: {_first(error)}")
                answers[content["id"]] = EntryAnswer(id=content["id"], state=State.FAILED, failure=why)
    return entries, answers


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
