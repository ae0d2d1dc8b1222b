"""Read one profile: what the driver publishes wins; else the one DeviceModel that matches says what it is.

A DeviceModel by identity is for hardware that nobody has described: it counts only where no match of another holds.

Whatever is not certain leaves the profile unresolved, with the DeviceModel and match in the message: an expression that
fails, two models that both match, a parameter whose value is not of its type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mdev_api.engine.metadata import ValueType, WriteStrategy
from mdev_api.kinds.device_model import AppliesTo
from mdev_api.kinds.device_profile import DeviceProfileSpec, Published
from mdev_api.kinds.values import ReadParameter
from mdev_api.meaning import NO_MODEL, engine_parameter
from mdev_api.reading.expressions import EvaluationError, Variables, variables_of
from mdev_api.reading.identity import IdentityFault, identity_of
from mdev_api.reading.models import CompiledMatch, CompiledModel, CompiledParameter
from mdev_api.values import ValueFault, from_json, from_text, shown

PUBLISHED = "Published"
_MAX_MESSAGE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Status of a DeviceProfile less its conditions, and reason and message of condition Resolved.

    ``matched_by``: name of the DeviceModel that says what the profile is; None where the driver does, or nobody.
    """

    resolved: bool
    reason: str
    message: str
    model: str | None = None
    parameters: tuple[ReadParameter, ...] = ()
    origin: str | None = None
    write_strategy: WriteStrategy | None = None
    schema_error: str | None = None
    matched_by: str | None = None


def read_profile(spec: DeviceProfileSpec, models: Sequence[CompiledModel]) -> Reading:
    """What the profile is. ``models`` come from :func:`~mdev_api.reading.models.compile_models`; bad ones count not."""
    usable = [model for model in models if model.problem is None]
    if spec.published is not None:
        return _published(spec.published, usable)
    applicable = [model for model in usable if _applies(model.spec.applies_to, spec)]
    failures: list[str] = []
    hits: list[tuple[CompiledModel, CompiledMatch]] = []
    try:
        variables = variables_of(spec) if any(model.matches for model in applicable) else {}
    except EvaluationError as error:
        return _unresolved("MatchFailed", str(error))
    for model in applicable:
        try:
            match = _first_match(model, variables)
        except EvaluationError as error:
            failures.append(str(error))
        else:
            hits += [(model, match)] if match else []
    if not hits and not failures:
        return _by_identity(spec, [model for model in applicable if model.spec.by_identity])
    return _by_hits(hits, failures, variables)


def _by_hits(
    hits: Sequence[tuple[CompiledModel, CompiledMatch]], failures: Sequence[str], variables: Variables
) -> Reading:
    if failures:
        return _unresolved("MatchFailed", "; ".join(failures))
    if len(hits) > 1:
        names = ", ".join(f"DeviceModel {model.name} (match {match.name})" for model, match in hits)
        message = f"several models match: {names}; narrow appliesTo or the expressions until one is left"
        return _unresolved("AmbiguousModel", message)
    [(model, match)] = hits
    try:
        parameters = tuple(_derived(parameter, model, match, variables) for parameter in match.parameters)
    except EvaluationError as error:
        return _unresolved("MatchFailed", str(error))
    return _resolved(
        parameters=parameters,
        reason="Matched",
        said_by=f"DeviceModel {model.name}, match {match.name}",
        model=model.spec.model,
        origin=f"DeviceModel/{model.name}",
        write_strategy=model.spec.write_strategy,
        matched_by=model.name,
    )


def _by_identity(spec: DeviceProfileSpec, models: Sequence[CompiledModel]) -> Reading:
    """Nobody describes it: everything known of it must be equal, if a DeviceModel says that this will do."""
    if not models:
        return _unresolved(NO_MODEL, "the driver publishes no model and no DeviceModel matches this profile")
    if len(models) > 1:
        names = ", ".join(f"DeviceModel {model.name}" for model in models)
        message = f"several models take it by identity: {names}; narrow appliesTo until one is left"
        return _unresolved("AmbiguousModel", message)
    [model] = models
    try:
        parameters = identity_of(spec)
    except IdentityFault as error:
        return _unresolved("IdentityFailed", f"DeviceModel {model.name}, byIdentity: {error}")
    return _resolved(
        parameters=parameters,
        reason="ByIdentity",
        said_by=f"DeviceModel {model.name}, by identity: equal in everything that is known of it",
        model=model.spec.model,
        origin=f"DeviceModel/{model.name}",
        write_strategy=model.spec.write_strategy,
        matched_by=model.name,
    )


def _published(published: Published, usable: Sequence[CompiledModel]) -> Reading:
    fault = published.schema_error or (None if published.model else "the driver publishes parameters but no model")
    if fault:
        return Reading(
            resolved=False,
            reason="SchemaError",
            message=_short(f"published by the driver: {fault}"),
            model=published.model,
            origin=PUBLISHED,
            schema_error=_short(fault),
        )
    added = next((model.spec for model in usable if model.spec.model == published.model), None)
    writable = {definition.name: definition.runtime_writable for definition in added.parameters} if added else {}
    parameters = []
    for parameter in published.parameters:
        content = parameter.model_dump()
        if content["runtime_writable"] is None:
            content["runtime_writable"] = writable.get(parameter.name)
        parameters.append(_checked(content | {"attribute": f"migration/{parameter.name}"}))
    return _resolved(
        parameters=tuple(parameters),
        reason=PUBLISHED,
        said_by="published by the driver",
        model=published.model,
        origin=PUBLISHED,
        write_strategy=added.write_strategy if added else None,
        matched_by=None,
    )


def _resolved(*, parameters: tuple[ReadParameter, ...], reason: str, said_by: str, **members: Any) -> Reading:
    """Resolved unless a parameter has a schema error; the others still count, so they are told all the same."""
    faults = [f"parameter {p.name}: {p.schema_error}" for p in parameters if p.schema_error is not None]
    if faults:
        reason, said_by = "SchemaError", f"{said_by}: {'; '.join(faults)}"
    return Reading(resolved=not faults, reason=reason, message=_short(said_by), parameters=parameters, **members)


def _unresolved(reason: str, message: str) -> Reading:
    return Reading(resolved=False, reason=reason, message=_short(message))


def _applies(applies_to: AppliesTo | None, spec: DeviceProfileSpec) -> bool:
    if applies_to is None:
        return True
    pairs = ((applies_to.backend, spec.backend), (applies_to.driver, spec.driver.name))
    return all(wanted is None or wanted == seen for wanted, seen in pairs)


def _first_match(model: CompiledModel, variables: Variables) -> CompiledMatch | None:
    for match in model.matches:
        where = f"DeviceModel {model.name}, match {match.name}"
        try:
            result = match.condition.evaluate(variables)
        except EvaluationError as error:
            raise EvaluationError(f"{where}, expression: {error}") from None
        if not isinstance(result, bool):
            raise EvaluationError(f"{where}, expression: the result is {_of_cel(result)}: true or false is expected")
        if result:
            return match
    return None


def _derived(
    parameter: CompiledParameter, model: CompiledModel, match: CompiledMatch, variables: Variables
) -> ReadParameter:
    """One parameter as the match gives it; what no file can change may take its init value only."""
    definition = parameter.definition
    content = definition.model_dump() | {"attribute": parameter.attribute}
    init: object = parameter.init_literal
    allowed: object = parameter.allowed_literals
    try:
        if parameter.init is not None:
            init = parameter.init.evaluate(variables)
        if parameter.allowed is not None:
            allowed = parameter.allowed.evaluate(variables)
    except EvaluationError as error:
        where = f"DeviceModel {model.name}, match {match.name}, parameter {definition.name}"
        raise EvaluationError(f"{where}: {error}") from None
    try:
        content["init_value"] = _text(definition.type, init)
        content["allowed_values"] = None if allowed is None else _entries(definition.type, allowed)
    except ValueFault as error:
        return _faulty(content, str(error))
    read = _checked(content)
    if read.schema_error is None and parameter.attribute is None:
        return _checked(content | {"allowed_values": (content["init_value"],)})
    return read


def _checked(content: dict[str, Any]) -> ReadParameter:
    """The parameter, or the same without its values and with what is wrong of them."""
    try:
        read = ReadParameter.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        return _faulty(content, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
    fault = engine_parameter(read).fault
    return read if fault is None else _faulty(content, fault)


def _faulty(content: dict[str, Any], fault: str) -> ReadParameter:
    kept = {key: content.get(key) for key in ("name", "type", "description")}
    return ReadParameter.model_validate(kept | {"schema_error": _short(fault)})


def _text(value_type: ValueType, result: object) -> str:
    """Canonical text of a CEL result: a bool or an int of that type, or a string in the type's grammar."""
    if isinstance(result, str):
        return from_text(value_type, result)
    if isinstance(result, bool | int):
        return from_json(value_type, result)
    raise ValueFault(f"the expression gives {_of_cel(result)}: a {value_type} is expected")


def _entries(value_type: ValueType, result: object) -> tuple[str, ...]:
    if not isinstance(result, list | tuple):
        raise ValueFault(f"the expression for allowed values gives {_of_cel(result)}: a list is expected")
    return tuple(
        entry if isinstance(entry, str) and value_type is ValueType.INT and "-" in entry else _text(value_type, entry)
        for entry in result
    )


def _of_cel(result: object) -> str:
    return shown(result) if isinstance(result, bool | int | float | str) else f"a {type(result).__name__}"


def _short(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else message[: _MAX_MESSAGE - 3] + "..."
