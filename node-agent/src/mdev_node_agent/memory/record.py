"""What was begun for one reservation, as the journal tells it: folded from its lines, used by every decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Making(StrEnum):
    """How far the making of an instance has come. ``begun``: the kernel was asked, its answer is not known."""

    NONE = "none"
    BEGUN = "begun"
    DONE = "done"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """One value that was to be changed. ``done`` False: the driver was asked, its answer is not known."""

    name: str
    type: str
    attribute: str
    before: str
    after: str
    done: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from every other write of its record: no value is written twice to one parameter."""
        return self.name, self.after


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What was begun. ``failure`` is that of api.md, as JSON: the first one, which an undo never replaces.

    ``writes`` in their order; with the write strategy OffFirst a parameter may be there twice.
    """

    instance: str
    backend: str
    making: Making = Making.NONE
    writes: tuple[Written, ...] = ()
    failure: Mapping[str, Any] | None = None

    def write_of(self, name: str, after: str) -> Written | None:
        """The write of this value to this parameter."""
        return next((written for written in self.writes if written.key == (name, after)), None)


def fold(record: Record | None, line: Mapping[str, Any]) -> Record | None:
    """The record after one more line of the journal; None: there is none. KeyError for a line that makes no sense."""
    event = line["event"]
    if event == "begin":
        return record or Record(instance=line["instance"], backend=line["backend"])
    if event == "end":
        return None
    if record is None:
        raise KeyError(f"{event} without begin")
    if event == "making":
        return replace(record, making=Making(line["state"]))
    if event == "write":
        written = Written(**{key: line[key] for key in ("name", "type", "attribute", "before", "after")})
        kept = tuple(w for w in record.writes if w.key != written.key)
        return replace(record, writes=(*kept, written))
    if event == "wrote":
        return replace(record, writes=_last_done(record.writes, line["name"]))
    if event == "failed":
        return replace(record, failure=record.failure or line["failure"])
    raise KeyError(f"unknown event {event!r}")


def _last_done(writes: tuple[Written, ...], name: str) -> tuple[Written, ...]:
    """Of the writes to one parameter the last is answered: none is begun before that is so."""
    last = max((position for position, w in enumerate(writes) if w.name == name), default=-1)
    return tuple(replace(w, done=True) if position == last else w for position, w in enumerate(writes))


def lines_of(record: Record) -> list[dict[str, Any]]:
    """The shortest lines that fold into this record."""
    lines: list[dict[str, Any]] = [{"event": "begin", "instance": record.instance, "backend": record.backend}]
    if record.making is not Making.NONE:
        lines.append({"event": "making", "state": str(record.making)})
    for w in record.writes:
        lines.append(write_line(w))
        if w.done:
            lines.append({"event": "wrote", "name": w.name})
    if record.failure is not None:
        lines.append({"event": "failed", "failure": dict(record.failure)})
    return lines


def write_line(written: Written) -> dict[str, Any]:
    """The line that goes to disk before the driver is asked."""
    return {
        "event": "write",
        "name": written.name,
        "type": written.type,
        "attribute": written.attribute,
        "before": written.before,
        "after": written.after,
    }
