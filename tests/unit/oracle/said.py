"""What the engine and the naive reading say of one pair, in words that both share, so that ``==`` compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mdev_api.engine.metadata import (
    Allowed,
    Answer,
    Metadata,
    Parameter,
    Source,
    SourceParameter,
    ValueType,
    WriteStrategy,
)
from mdev_api.engine.parameter_list import parameter_list
from mdev_api.engine.verdict import compare
from mdev_api.migration_info import UnusableError, parse_destination, parse_source
from tests.unit.oracle import naive, naive_reading, naive_writing


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """Texts are canonical; ``findings`` are (code, parameter)."""

    verdict: str
    findings: frozenset[naive.Finding]
    parameter_list: dict[str, str]
    desired: dict[str, str]
    writes: list[tuple[str, str]]


def by_engine(source: str, destination: str, current: Mapping[str, str] | None = None) -> Said | None:
    """None: the input is unusable."""
    try:
        read = parse_source(source.encode()).source
        metadata = parse_destination(destination.encode()).metadata_for(read.model)
    except UnusableError:
        return None
    return asked(read, metadata, current)


def asked(source: Source, metadata: Metadata, current: Mapping[str, str] | None = None, stale: bool = False) -> Said:
    answer = compare(source, metadata, current, stale="silent for an hour" if stale else None)
    assert answer.parameter_list == parameter_list(source), "the list comes from the source alone"
    return in_shared_words(answer)


def in_shared_words(answer: Answer) -> Said:
    found = [(str(reason.code), reason.parameter) for reason in answer.reasons]
    assert len(found) == len(set(found)), "one reason for each code and parameter"
    return Said(
        verdict=str(answer.verdict),
        findings=frozenset(found),
        parameter_list=answer.parameter_list,
        desired=answer.desired,
        writes=[(write.parameter, write.value) for write in answer.writes],
    )


def by_oracle(source: str, destination: str, current: Mapping[str, str] | None = None) -> Said | None:
    """None: the input is unusable."""
    read = naive_reading.read_source(source)
    other = naive_reading.read_destination(destination, read["model"]) if read is not None else None
    return None if read is None or other is None else judged(read, other, current)


def judged(
    source: dict[str, Any], destination: dict[str, Any], current: Mapping[str, str] | None = None, stale: bool = False
) -> Said:
    found = naive.findings(source, destination, stale)
    wanted = {} if found else texts(naive.desired(source, destination))
    held = texts(naive.init_values(destination)) if current is None else current
    return Said(
        verdict=naive.verdict(found),
        findings=frozenset(found),
        parameter_list=texts(naive.parameter_list(source)),
        desired=wanted,
        writes=naive_writing.writes(destination, wanted, held),
    )


def texts(values: Mapping[str, naive.Value | None]) -> dict[str, str]:
    return {name: naive.text(value) for name, value in values.items() if value is not None}


def engine_source(source: Mapping[str, Any]) -> Source:
    """The naive source as the engine's value."""
    return Source(
        model=source["model"],
        fault="broken" if source["broken"] else None,
        unknown_version="nobody defines it" if source.get("unknown_version") else None,
        parameters=tuple(
            SourceParameter(
                name=name,
                type=None if p["broken"] else ValueType(p["type"]),
                value=_text(p["value"]),
                off=_text(p["off"]),
                unreadable="unreadable" if p["value"] is None and not p["broken"] else None,
                fault="broken" if p["broken"] else None,
            )
            for name, p in source["params"].items()
        ),
    )


def engine_metadata(destination: Mapping[str, Any]) -> Metadata:
    """The naive destination as the engine's value."""
    return Metadata(
        model=destination["model"],
        fault="broken" if destination["broken"] else None,
        parameters_known=not destination["hidden"],
        write_strategy=WriteStrategy(destination.get("strategy", "Direct")),
        parameters=tuple(
            Parameter(
                name=name,
                type=None if d["broken"] else ValueType(d["type"]),
                init=_text(d["init"]),
                off=_text(d["off"]),
                allowed=None if d["allowed"] is None else _allowed(d["allowed"]),
                runtime_writable=d.get("runtime"),
                has_file=d.get("file", True),
                fault="broken" if d["broken"] else None,
            )
            for name, d in destination["params"].items()
        ),
    )


def _allowed(allowed: list[Any]) -> Allowed:
    return Allowed(
        texts=frozenset(naive.text(value) for some in allowed if not isinstance(some, range) for value in some),
        ranges=tuple((some.start, some.stop - 1) for some in allowed if isinstance(some, range)),
    )


def _text(value: naive.Value | None) -> str | None:
    return None if value is None else naive.text(value)
