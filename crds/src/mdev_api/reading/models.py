"""DeviceModels made ready: expressions compiled, literals checked, duplicates set aside; with what is wrong of each.

A DeviceModel with a problem is used for nothing: half a model would give wrong answers, and condition Valid says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mdev_api.engine.metadata import ValueType
from mdev_api.kinds.device_model import (
    DeviceModel,
    DeviceModelSpec,
    Match,
    MatchParameter,
    ParameterDefinition,
    ValueRule,
    ValuesRule,
    Version,
)
from mdev_api.names import model_name_fault, parameter_name_fault
from mdev_api.reading.expressions import Expression, InvalidExpressionError
from mdev_api.values import ValueFault, allowed_from_entries, allows, from_text, shown

_MAX_MESSAGE = 1024
"""Characters of a condition's message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledParameter:
    """What a match says of one parameter. Exactly one of ``init`` and ``init_literal`` is set."""

    definition: ParameterDefinition
    init: Expression | None
    init_literal: str | None
    allowed: Expression | None
    allowed_literals: tuple[str, ...] | None
    attribute: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledMatch:
    """One match; ``parameters`` in the model's order of definition. What it leaves out, such a device does not have."""

    name: str
    condition: Expression
    parameters: tuple[CompiledParameter, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelProblem:
    """Why a DeviceModel cannot be used: reason and message of condition Valid=False."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledModel:
    """A DeviceModel, ready to read profiles with unless ``problem`` says why not.

    One by identity (``spec.by_identity``) has no matches: see :mod:`mdev_api.reading.identity`.
    """

    name: str
    spec: DeviceModelSpec
    matches: tuple[CompiledMatch, ...] = ()
    problem: ModelProblem | None = None


class _BadModelError(Exception):
    def __init__(self, reason: str, message: str) -> None:
        short = message if len(message) <= _MAX_MESSAGE else message[: _MAX_MESSAGE - 3] + "..."
        self.problem = ModelProblem(reason=reason, message=short)


def compile_models(models: Iterable[DeviceModel]) -> tuple[CompiledModel, ...]:
    """Every DeviceModel, oldest first (then by name); of two with one ``model`` the younger is a Duplicate."""
    first: dict[str, str] = {}
    compiled = []
    for model in sorted(models, key=lambda m: (m.metadata.creation_timestamp or "", m.metadata.name)):
        older = first.setdefault(model.spec.model, model.metadata.name)
        compiled.append(_compile(model, older))
    return tuple(compiled)


def _compile(model: DeviceModel, older: str) -> CompiledModel:
    name, spec = model.metadata.name, model.spec
    try:
        if older != name:
            message = f"spec.model: DeviceModel {older}, which is older, defines {shown(spec.model)} already"
            raise _BadModelError("Duplicate", message)
        if spec.by_identity and (spec.matches or spec.parameters or spec.versions):
            message = "spec.byIdentity: everything known is a parameter; leave out parameters, versions and matches"
            raise _BadModelError("Contradiction", message)
        _check_definitions(spec)
        matches = tuple(_match(spec, match) for match in spec.matches)
        _check_versions(spec, matches)
    except _BadModelError as error:
        return CompiledModel(name=name, spec=spec, problem=error.problem)
    return CompiledModel(name=name, spec=spec, matches=matches)


def _check_definitions(spec: DeviceModelSpec) -> None:
    fault = model_name_fault(spec.model)
    if fault:
        raise _BadModelError("InvalidName", f"spec.model: {fault}")
    _check_names("spec.parameters", [definition.name for definition in spec.parameters])
    _check_names("spec.matches", [match.name for match in spec.matches])
    for definition in spec.parameters:
        field = f"spec.parameters[{definition.name}]"
        if fault := parameter_name_fault(definition.name):
            raise _BadModelError("InvalidName", f"{field}.name: {fault}")
        if definition.off_value is not None:
            _check_canonical(definition.type, definition.off_value, f"{field}.offValue")


def _check_versions(spec: DeviceModelSpec, matches: Sequence[CompiledMatch]) -> None:
    """Each is a full assignment of canonical values that some device of the model can have.

    A parameter that an expression describes may turn out to allow any value; the destination's profile has the word.
    """
    _check_names("spec.versions", [version.name for version in spec.versions])
    defined = {definition.name: definition for definition in spec.parameters}
    for version in spec.versions:
        field = f"spec.versions[{version.name}].values"
        _check_names(field, [value.name for value in version.values])
        for value in version.values:
            if value.name not in defined:
                message = f"{field}[{value.name}]: spec.parameters does not define it"
                raise _BadModelError("InvalidValue", message)
            _check_canonical(defined[value.name].type, value.value, f"{field}[{value.name}].value")
        missing = sorted(defined.keys() - {value.name for value in version.values})
        if missing:
            message = f"{field}: a version assigns every parameter; {', '.join(missing)} is missing"
            raise _BadModelError("InvalidValue", message)
        refusals = [_refusal(version, match, defined) for match in matches]
        if refusals and None not in refusals:
            message = f"{field}: no match allows it: {'; '.join(str(refusal) for refusal in refusals)}"
            raise _BadModelError("InvalidValue", message)


def _refusal(version: Version, match: CompiledMatch, defined: Mapping[str, ParameterDefinition]) -> str | None:
    """Why no device of this match can have the values that it knows of; None: it can, or nobody knows yet."""
    said = {parameter.definition.name: parameter for parameter in match.parameters}
    for value in version.values:
        definition, parameter = defined[value.name], said.get(value.name)
        where = f"match {match.name} has {value.name}"
        if parameter is None:
            continue  # other devices have it, of other matches or of a driver that publishes it itself
        if parameter.attribute is None:
            if parameter.init_literal is not None and value.value != parameter.init_literal:
                return f"{where} fixed at {shown(parameter.init_literal)}, not {shown(value.value)}"
        elif parameter.allowed_literals is not None:
            allowed = allowed_from_entries(definition.type, parameter.allowed_literals)
            if not allows(allowed, definition.type, value.value):
                return f"{where} in a file that takes no {shown(value.value)}"
    return None


def _match(spec: DeviceModelSpec, match: Match) -> CompiledMatch:
    field = f"spec.matches[{match.name}]"
    condition = _expression(match.expression, f"{field}.expression", condition=True)
    _check_names(f"{field}.parameters", [parameter.name for parameter in match.parameters])
    said = {parameter.name: parameter for parameter in match.parameters}
    undefined = sorted(said.keys() - {definition.name for definition in spec.parameters})
    if undefined:
        message = f"{field}.parameters[{undefined[0]}]: spec.parameters does not define it"
        raise _BadModelError("InvalidValue", message)
    parameters = tuple(
        _parameter(definition, said[definition.name], f"{field}.parameters[{definition.name}]")
        for definition in spec.parameters
        if definition.name in said
    )
    return CompiledMatch(name=match.name, condition=condition, parameters=parameters)


def _parameter(definition: ParameterDefinition, said: MatchParameter, field: str) -> CompiledParameter:
    init = _init(definition.type, said.init_value, f"{field}.initValue")
    allowed = _allowed(definition.type, said.allowed_values, f"{field}.allowedValues")
    literal, literals = said.init_value.literal, said.allowed_values.literals if said.allowed_values else None
    if (
        literal is not None
        and literals is not None
        and not allows(allowed_from_entries(definition.type, literals), definition.type, literal)
    ):
        message = f"{field}.initValue.literal: {shown(literal)} is not among the allowed values"
        raise _BadModelError("InvalidValue", message)
    return CompiledParameter(
        definition=definition,
        init=init,
        init_literal=literal,
        allowed=allowed,
        allowed_literals=literals,
        attribute=said.attribute,
    )


def _init(value_type: ValueType, rule: ValueRule, field: str) -> Expression | None:
    _check_one_of(field, "expression and literal", rule.expression is None, rule.literal is None)
    if rule.literal is not None:
        _check_canonical(value_type, rule.literal, f"{field}.literal")
    return _expression(rule.expression, f"{field}.expression") if rule.expression is not None else None


def _allowed(value_type: ValueType, rule: ValuesRule | None, field: str) -> Expression | None:
    if rule is None:
        return None
    _check_one_of(field, "expression and literals", rule.expression is None, rule.literals is None)
    for position, entry in enumerate(rule.literals or ()):
        _check_entry(value_type, entry, f"{field}.literals[{position}]")
    return _expression(rule.expression, f"{field}.expression") if rule.expression is not None else None


def _expression(text: str, field: str, *, condition: bool = False) -> Expression:
    try:
        return Expression(text, condition=condition)
    except InvalidExpressionError as error:
        raise _BadModelError("InvalidExpression", f"{field}: {error}") from None


def _check_one_of(field: str, what: str, *absent: bool) -> None:
    """The API server holds this too; a DeviceModel that is only a file has not been there."""
    if sum(absent) != 1:
        raise _BadModelError("InvalidValue", f"{field}: set exactly one of {what}")


def _check_names(field: str, names: Sequence[str]) -> None:
    """The same: the names of a list are unique."""
    twice = next((name for position, name in enumerate(names) if name in names[:position]), None)
    if twice is not None:
        raise _BadModelError("InvalidName", f"{field}[{twice}]: the name occurs twice")


def _check_entry(value_type: ValueType, entry: str, field: str) -> None:
    try:
        single = allowed_from_entries(value_type, [entry]).texts
    except ValueFault as error:
        raise _BadModelError("InvalidValue", f"{field}: {error}") from None
    if single and entry not in single:
        raise _BadModelError("InvalidValue", _not_canonical(field, entry, next(iter(single))))


def _check_canonical(value_type: ValueType, text: str, field: str) -> None:
    try:
        canonical = from_text(value_type, text)
    except ValueFault as error:
        raise _BadModelError("InvalidValue", f"{field}: {error}") from None
    if canonical != text:
        raise _BadModelError("InvalidValue", _not_canonical(field, text, canonical))


def _not_canonical(field: str, text: str, canonical: str) -> str:
    return f"{field}: {shown(text)} is not canonical text: write {shown(canonical)}"
