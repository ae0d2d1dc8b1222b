"""An explicit source that names a version of its model: the DeviceModel's alias for a full assignment of values.

Values that are given beside the version take the place of the alias's. Which parameters there are, of which type and
with which off value, is the DeviceModel's word. One that is not Valid is used for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mdev_api.engine.metadata import Source
from mdev_api.kinds.device_migration import ExplicitDevice, ExplicitValue
from mdev_api.kinds.device_model import DeviceModel
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
    given = {value.name: value for value in device.values}
    values = tuple(
        ExplicitValue(name=p.name, type=p.type, value=alias[p.name], off_value=p.off_value)
        for p in model.spec.parameters
        if p.name in alias and p.name not in given
    )
    off = {p.name: p.off_value for p in model.spec.parameters}
    overriding = tuple(
        value if value.off_value is not None else value.model_copy(update={"off_value": off.get(value.name)})
        for value in device.values
    )
    return explicit_source(bare.model_copy(update={"values": (*values, *overriding)}))


def _valid(name: str, models: Iterable[DeviceModel]) -> DeviceModel | None:
    """The DeviceModel of this model; of several only the oldest is Valid."""
    of_it = (m for m in models if m.spec.model == name)
    return next((m for m in of_it if is_true(m.status.conditions, "Valid")), None)
