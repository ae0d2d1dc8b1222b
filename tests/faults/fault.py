"""What can go wrong with a request, as values: which requests, what happens to them, how often.

Every fault has a name, by which the log of requests and a run's tally tell of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.request import EVERYTHING, Match


@dataclass(frozen=True, slots=True)
class Status:
    """The request is refused with this HTTP status and a Status object, and never reaches the API server.

    ``retry_after``: seconds, in the header of that name. ``reason``: as the API server has it, such as
    ``TooManyRequests``, ``Conflict`` or ``Expired``.
    """

    code: int
    reason: str = ""
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST), and the request never reaches the API server."""


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer comes, until whoever asks gives up or the fault ends; then the connection is reset."""


@dataclass(frozen=True, slots=True)
class Slow:
    """The request is kept back for so many seconds, then done; its caller may be gone by then."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """The request is done, and its answer is lost: the connection is reset instead."""


@dataclass(frozen=True, slots=True)
class EndWatch:
    """A watch ends in good order after so many seconds, as when the API server closes it."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """A watch begins, says ERROR with this code at once, and ends. 410 is how a compacted version is told of."""

    code: int = 410
    reason: str = "Expired"


@dataclass(frozen=True, slots=True)
class Mute:
    """A watch begins and never says anything, not even its end: what is between the two lost the connection's state."""


What = Mute | Status | Reset | Hang | Slow | LoseAnswer | EndWatch | ErrorEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``what`` happens to the requests that ``match`` means, to the first ``times`` of them (None: to all)."""

    what: What
    match: Match = EVERYTHING
    times: int | None = None

    @property
    def name(self) -> str:
        """What the log calls it: ``429``, ``reset``, ``hang``, ``lost answer`` ..."""
        match self.what:
            case Status(code=code):
                return str(code)
            case ErrorEvent(code=code):
                return f"error event {code}"
            case LoseAnswer():
                return "lost answer"
            case EndWatch():
                return "ended watch"
            case _:
                return type(self.what).__name__.lower()
