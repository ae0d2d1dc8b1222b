"""Can this source move to an instance of this offer, and what must be written there?

Every rule of design section 4 is evaluated; none hides another except where the design says so: NoModel and
ModelMismatch stand alone, a parameter with a SchemaError takes no part in the rules that need its definition, an
unreadable one is judged by its type only, and TypeMismatch silences ValueNotAllowed and OffValueMismatch. Of a source
whose version is unknown only the parameters count that were given beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mdev_api.engine.metadata import (
    Allowed,
    Answer,
    Code,
    Metadata,
    Parameter,
    Reason,
    Source,
    SourceParameter,
    ValueType,
    Verdict,
)
from mdev_api.engine.parameter_list import is_listed, parameter_list
from mdev_api.engine.writing import writes_to
from mdev_api.values import allows, shown

_UNKNOWN = {Code.NO_MODEL, Code.UNREADABLE, Code.STALE, Code.SCHEMA_ERROR}
_CODE_ORDER = {code: position for position, code in enumerate(Code)}
_ENTRIES_SHOWN = 6


def compare(
    source: Source, metadata: Metadata, current: Mapping[str, str] | None = None, *, stale: str | None = None
) -> Answer:
    """Verdict with every finding, the source's parameter list, and what the destination needs.

    ``current``: the destination's values as read, canonical text; a parameter missing there was not read and is
    written. None: a fresh instance, so init values. Neither verdict nor reasons depend on ``current``. ``stale``: why
    what is known of either side may be out of date (Stale), one sentence; None: it is not. It is for whoever wants the
    findings all the same; the operator rules out a silent node, with the same code, before it compares anything.
    """
    reasons = _one_per_code_and_parameter(_findings(source, metadata, stale))
    verdict = verdict_of(reasons)
    listed = parameter_list(source)
    desired = _desired(metadata, listed) if verdict is Verdict.COMPATIBLE else {}
    return Answer(
        verdict=verdict,
        reasons=reasons,
        parameter_list=listed,
        desired=desired,
        writes=writes_to(metadata, desired, current if current is not None else initial_values(metadata)),
    )


def verdict_of(reasons: Iterable[Reason]) -> Verdict:
    """Incompatible beats Unknown beats Compatible."""
    codes = {reason.code for reason in reasons}
    if codes - _UNKNOWN:
        return Verdict.INCOMPATIBLE
    return Verdict.UNKNOWN if codes else Verdict.COMPATIBLE


def initial_values(metadata: Metadata) -> dict[str, str]:
    """What a fresh instance of this offer has."""
    return {p.name: p.init for p in metadata.parameters if p.init is not None}


def _desired(metadata: Metadata, listed: Mapping[str, str]) -> dict[str, str]:
    wanted = ((p.name, listed.get(p.name, p.off)) for p in metadata.parameters)
    return {name: text for name, text in wanted if text is not None}


def _findings(source: Source, metadata: Metadata, stale: str | None) -> list[Reason]:
    nameless = _nameless(source, metadata)
    if nameless:
        return [_reason(Code.NO_MODEL, None, f"no device model is named by the {' and by the '.join(nameless)}")]
    if source.model is not None and metadata.model is not None and source.model != metadata.model:
        message = f"the source is a {shown(source.model)}, the destination a {shown(metadata.model)}"
        return [_reason(Code.MODEL_MISMATCH, None, message)]
    same_model = source.model is not None and metadata.model is not None
    unknown = source.unknown_version
    return [
        *([_reason(Code.STALE, None, stale)] if stale is not None else ()),
        *([_reason(Code.UNKNOWN_VERSION, None, unknown)] if unknown is not None else ()),
        *(_schema_error(None, f"{side}: {fault}") for side, fault in _whole_faults(source, metadata)),
        *_own_findings(source),
        *(_pair_findings(source, metadata) if same_model else ()),
    ]


def _nameless(source: Source, metadata: Metadata) -> list[str]:
    sides = (("source", source), ("destination", metadata))
    return [side for side, it in sides if it.model is None and it.fault is None]


def _whole_faults(source: Source, metadata: Metadata) -> list[tuple[str, str]]:
    sides = (("source", source.fault), ("destination", metadata.fault))
    return [(side, fault) for side, fault in sides if fault is not None]


def _own_findings(source: Source) -> list[Reason]:
    """What is wrong with the source whatever the destination is."""
    reasons = []
    for parameter in source.parameters:
        if parameter.fault is not None:
            reasons.append(_schema_error(parameter.name, f"source: {parameter.fault}"))
        elif parameter.value is None:
            why = parameter.unreadable or "no value was given"
            reasons.append(_reason(Code.UNREADABLE, parameter.name, f"the source's value is not known: {why}"))
    return reasons


def _pair_findings(source: Source, metadata: Metadata) -> list[Reason]:
    """The rules that compare two definitions of one model, parameter by parameter."""
    here = {p.name: p for p in source.parameters}
    there = {p.name: p for p in metadata.parameters}
    reasons = [_schema_error(p.name, f"destination: {p.fault}") for p in metadata.parameters if p.fault is not None]
    for name in here.keys() | there.keys():
        mine, other = here.get(name), there.get(name)
        if (mine is not None and mine.fault is not None) or (other is not None and other.fault is not None):
            continue
        if mine is None:
            reasons += _off_findings(other) if other is not None and source.unknown_version is None else []
        elif other is None:
            reasons += _missing_findings(mine) if metadata.parameters_known else []
        else:
            reasons += _both_define(mine, other)
    return reasons


def _missing_findings(mine: SourceParameter) -> list[Reason]:
    if not is_listed(mine):
        return []
    message = f"the destination does not have it; the source has {_plain(mine.type, mine.value)}"
    return [_reason(Code.UNKNOWN_PARAMETER, mine.name, message)]


def _both_define(mine: SourceParameter, other: Parameter) -> list[Reason]:
    reasons = []
    same_type = mine.type == other.type
    if not same_type:
        message = f"its type is {mine.type} at the source and {other.type} at the destination"
        reasons.append(_reason(Code.TYPE_MISMATCH, mine.name, message))
    if mine.value is None:
        return reasons
    if is_listed(mine):
        return reasons + (_value_findings(mine, other) if same_type else [])
    reasons += _off_findings(other)
    if same_type and other.off is not None and other.off != mine.off:
        message = (
            f"off is {_plain(mine.type, mine.off)} at the source and "
            f"{_plain(other.type, other.off)} at the destination: leaving it out would change the value"
        )
        reasons.append(_reason(Code.OFF_VALUE_MISMATCH, mine.name, message))
    return reasons


def _value_findings(mine: SourceParameter, other: Parameter) -> list[Reason]:
    if other.type is None or mine.value is None or allows(other.allowed, other.type, mine.value):
        return []
    message = f"the source has {_plain(mine.type, mine.value)}; the destination allows {_allowed_text(other)}"
    return [_reason(Code.VALUE_NOT_ALLOWED, mine.name, message)]


def _off_findings(other: Parameter) -> list[Reason]:
    """A destination parameter that is not in the list must be switched off: can it be?"""
    if other.off is None:
        message = "it is not in the source's list, and the destination has no off value for it"
        return [_reason(Code.CANNOT_DISABLE, other.name, message)]
    if other.type is None or allows(other.allowed, other.type, other.off):
        return []
    message = f"its off value {_plain(other.type, other.off)} is needed; the destination allows {_allowed_text(other)}"
    return [_reason(Code.OFF_VALUE_NOT_ALLOWED, other.name, message)]


def _one_per_code_and_parameter(findings: Iterable[Reason]) -> tuple[Reason, ...]:
    messages: dict[tuple[Code, str | None], list[str]] = {}
    for finding in findings:
        messages.setdefault((finding.code, finding.parameter), []).append(finding.message)
    ordered = sorted(messages, key=lambda key: (_CODE_ORDER[key[0]], key[1] is not None, key[1] or ""))
    return tuple(_reason(code, name, "; ".join(sorted(messages[code, name]))) for code, name in ordered)


def _schema_error(parameter: str | None, message: str) -> Reason:
    return _reason(Code.SCHEMA_ERROR, parameter, message)


def _reason(code: Code, parameter: str | None, message: str) -> Reason:
    return Reason(code=code, parameter=parameter, message=message)


def _plain(value_type: ValueType | None, text: str | None) -> str:
    if text is None:
        return "nothing"
    return text if value_type is not ValueType.STR and len(text) <= 60 else shown(text)


def _allowed_text(parameter: Parameter) -> str:
    allowed = parameter.allowed or Allowed()
    texts = sorted(allowed.texts, key=lambda text: (len(text), text))
    entries = [_plain(parameter.type, text) for text in texts[:_ENTRIES_SHOWN]]
    entries += [_range_text(*bounds) for bounds in allowed.ranges[: _ENTRIES_SHOWN - len(entries)]]
    more = len(allowed.texts) + len(allowed.ranges) - len(entries)
    return ", ".join(entries) + (f" and {more} more" if more else "")


def _range_text(low: int, high: int) -> str:
    return "-".join(str(end) if end.bit_length() < 200 else "a very large number" for end in (low, high))
