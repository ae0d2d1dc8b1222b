"""The offline check: one source and one type's migration info, from their files' bytes to an answer.

It compares against a fresh instance of the type (init values). No I/O: what the files hold comes in, what people and
programs are told goes out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mdev_api.engine.metadata import Answer, Code, Metadata, Source, ValueType, Verdict
from mdev_api.engine.verdict import compare
from mdev_api.migration_info import UnusableError, parse_destination, parse_source
from mdev_api.values import shown

EXIT_CODES = {Verdict.COMPATIBLE: 0, Verdict.INCOMPATIBLE: 1, Verdict.UNKNOWN: 2}
EXIT_UNUSABLE = 3

_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The engine's answer, the types of the values in it, and warnings about what the inputs hold besides."""

    answer: Answer
    source_types: dict[str, ValueType]
    destination_types: dict[str, ValueType]
    warnings: tuple[str, ...]


def check(source_json: bytes, destination_json: bytes) -> Checked:
    """Compare. Raises UnusableError, whose sentence begins with ``source:`` or ``destination:``."""
    asked = _read("source", parse_source, source_json)
    offered = _read("destination", parse_destination, destination_json)
    metadata = offered.metadata_for(asked.source.model)
    answer = compare(asked.source, metadata)
    warnings = [f"source: {warning}" for warning in asked.warnings]
    warnings += [f"destination: {warning}" for warning in offered.warnings]
    if len(offered.models or ()) > 1 and any(reason.code is Code.MODEL_MISMATCH for reason in answer.reasons):
        names = ", ".join(shown(name) for name in sorted(offered.models or ()))
        warnings.append(f"destination: none of its models is the source's: {names}")
    return Checked(
        answer=answer,
        source_types=_types(asked.source),
        destination_types=_types(metadata),
        warnings=tuple(warnings),
    )


def _read(side: str, parse: Callable[[bytes], _Parsed], data: bytes) -> _Parsed:
    try:
        return parse(data)
    except UnusableError as error:
        raise UnusableError(f"{side}: {error}") from None


def _types(side: Source | Metadata) -> dict[str, ValueType]:
    return {p.name: p.type for p in side.parameters if p.type is not None}
