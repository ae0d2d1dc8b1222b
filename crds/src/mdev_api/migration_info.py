"""The migration info JSON of RFC v3, read strictly: ``models``, their ``params``, and a source in the same words.

JSON as in RFC 8259, in UTF-8 without byte order mark; a duplicate key is found at any depth, because two readers of it
need not agree. Of a source every fault is an error: there is no half of a source. Of a destination only what is no
JSON object is an error; any other fault stands beside what has it (the parameter, the model, or the whole), so that
the engine answers SchemaError for it and still finds everything else. Unknown members are ignored with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mdev_api.engine.metadata import Metadata, Parameter, Source, SourceParameter, ValueType
from mdev_api.names import model_name_fault, parameter_name_fault
from mdev_api.strict_json import JsonObject, duplicates, load, own_duplicate
from mdev_api.strict_json import UnusableError as UnusableError
from mdev_api.values import ValueFault, allowed_from_entries, allows, entries_from_json, from_json, shown

_DESTINATION_PARAMETER = ("type", "init_value", "off_value", "allowed_values", "description")
_SOURCE_PARAMETER = ("type", "off_value", "value")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceInfo:
    """A source without any fault, and what in its text was ignored."""

    source: Source
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """One parameter as the text defines it, canonical; ``entries`` are its allowed values in their order.

    With a ``fault`` it carries nothing else.
    """

    name: str
    type: ValueType | None = None
    init: str | None = None
    off: str | None = None
    entries: tuple[str, ...] | None = None
    description: str | None = None
    fault: str | None = None

    def parameter(self) -> Parameter:
        """The same, as the engine compares it."""
        allowed = None
        if self.type is not None and self.entries is not None:
            allowed = allowed_from_entries(self.type, self.entries)
        return Parameter(
            name=self.name, type=self.type, init=self.init, off=self.off, allowed=allowed, fault=self.fault
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DestinationInfo:
    """All models of one migration info, with their faults.

    ``fault``: a SchemaError of the whole. ``models`` None: it hides even the names of the models. ``definitions``:
    what the parameters of each model were made of, for whoever publishes them.
    """

    models: Mapping[str, Metadata] | None
    definitions: Mapping[str, tuple[Definition, ...]]
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


def parse_source(data: bytes) -> SourceInfo:
    """``{"model": str | null, "params": {name: {"type", "off_value"?, "value"?}}}``.

    ``model`` null or missing names no model; ``value`` null or missing is unreadable. Raises UnusableError for every
    other departure.
    """
    document = load(data)
    if not isinstance(document, JsonObject):
        raise UnusableError(f"the source must be a JSON object, not {_kind(document)}")
    if (duplicate := next(duplicates(document), None)) is not None:
        raise UnusableError(f"the key {shown(duplicate)} occurs twice in one object")
    model = document.members.get("model")
    if model is not None:
        _raise_if(_not_a("model", model, str) or model_name_fault(model))
    if "params" not in document.members:
        raise UnusableError("the member params is missing")
    params = document.members["params"]
    _raise_if(_not_a("params", params, JsonObject))
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
    document = load(data)
    if not isinstance(document, JsonObject):
        raise UnusableError(f"the destination must be a JSON object, not {_kind(document)}")
    warnings = [*_unknown("", document, ("models",))]
    fault = own_duplicate(document, ("models",))
    models = document.members.get("models")
    if "models" not in document.members:
        hidden: str | None = "the member models is missing"
    elif "models" in document.duplicates:
        hidden = fault
    else:
        hidden = _not_a("models", models, JsonObject)
    if hidden is not None or not isinstance(models, JsonObject):
        return DestinationInfo(models=None, definitions={}, fault=hidden, warnings=tuple(warnings))
    definitions: dict[str, tuple[Definition, ...]] = {}
    read = {}
    for name, body in models.members.items():
        read[name], definitions[name] = _model(name, body, name in models.duplicates, warnings)
    return DestinationInfo(models=read, definitions=definitions, fault=fault, warnings=tuple(warnings))


def _model(name: str, body: Any, twice: bool, warnings: list[str]) -> tuple[Metadata, tuple[Definition, ...]]:
    where = f"model {shown(name)}"
    if twice:
        return Metadata(model=name, fault=f"{where} occurs twice", parameters_known=False), ()
    if not isinstance(body, JsonObject):
        return Metadata(model=name, fault=_not_a(where, body, JsonObject), parameters_known=False), ()
    warnings.extend(_unknown(where, body, ("params",)))
    fault = own_duplicate(body, ("params",))
    params = body.members.get("params")
    if "params" not in body.members:
        hidden: str | None = f"{where}: the member params is missing"
    elif "params" in body.duplicates:
        hidden = fault
    else:
        hidden = _not_a("params", params, JsonObject)
    if hidden is not None or not isinstance(params, JsonObject):
        return Metadata(model=name, fault=hidden, parameters_known=False), ()
    definitions = tuple(
        _definition(entry, body, entry in params.duplicates, f"{where}, parameter {shown(entry)}", warnings)
        for entry, body in params.members.items()
    )
    metadata = Metadata(model=name, parameters=tuple(d.parameter() for d in definitions), fault=fault)
    return metadata, definitions


def _definition(name: str, body: Any, twice: bool, where: str, warnings: list[str]) -> Definition:
    """One parameter; with any fault it carries nothing but the sentences that say so."""
    if twice:
        return Definition(name=name, fault=f"parameter {shown(name)} is defined twice")
    if not isinstance(body, JsonObject):
        return Definition(name=name, fault=_not_a(f"parameter {shown(name)}", body, JsonObject))
    warnings.extend(_unknown(where, body, _DESTINATION_PARAMETER))
    faults = [fault for fault in (parameter_name_fault(name), own_duplicate(body)) if fault is not None]
    if "description" in body.members:
        faults += filter(None, [_not_a("description", body.members["description"], str)])
    value_type = _type(body, faults)
    if "init_value" not in body.members:
        faults.append("the member init_value is missing")
    if value_type is None:
        return Definition(name=name, fault="; ".join(faults))
    init = _value("init_value", value_type, body, faults)
    off = _value("off_value", value_type, body, faults)
    entries = _entries(value_type, body, faults)
    allowed = None if entries is None else allowed_from_entries(value_type, entries)
    if init is not None and not allows(allowed, value_type, init):
        faults.append(f"init_value {shown(init)} is not among the allowed values")
    if faults:
        return Definition(name=name, fault="; ".join(faults))
    if off is not None and not allows(allowed, value_type, off):
        warnings.append(f"{where}: off_value {shown(off)} is not among the allowed values")
    return Definition(
        name=name,
        type=value_type,
        init=init,
        off=off,
        entries=entries,
        description=body.members.get("description"),
    )


def _source_parameter(name: str, body: Any) -> SourceParameter:
    where = f"parameter {shown(name)}"
    _raise_if(parameter_name_fault(name) or _not_a(where, body, JsonObject))
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


def _type(body: JsonObject, faults: list[str]) -> ValueType | None:
    if "type" not in body.members:
        faults.append("the member type is missing")
        return None
    word = body.members["type"]
    if not isinstance(word, str) or word not in list(ValueType):
        faults.append(f"type is {shown(word)}: bool, int or str is expected")
        return None
    return ValueType(word)


def _value(member: str, value_type: ValueType, body: JsonObject, faults: list[str]) -> str | None:
    if member not in body.members:
        return None
    try:
        return from_json(value_type, body.members[member])
    except ValueFault as fault:
        faults.append(f"{member}: {fault}")
        return None


def _entries(value_type: ValueType, body: JsonObject, faults: list[str]) -> tuple[str, ...] | None:
    if "allowed_values" not in body.members:
        return None
    try:
        return entries_from_json(value_type, body.members["allowed_values"])
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
    if isinstance(value, JsonObject):
        return "an object"
    return "a list" if isinstance(value, list) else shown(value)
