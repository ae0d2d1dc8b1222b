"""An explicit source that names a version of its model: the DeviceModel's alias for a full assignment of values.

What is given beside the version takes the place of the alias's, with the type and off value that are given; where none
is given, the DeviceModel's off value holds. A DeviceModel that is not Valid is used for nothing, nor is a version that
does not assign every parameter: the condition may be older than the spec, and what is left out would read as absent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mdev_api.engine.metadata import Source
from mdev_api.kinds.device_migration import ExplicitDevice, ExplicitValue
from mdev_api.kinds.device_model import DeviceModel, ParameterDefinition
from mdev_api.meaning import explicit_source
from mdev_api.values import shown
from mdev_operator.migration.status import is_true


def source_of_version(device: ExplicitDevice, models: Iterable[DeviceModel]) -> Source:
    """The source that the user describes, its version resolved; a version that nobody defines is UnknownVersion."""
    bare = device.model_copy(update={"version": None})
    if device.version is None:
        return explicit_source(bare)
    named = f"version {shown(device.version)} of {shown(device.model)}"
    model = _valid(device.model, models)
    if model is None:
        why = f"{named} is not known: no valid DeviceModel defines that model"
        return replace(explicit_source(bare), unknown_version=why)
    version = next((v for v in model.spec.versions if v.name == device.version), None)
    if version is None:
        known = ", ".join(v.name for v in model.spec.versions) or "none"
        why = f"{named} is not known: DeviceModel {model.metadata.name} defines {known}"
        return replace(explicit_source(bare), unknown_version=why)
    alias = {value.name: value.value for value in version.values}
    defined = {parameter.name: parameter for parameter in model.spec.parameters}
    if alias.keys() != defined.keys():
        name = model.metadata.name
        why = f"{named} is not usable: in DeviceModel {name} it does not give each of the model's parameters a value"
        return replace(explicit_source(bare), unknown_version=why)
    given = {value.name for value in device.values}
    values = tuple(
        ExplicitValue(name=p.name, type=p.type, value=alias[p.name], off_value=p.off_value)
        for p in model.spec.parameters
        if p.name not in given
    )
    overriding = tuple(_with_off_value(value, defined.get(value.name)) for value in device.values)
    return explicit_source(bare.model_copy(update={"values": (*values, *overriding)}))


def _with_off_value(value: ExplicitValue, defined: ParameterDefinition | None) -> ExplicitValue:
    """An off value of another type says nothing of this one."""
    if value.off_value is not None or defined is None or defined.type is not value.type:
        return value
    return value.model_copy(update={"off_value": defined.off_value})


def _valid(name: str, models: Iterable[DeviceModel]) -> DeviceModel | None:
    """The DeviceModel of this model; of several only the oldest is Valid."""
    of_it = (m for m in models if m.spec.model == name)
    return next((m for m in of_it if is_true(m.status.conditions, "Valid")), None)
