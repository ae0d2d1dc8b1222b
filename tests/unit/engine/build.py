"""Short words for sources and offers, so that a test reads as the case it is about."""

from __future__ import annotations

from mdev_api.engine.metadata import Answer, Metadata, Parameter, Source, SourceParameter, ValueType
from mdev_api.values import allowed_from_entries

BOOL, INT, STR = ValueType.BOOL, ValueType.INT, ValueType.STR


def has(name: str, value: str | None, off: str | None = None, kind: ValueType = INT) -> SourceParameter:
    """What the source has; value None: unreadable."""
    return SourceParameter(name=name, type=kind, value=value, off=off, unreadable=None if value else "EIO")


def takes(name: str, init: str, *allowed: str, off: str | None = None, kind: ValueType = INT) -> Parameter:
    """What the destination takes; no allowed values: every one of the type."""
    return Parameter(
        name=name,
        type=kind,
        init=init,
        off=off,
        allowed=allowed_from_entries(kind, allowed) if allowed else None,
    )


def broken(name: str) -> Parameter:
    return Parameter(name=name, type=None, init=None, fault="the member type is missing")


def source(*parameters: SourceParameter, model: str | None = "m") -> Source:
    return Source(model=model, parameters=parameters)


def offer(*parameters: Parameter, model: str | None = "m") -> Metadata:
    return Metadata(model=model, parameters=parameters)


def found(answer: Answer) -> list[tuple[str, str | None]]:
    """Code and parameter of every reason."""
    return [(str(reason.code), reason.parameter) for reason in answer.reasons]
