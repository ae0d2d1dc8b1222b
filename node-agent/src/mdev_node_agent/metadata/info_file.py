"""The JSON form of published metadata (design section 4, form b): ``migration_info.json`` of a type or a device.

The text is RFC v3's migration info, read strictly by :mod:`mdev_api.migration_info`. What is wrong with it becomes a
``schemaError``: of the parameter, of the model (which keeps its name), or of the whole. A text whose ``models`` is
empty names no model, which is no fault: it counts as if there were none (NoModel, or a DeviceModel's). Several models
give one ``published`` each, in the order of their names, so that the order in which a driver prints them makes no
other profile.
"""

from __future__ import annotations

import errno
from typing import Any

from mdev_api.migration_info import Definition, DestinationInfo, UnusableError, parse_destination
from mdev_node_agent.metadata.publication import (
    MAX_FAULT,
    MAX_WARNINGS,
    Publications,
    description_text,
    entries_fault,
    faulty,
    model_fault,
    names_fault,
)
from mdev_node_agent.sysfs.attribute import reason, unreadable
from mdev_node_agent.sysfs.port import Directory

FILE = "migration_info.json"
MAX_BYTES = 65536
MAX_MODELS = 16


def read_info_file(directory: Directory, path: str) -> Publications | None:
    """What the file below ``directory`` publishes; ``path`` is that of ``directory``, for what is told.

    None: there is no such file. Never raises OSError; whatever the file holds, there is an answer.
    """
    try:
        data = directory.read(FILE)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        told = unreadable(f"{path}/{FILE}", FILE, error)
        return Publications(models=(faulty(f"{FILE}: {reason(error)}"),), unreadable=(told,))
    return published_models(data)


def published_models(data: bytes) -> Publications:
    """What this text publishes."""
    if len(data) > MAX_BYTES:
        return _whole(f"{len(data)} bytes, at most {MAX_BYTES} are expected")
    try:
        info = parse_destination(data)
    except UnusableError as error:
        return _whole(str(error))
    if not info.models and info.fault is not None:
        return _whole(info.fault)
    if not info.models:
        return Publications(warnings=("models is empty: no model is named", *info.warnings[: MAX_WARNINGS - 1]))
    if len(info.models) > MAX_MODELS:
        return _whole(f"{len(info.models)} models, at most {MAX_MODELS} are expected")
    models = tuple(_model(info, name) for name in sorted(info.models))
    return Publications(models=models, warnings=info.warnings[:MAX_WARNINGS])


def _whole(fault: str) -> Publications:
    return Publications(models=(faulty(f"{FILE}: {fault}"),))


def _model(info: DestinationInfo, name: str) -> dict[str, Any]:
    """One model; a fault that hides its parameters leaves its name, so that it is told from other models."""
    unnamed = model_fault(name)
    if unnamed is not None:
        return faulty(f"{FILE}: {unnamed}")
    definitions = info.definitions[name]
    fault = info.metadata_for(name).fault or names_fault([definition.name for definition in definitions])
    if fault is not None:
        return {"model": name, **faulty(f"{FILE}: {fault}")}
    if not definitions:
        return {"model": name}
    return {"model": name, "parameters": [_parameter(definition) for definition in definitions]}


def _parameter(definition: Definition) -> dict[str, Any]:
    fault = definition.fault
    if fault is None and definition.entries is not None:
        fault = entries_fault(definition.entries)
        fault = None if fault is None else f"allowed_values: {fault}"
    if fault is not None:
        return {"name": definition.name, "schemaError": fault[:MAX_FAULT]}
    entry: dict[str, Any] = {"name": definition.name, "type": str(definition.type), "initValue": definition.init}
    if definition.off is not None:
        entry["offValue"] = definition.off
    if definition.entries is not None:
        entry["allowedValues"] = list(definition.entries)
    if definition.description:
        entry["description"] = description_text(definition.description)
    return entry
