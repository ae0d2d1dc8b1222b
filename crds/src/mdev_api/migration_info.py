"""The migration info JSON of RFC v3, read strictly: ``models``, their ``params``, and a source in the same words.

JSON as in RFC 8259, in UTF-8 without byte order mark; a duplicate key is found at any depth, because two readers of it
need not agree. Of a source every fault is an error: there is no half of a source. Of a destination only what is no
JSON object is an error; any other fault stands beside what has it (the parameter, the model, or the whole), so that
the engine answers SchemaError for it and still finds everything else. Unknown members are ignored with a warning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mdev_api.engine.metadata import Allowed, Metadata, Parameter, Source, SourceParameter, ValueType
from mdev_api.names import model_name_fault, parameter_name_fault
from mdev_api.values import JsonNumber, ValueFault, allowed_from_json, allows, from_json, shown

_DESTINATION_PARAMETER = ("type", "init_value", "off_value", "allowed_values", "description")
_SOURCE_PARAMETER = ("type", "off_value", "value")


class UnusableError(ValueError):
    """Input that cannot be compared at all; the message is a sentence that says what is wrong and where."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceInfo:
    """A source without any fault, and what in its text was ignored."""

    source: Source
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DestinationInfo:
    """All models of one migration info, with their faults.

    ``fault``: a SchemaError of the whole. ``models`` None: it hides even the names of the models.
    """

    models: Mapping[str, Metadata] | None
    fault: str | None
    warnings: tuple[str, ...]

    def metadata_for(self, model: str | None) -> Metadata:
        """What a source of ``model`` is compared with: the equal model if there is one, with its faults only.

        Else any other model (ModelMismatch), no model (NoModel), or the fault that hides it (SchemaError). A name that
        is not legal names no model: alone it is a fault, beside legal names it is none of the source's business.
        """
        if not self.models:
            return Metadata(model=None, fault=self.fault if self.models is None else None)
        if model is not None and model in self.models:
            chosen = self.models[model]
            return replace(chosen, fault="; ".join(filter(None, (self.fault, chosen.fault))) or None)
        legal = sorted(name for name in self.models if model_name_fault(name) is None)
        if legal:
            return self.models[legal[0]]
        return Metadata(model=None, fault="; ".join(filter(None, map(model_name_fault, sorted(self.models)))))


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object; ``duplicates`` are the keys that it has more than once (of those, ``members`` has the last)."""

    members: dict[str, Any]
    duplicates: tuple[str, ...]


def parse_source(data: bytes) -> SourceInfo:
    """``{"model": str | null, "params": {name: {"type", "off_value"?, "value"?}}}``.

    ``model`` null or missing names no model; ``value`` null or missing is unreadable. Raises UnusableError for every
    other departure.
    """
    document = _load(data)
    if not isinstance(document, _Object):
        raise UnusableError(f"the source must be a JSON object, not {_kind(document)}")
    if (duplicate := next(_duplicates(document), None)) is not None:
        raise UnusableError(f"the key {shown(duplicate)} occurs twice in one object")
    model = document.members.get("model")
    if model is not None:
        _raise_if(_not_a("model", model, str) or model_name_fault(model))
    if "params" not in document.members:
        raise UnusableError("the member params is missing")
    params = document.members["params"]
    _raise_if(_not_a("params", params, _Object))
    return SourceInfo(
        source=Source(
            model=model, parameters=tuple(_source_parameter(name, body) for name, body in params.members.items())
        ),
        warnings=(
            *_unknown("", document, ("model", "params")),
            *(
                warning
                for name, body in params.members.items()
                for warning in _unknown(f"parameter {shown(name)}", body, _SOURCE_PARAMETER)
            ),
        ),
    )


def parse_destination(data: bytes) -> DestinationInfo:
    """``{"models": {model: {"params": {name: {"type", "init_value", ...}}}}}``, one type's migration info.

    Raises UnusableError for what is no JSON object; every other fault is in the answer.
    """
    document = _load(data)
    if not isinstance(document, _Object):
        raise UnusableError(f"the destination must be a JSON object, not {_kind(document)}")
    warnings = [*_unknown("", document, ("models",))]
    fault = _own_duplicate(document, ("models",))
    models = document.members.get("models")
    if "models" not in document.members:
        hidden: str | None = "the member models is missing"
    elif "models" in document.duplicates:
        hidden = fault
    else:
        hidden = _not_a("models", models, _Object)
    if hidden is not None or not isinstance(models, _Object):
        return DestinationInfo(models=None, fault=hidden, warnings=tuple(warnings))
    read = {name: _model(name, body, name in models.duplicates, warnings) for name, body in models.members.items()}
    return DestinationInfo(models=read, fault=fault, warnings=tuple(warnings))


def _load(data: bytes) -> Any:
    if data.startswith(b"\xef\xbb\xbf"):
        raise UnusableError("it begins with a byte order mark: UTF-8 without one is expected")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=JsonNumber,
            parse_float=JsonNumber,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as error:
        raise UnusableError(f"byte {error.start} is not UTF-8 ({error.reason})") from None
    except json.JSONDecodeError as error:
        raise UnusableError(f"it is not JSON: {error}") from None
    except RecursionError:
        raise UnusableError("its lists and objects are nested too deeply to be read") from None


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    members = dict(pairs)
    if len(members) == len(pairs):
        return _Object(members, ())
    seen: set[str] = set()
    twice = dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return _Object(members, tuple(twice))


def _no_constant(word: str) -> Any:
    raise UnusableError(f"it is not JSON: {word} is no JSON value")


def _duplicates(value: Any) -> Iterator[str]:
    """Every key that occurs twice in one object, at any depth below ``value``."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Object):
            yield from item.duplicates
            waiting.extend(item.members.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _own_duplicate(body: _Object, except_below: tuple[str, ...] = ()) -> str | None:
    """A sentence about a duplicate key of ``body`` itself or of its members, those ``except_below`` left out."""
    others = [value for key, value in body.members.items() if key not in except_below]
    duplicate = next(iter(body.duplicates), None) or next(_duplicates(others), None)
    return None if duplicate is None else f"the key {shown(duplicate)} occurs twice in one object"


def _model(name: str, body: Any, twice: bool, warnings: list[str]) -> Metadata:
    where = f"model {shown(name)}"
    if twice:
        return Metadata(model=name, fault=f"{where} occurs twice", parameters_known=False)
    if not isinstance(body, _Object):
        return Metadata(model=name, fault=_not_a(where, body, _Object), parameters_known=False)
    warnings.extend(_unknown(where, body, ("params",)))
    fault = _own_duplicate(body, ("params",))
    params = body.members.get("params")
    if "params" not in body.members:
        hidden: str | None = f"{where}: the member params is missing"
    elif "params" in body.duplicates:
        hidden = fault
    else:
        hidden = _not_a("params", params, _Object)
    if hidden is not None or not isinstance(params, _Object):
        return Metadata(model=name, fault=hidden, parameters_known=False)
    parameters = (
        _parameter(parameter, entry, parameter in params.duplicates, f"{where}, parameter {shown(parameter)}", warnings)
        for parameter, entry in params.members.items()
    )
    return Metadata(model=name, parameters=tuple(parameters), fault=fault)


def _parameter(name: str, body: Any, twice: bool, where: str, warnings: list[str]) -> Parameter:
    """One parameter; with any fault it carries nothing but the sentences that say so."""
    if twice:
        return Parameter(name=name, type=None, init=None, fault=f"parameter {shown(name)} is defined twice")
    if not isinstance(body, _Object):
        return Parameter(name=name, type=None, init=None, fault=_not_a(f"parameter {shown(name)}", body, _Object))
    warnings.extend(_unknown(where, body, _DESTINATION_PARAMETER))
    faults = [fault for fault in (parameter_name_fault(name), _own_duplicate(body)) if fault is not None]
    if "description" in body.members:
        faults += filter(None, [_not_a("description", body.members["description"], str)])
    value_type = _type(body, faults)
    if "init_value" not in body.members:
        faults.append("the member init_value is missing")
    if value_type is None:
        return Parameter(name=name, type=None, init=None, fault="; ".join(faults))
    init = _value("init_value", value_type, body, faults)
    off = _value("off_value", value_type, body, faults)
    allowed = _allowed(value_type, body, faults)
    if init is not None and not allows(allowed, value_type, init):
        faults.append(f"init_value {shown(init)} is not among the allowed values")
    if faults:
        return Parameter(name=name, type=None, init=None, fault="; ".join(faults))
    if off is not None and not allows(allowed, value_type, off):
        warnings.append(f"{where}: off_value {shown(off)} is not among the allowed values")
    return Parameter(name=name, type=value_type, init=init, off=off, allowed=allowed)


def _source_parameter(name: str, body: Any) -> SourceParameter:
    where = f"parameter {shown(name)}"
    _raise_if(parameter_name_fault(name) or _not_a(where, body, _Object))
    faults: list[str] = []
    value_type = _type(body, faults)
    value = off = None
    if value_type is not None:
        off = _value("off_value", value_type, body, faults)
        if body.members.get("value") is not None:
            value = _value("value", value_type, body, faults)
    _raise_if("; ".join(faults) and f"{where}: {'; '.join(faults)}")
    why = None if value is not None else f"value is {'null' if 'value' in body.members else 'missing'}"
    return SourceParameter(name=name, type=value_type, value=value, off=off, unreadable=why)


def _type(body: _Object, faults: list[str]) -> ValueType | None:
    if "type" not in body.members:
        faults.append("the member type is missing")
        return None
    word = body.members["type"]
    if not isinstance(word, str) or word not in list(ValueType):
        faults.append(f"type is {shown(word)}: bool, int or str is expected")
        return None
    return ValueType(word)


def _value(member: str, value_type: ValueType, body: _Object, faults: list[str]) -> str | None:
    if member not in body.members:
        return None
    try:
        return from_json(value_type, body.members[member])
    except ValueFault as fault:
        faults.append(f"{member}: {fault}")
        return None


def _allowed(value_type: ValueType, body: _Object, faults: list[str]) -> Allowed | None:
    if "allowed_values" not in body.members:
        return None
    try:
        return allowed_from_json(value_type, body.members["allowed_values"])
    except ValueFault as fault:
        faults.append(f"allowed_values: {fault}")
        return None


def _unknown(where: str, body: Any, known: tuple[str, ...]) -> Iterator[str]:
    for key in body.members:
        if key not in known:
            yield f"{where + ': ' if where else ''}the member {shown(key)} is unknown and ignored"


def _raise_if(fault: str | None) -> None:
    if fault:
        raise UnusableError(fault)


def _not_a(what: str, value: Any, kind: type) -> str | None:
    if isinstance(value, kind):
        return None
    return f"{what} must be {'a string' if kind is str else 'an object'}, not {_kind(value)}"


def _kind(value: Any) -> str:
    if isinstance(value, _Object):
        return "an object"
    return "a list" if isinstance(value, list) else shown(value)
