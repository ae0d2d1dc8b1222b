"""From API objects to what the engine compares: a profile's metadata, and the source that a device or a user names.

API objects come from other programs and other versions, so every text is parsed again here; what does not pass becomes
a ``fault`` or ``unreadable`` sentence and the verdict Unknown, never an exception and never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mdev_api.engine.metadata import Metadata, Parameter, Source, SourceParameter, WriteStrategy
from mdev_api.kinds.device_migration import ExplicitDevice, ExplicitValue
from mdev_api.kinds.device_profile import DeviceProfile, DeviceProfileStatus
from mdev_api.kinds.node_devices import NodeInstance
from mdev_api.kinds.values import Parameter as ApiParameter
from mdev_api.kinds.values import ReadParameter
from mdev_api.names import model_name_fault, parameter_name_fault
from mdev_api.values import ValueFault, allowed_from_entries, allows, from_raw, from_text, shown

NO_MODEL = "NoModel"
"""Reason of Resolved=False where neither the driver nor a DeviceModel names a model."""


def engine_parameter(parameter: ApiParameter) -> Parameter:
    """One parameter as the engine compares it, in canonical text; ``fault`` says why it cannot be."""
    fault = parameter.schema_error or parameter_name_fault(parameter.name)
    if fault is None and (parameter.type is None or parameter.init_value is None):
        fault = f"{'type' if parameter.type is None else 'initValue'} is missing"
    if fault is not None or parameter.type is None or parameter.init_value is None:
        return Parameter(name=parameter.name, type=parameter.type, init=None, fault=fault)
    init, off, allowed = None, None, None
    try:
        init = from_text(parameter.type, parameter.init_value)
        if parameter.off_value is not None:
            off = from_text(parameter.type, parameter.off_value)
        if parameter.allowed_values is not None:
            allowed = allowed_from_entries(parameter.type, parameter.allowed_values)
    except ValueFault as error:
        fault = str(error)
    else:
        if not allows(allowed, parameter.type, init):
            fault = f"its init value {shown(init)} is not among its allowed values"
    return Parameter(
        name=parameter.name,
        type=parameter.type,
        init=init,
        off=off,
        allowed=allowed,
        runtime_writable=parameter.runtime_writable,
        fault=fault,
    )


def metadata_of(profile: DeviceProfile) -> Metadata:
    """Model and parameters of the offers with this profile, as the operator's reading (its status) has them."""
    status = profile.status
    whole = _whole_fault(profile.metadata.name, status)
    if status is None or whole is not None:
        model = status.model if status else None
        return Metadata(model=model, fault=whole, parameters_known=False)
    return Metadata(
        model=status.model,
        parameters=tuple(replace(engine_parameter(p), has_file=p.attribute is not None) for p in status.parameters),
        write_strategy=status.write_strategy or WriteStrategy.DIRECT,
    )


def source_of(instance: NodeInstance, profile: DeviceProfile) -> Source:
    """The device as the source of a migration. ``profile`` is the one that ``instance.profile`` names.

    A reading that cannot be used gives no model either: its parameters are hidden, so no comparison may count on them.
    """
    status = profile.status
    whole = _whole_fault(profile.metadata.name, status)
    if status is None or whole is not None:
        return Source(model=None, fault=whole)
    return Source(model=status.model, parameters=tuple(_source_parameter(instance, p) for p in status.parameters))


def explicit_source(device: ExplicitDevice) -> Source:
    """The source that a user describes. Bools may be spelled on/off, true/false or 1/0."""
    fault = model_name_fault(device.model)
    if fault is not None:
        return Source(model=None, fault=fault)
    if device.version is not None:
        fault = f"version {shown(device.version)} of {device.model} is not known: give the values themselves instead"
        return Source(model=None, fault=fault)
    return Source(model=device.model, parameters=tuple(_explicit_parameter(v) for v in device.values))


def instance_values(instance: NodeInstance, profile: DeviceProfile) -> Mapping[str, str] | None:
    """Every parameter's current value, canonical text; None if one is not known (then nothing can be planned on it)."""
    source = source_of(instance, profile)
    if source.model is None or source.fault is not None:
        return None
    values = {p.name: p.value for p in source.parameters if p.value is not None and p.fault is None}
    return values if len(values) == len(source.parameters) else None


def _whole_fault(name: str, status: DeviceProfileStatus | None) -> str | None:
    """Why the reading as a whole cannot be used; None also where no model is named (NoModel is no fault)."""
    if status is None:
        return f"DeviceProfile {name} has not been read by the operator yet"
    if status.schema_error is not None:
        return f"DeviceProfile {name}: {status.schema_error}"
    if status.model is not None:
        fault = model_name_fault(status.model)
        return f"DeviceProfile {name}: {fault}" if fault else None
    resolved = next((c for c in status.conditions if c.type == "Resolved"), None)
    if resolved is None:
        return f"DeviceProfile {name} has not been read by the operator yet"
    return None if resolved.reason == NO_MODEL else f"DeviceProfile {name}: {resolved.message}"


def _source_parameter(instance: NodeInstance, read: ReadParameter) -> SourceParameter:
    defined = engine_parameter(read)
    value, unreadable = (None, None) if defined.fault else _reading(instance, read)
    return SourceParameter(
        name=defined.name,
        type=defined.type,
        value=value,
        off=defined.off,
        unreadable=unreadable,
        fault=defined.fault,
    )


def _reading(instance: NodeInstance, read: ReadParameter) -> tuple[str | None, str | None]:
    """(value, None) or (None, why not): values, then unreadable, then the raw attribute, then the init value."""
    assert read.type is not None and read.init_value is not None
    names = {read.name, read.attribute}
    failed = next((u for u in instance.unreadable if u.name in names), None)
    try:
        if read.name in instance.values:
            return from_text(read.type, instance.values[read.name]), None
        if failed is not None:
            return None, f"{failed.message}{f' ({failed.errno})' if failed.errno else ''}"
        if read.attribute is not None and read.attribute in instance.attributes:
            return from_raw(read.type, instance.attributes[read.attribute]), None
    except ValueFault as error:
        return None, f"instance {instance.id}: {error}"
    return from_text(read.type, read.init_value), None


def _explicit_parameter(given: ExplicitValue) -> SourceParameter:
    fault = parameter_name_fault(given.name)
    value, off = None, None
    try:
        value = from_text(given.type, given.value)
        off = None if given.off_value is None else from_text(given.type, given.off_value)
    except ValueFault as error:
        fault = fault or str(error)
    return SourceParameter(name=given.name, type=given.type, value=value, off=off, fault=fault)
