"""The offline check: one source and one type's migration info, from their files' bytes to an answer.

It compares against a fresh instance of the type (init values). The way back, if it is asked for, starts from that fresh
instance: its init values are the source, and what is written on the way there has no part in it. No I/O: what the files
hold comes in, what people and programs are told goes out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mdev_api.engine.metadata import Answer, Code, Metadata, Source, SourceParameter, ValueType, Verdict
from mdev_api.engine.verdict import compare
from mdev_api.migration_info import DestinationInfo, UnusableError, parse_destination, parse_source
from mdev_api.values import shown

EXIT_CODES = {Verdict.COMPATIBLE: 0, Verdict.INCOMPATIBLE: 1, Verdict.UNKNOWN: 2}
EXIT_UNUSABLE = 3

_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The engine's answer, the types of the values in it, and warnings about what the inputs hold besides.

    ``back``: the same for the way back, if it was asked for.
    """

    answer: Answer
    source_types: dict[str, ValueType]
    destination_types: dict[str, ValueType]
    warnings: tuple[str, ...]
    back: Checked | None = None

    @property
    def verdict(self) -> Verdict:
        """Of everything that was asked: Incompatible beats Unknown beats Compatible."""
        verdicts = {self.answer.verdict, *(() if self.back is None else (self.back.answer.verdict,))}
        return next(v for v in (Verdict.INCOMPATIBLE, Verdict.UNKNOWN, Verdict.COMPATIBLE) if v in verdicts)


def check(source_json: bytes, destination_json: bytes, source_info_json: bytes | None = None) -> Checked:
    """Compare. ``source_info_json``: migration info of the source's type, which the way back is to; None: no way back.

    Raises UnusableError, whose sentence begins with ``source:``, ``destination:`` or ``source-info:``.
    """
    asked = _read("source", parse_source, source_json)
    offered = _read("destination", parse_destination, destination_json)
    home = None if source_info_json is None else _read("source-info", parse_destination, source_info_json)
    metadata = offered.metadata_for(asked.source.model)
    warnings = [f"source: {warning}" for warning in asked.warnings]
    there = _compared(asked.source, metadata, "destination", offered, warnings)
    if home is None:
        return there
    return_metadata = home.metadata_for(metadata.model)
    back = _compared(fresh_instance(metadata), return_metadata, "source-info", home, [])
    return Checked(
        answer=there.answer,
        source_types=there.source_types,
        destination_types=there.destination_types,
        warnings=(*there.warnings, *back.warnings),
        back=back,
    )


def fresh_instance(metadata: Metadata) -> Source:
    """A new instance as a source: every parameter at its init value. Metadata that is hidden names no model either."""
    if not metadata.parameters_known:
        return Source(model=None, fault=metadata.fault)
    parameters = tuple(
        SourceParameter(name=p.name, type=p.type, value=p.init, off=p.off, fault=p.fault) for p in metadata.parameters
    )
    return Source(model=metadata.model, parameters=parameters, fault=metadata.fault)


def _compared(source: Source, metadata: Metadata, side: str, offered: DestinationInfo, warnings: list[str]) -> Checked:
    answer = compare(source, metadata)
    told = [*warnings, *(f"{side}: {warning}" for warning in offered.warnings)]
    if len(offered.models or ()) > 1 and any(reason.code is Code.MODEL_MISMATCH for reason in answer.reasons):
        names = ", ".join(shown(name) for name in sorted(offered.models or ()))
        told.append(f"{side}: none of its models is the source's: {names}")
    return Checked(answer=answer, source_types=_types(source), destination_types=_types(metadata), warnings=tuple(told))


def _read(side: str, parse: Callable[[bytes], _Parsed], data: bytes) -> _Parsed:
    try:
        return parse(data)
    except UnusableError as error:
        raise UnusableError(f"{side}: {error}") from None


def _types(side: Source | Metadata) -> dict[str, ValueType]:
    return {p.name: p.type for p in side.parameters if p.type is not None}
