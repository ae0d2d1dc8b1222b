"""The hierarchy form of published metadata: one value per file (design section 4, form a).

    <type>/migration/model
    <type>/migration/params/<p>/{type,init_value,off_value,allowed_values,description,runtime_writable}

A device without a type has the same below ``<device>/migration_info/``.

``model``, ``params/``, and of each parameter ``type`` and ``init_value`` must be there. What is there is turned into
``spec.published`` of a DeviceProfile with canonical values; what cannot be understood becomes a ``schemaError``, of the
parameter where it is one parameter's, else of the whole, beside the model's name if that is known. Parameters stand in
the order of their names: a directory has no other.

The driver makes these files after the type, so for a moment a reader meets a type without them or with a part of them.
Such a type is not skipped: it is shown as it is and told, and the driver's next uevent or the next rescan mends it.
Files that this form does not know are ignored with a warning, and an off value outside the allowed values is no fault
but a warning too. Nothing in the result says where it was read, so nodes that see the same publish the same.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mdev_api.engine.metadata import ValueType
from mdev_api.values import ValueFault, allowed_from_entries, allows, entries_from_sysfs, from_sysfs, shown
from mdev_node_agent.metadata.publication import (
    MAX_FAULT,
    MAX_WARNINGS,
    Publication,
    description_text,
    entries_fault,
    faulty,
    model_fault,
    names_fault,
)
from mdev_node_agent.seeing.observation import Unreadable
from mdev_node_agent.sysfs.attribute import contents, reason, unreadable
from mdev_node_agent.sysfs.port import Directory

GROUP = "migration"
_PARAMETER_FILES = frozenset({"type", "init_value", "off_value", "allowed_values", "description", "runtime_writable"})
_OF_THE_KERNEL = frozenset({"uevent", "power", "subsystem"})
"""What a directory has by itself where a driver makes it as a device."""


class _WholeFaultError(Exception):
    """Why the metadata cannot be understood as a whole."""


def read_published(directory: Directory, path: str, group: str = GROUP) -> Publication | None:
    """What is published below ``group`` of a type or device; ``path`` is that of ``directory``, for what is told.

    None: there is no such group. Never raises OSError.
    """
    notes = _Notes()
    path = f"{path}/{group}"
    try:
        files = directory.open(group)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        return Publication(published=faulty(f"{group}: {reason(error)}"), unreadable=(unreadable(path, group, error),))
    with files:
        published: dict[str, Any] = {}
        try:
            published["model"] = _model(files, path, notes.told)
            published.update(_rest(files, path, published["model"], notes))
        except _WholeFaultError as fault:
            published.update(faulty(f"{group}/{fault}"))
    return Publication(published=published, unreadable=tuple(notes.told), warnings=tuple(notes.warnings[:MAX_WARNINGS]))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Notes:
    """What cannot be read, and what is ignored, gathered on the way."""

    told: list[Unreadable] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def _rest(group: Directory, path: str, model: str, notes: _Notes) -> dict[str, Any]:
    """What the model has besides its name."""
    where = f"model {shown(model)}"
    notes.warnings.extend(_unknown_files(group, frozenset({"model", "params"}), where))
    parameters = _parameters(group, path, notes, where)
    return {"parameters": parameters} if parameters else {}


def _model(group: Directory, path: str, told: list[Unreadable]) -> str:
    try:
        model = contents(group, "model").removesuffix("\n")
    except OSError as error:
        told.append(unreadable(f"{path}/model", "model", error))
        raise _WholeFaultError(f"model: {reason(error)}") from None
    fault = model_fault(model)
    if fault is not None:
        raise _WholeFaultError(f"model: {fault}")
    return model


def _parameters(group: Directory, path: str, notes: _Notes, where: str) -> list[dict[str, Any]]:
    path = f"{path}/params"
    try:
        with group.open("params") as params:
            names = params.list()
            fault = names_fault(names)
            if fault is not None:
                raise _WholeFaultError(f"params: {fault}")
            return [
                _parameter(params, f"{path}/{name}", name, notes, f"{where}, parameter {shown(name)}") for name in names
            ]
    except OSError as error:
        notes.told.append(unreadable(path, "params", error))
        raise _WholeFaultError(f"params: {reason(error)}") from None


def _unknown_files(directory: Directory, known: frozenset[str], where: str) -> list[str]:
    """Warnings. A directory that cannot be listed has none: whatever is needed of it is told when it is read."""
    with suppress(OSError):
        return [
            f"{where}: the file {shown(name)} is unknown and ignored"
            for name in directory.list()
            if name not in known | _OF_THE_KERNEL
        ]
    return []


def _off_outside(entry: Mapping[str, Any], where: str) -> list[str]:
    """A warning where the off value of a parameter without fault is not among its allowed values."""
    if "offValue" not in entry or "allowedValues" not in entry:
        return []
    value_type, off = ValueType(entry["type"]), entry["offValue"]
    if allows(allowed_from_entries(value_type, entry["allowedValues"]), value_type, off):
        return []
    return [f"{where}: off_value {shown(off)} is not among the allowed values"]


def _parameter(params: Directory, path: str, name: str, notes: _Notes, where: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name}
    faults: list[str] = []
    try:
        with params.open(name) as files:
            reader = _Files(files=files, path=path, parameter=name, told=notes.told, faults=faults)
            value_type = _type(reader)
            if value_type is not None:
                entry["type"] = str(value_type)
                entry.update(_values(reader, value_type))
            entry.update(_ornaments(reader))
            notes.warnings.extend(_unknown_files(files, _PARAMETER_FILES, where))
    except OSError as error:
        notes.told.append(unreadable(path, name, error))
        faults.append(reason(error))
    if faults:
        return {**entry, "schemaError": "; ".join(faults)[:MAX_FAULT]}
    notes.warnings.extend(_off_outside(entry, where))
    return entry


@dataclass(frozen=True, kw_only=True, slots=True)
class _Files:
    """The files of one parameter, and where to put what is wrong with them."""

    files: Directory
    path: str
    parameter: str
    told: list[Unreadable]
    faults: list[str]

    def text(self, name: str, *, required: bool = False) -> str | None:
        """None: absent, or unreadable; a fault then, unless it is merely absent and not required."""
        try:
            return contents(self.files, name)
        except OSError as error:
            if required or error.errno != errno.ENOENT:
                self.told.append(unreadable(f"{self.path}/{name}", self.parameter, error))
                self.faults.append(f"{name}: {reason(error)}")
            return None

    def value(self, name: str, value_type: ValueType, *, required: bool = False) -> str | None:
        """Canonical text of a file; text that is not of the type is a fault."""
        text = self.text(name, required=required)
        try:
            return None if text is None else from_sysfs(value_type, text)
        except ValueFault as fault:
            self.faults.append(f"{name}: {fault}")
            return None


def _type(reader: _Files) -> ValueType | None:
    text = reader.text("type", required=True)
    if text is None:
        return None
    word = text.strip(" \t\n")
    try:
        return ValueType(word)
    except ValueError:
        reader.faults.append(f"type: {shown(word)} is no type: bool, int or str is expected")
        return None


def _values(reader: _Files, value_type: ValueType) -> dict[str, Any]:
    init = reader.value("init_value", value_type, required=True)
    off = reader.value("off_value", value_type)
    entries = _allowed(reader, value_type)
    found: dict[str, Any] = {}
    if init is not None:
        found["initValue"] = init
    if off is not None:
        found["offValue"] = off
    if entries is not None:
        found["allowedValues"] = list(entries)
        if init is not None and not allows(allowed_from_entries(value_type, entries), value_type, init):
            reader.faults.append(f"init_value: {shown(init)} is not among the allowed values")
    return found


def _allowed(reader: _Files, value_type: ValueType) -> tuple[str, ...] | None:
    text = reader.text("allowed_values")
    if text is None:
        return None
    try:
        entries = entries_from_sysfs(value_type, text)
    except ValueFault as fault:
        reader.faults.append(f"allowed_values: {fault}")
        return None
    if (beyond := entries_fault(entries)) is not None:
        reader.faults.append(f"allowed_values: {beyond}")
        return None
    return entries


def _ornaments(reader: _Files) -> dict[str, Any]:
    """What says more of a parameter without being needed to compare it."""
    found: dict[str, Any] = {}
    writable = reader.value("runtime_writable", ValueType.BOOL)
    if writable is not None:
        found["runtimeWritable"] = writable == "on"
    description = (reader.text("description") or "").removesuffix("\n")
    if description:
        readable = description.encode(errors="surrogateescape").decode(errors="backslashreplace")
        found["description"] = description_text(readable)
    return found
