"""Published metadata, whichever form a driver chose, and the values of its devices (design section 4).

Of a type, the first of these that is there: ``migration/`` (form a, :mod:`mdev_node_agent.metadata.hierarchy`), then
``migration_info.json`` (form b, :mod:`mdev_node_agent.metadata.info_file`), else nothing (form c: a DeviceModel may say
it). Of a device without a type the same as ``migration_info/`` and ``migration_info.json``. Values stand in the
device's own ``migration/<p>`` in forms a and b alike.

A type may have several models; each of its devices is of one, and has to say of which: by ``migration/model``, or by
published metadata of its own that has one model. ``migration/model`` is a parameter's value instead wherever a
parameter is named so.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Any

from mdev_api.engine.metadata import ValueType
from mdev_api.values import ValueFault, from_sysfs, shown
from mdev_node_agent.metadata import hierarchy
from mdev_node_agent.metadata.info_file import FILE, read_info_file
from mdev_node_agent.metadata.publication import Publication, Publications, faulty
from mdev_node_agent.seeing.observation import Unreadable
from mdev_node_agent.sysfs.attribute import contents, reason, unreadable
from mdev_node_agent.sysfs.port import Directory

VALUES = "migration"
"""The directory of a device that has its values."""
DEVICE_GROUP = "migration_info"
"""The directory of a device without a type that has its metadata."""
_MODEL = "model"


def read_type_published(directory: Directory, path: str) -> Publications:
    """What a type says; ``path`` is the type's, for what is told. Never raises OSError."""
    return _read(directory, path, hierarchy.GROUP)


def read_device_published(directory: Directory, path: str) -> Publication:
    """What a device without a type says of itself; ``path`` is the device's, for what is told. Never raises OSError.

    For a back-end: ``published`` is the member of that name of the device's profile, left out where it is None; then
    ``read_values(directory, path, published)`` gives the values, and where it is None the allow-listed attributes
    stand for them. ``unreadable`` belongs to the device. ``parameter_names([published])`` are the files that may be
    read and written below ``migration/``. A device that names several models, and does not say which it is, has a
    ``schemaError``.
    """
    said = _read(directory, path, DEVICE_GROUP)
    if not said.models:
        return Publication(published=None, warnings=said.warnings)
    published = said.models[0]
    told = list(said.unreadable)
    if len(said.models) > 1:
        try:
            name = _named_in_values(directory, said.models)
        except OSError as error:
            told.append(unreadable(f"{path}/{VALUES}/{_MODEL}", _MODEL, error))
            published = faulty(f"{VALUES}/{_MODEL}: {reason(error)}")
        else:
            found = next((m for m in said.models if name is not None and m.get("model") == name), None)
            published = found or faulty(f"{FILE}: {_undecided(said.models, name)}")
    return Publication(published=published, unreadable=tuple(told), warnings=said.warnings)


def choose_model(
    device: Directory, path: str, models: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any] | None, Unreadable | None]:
    """Which of its type's models a device is of; none with the reason why not. Never raises OSError.

    ``models``: each ``published`` of its type, at least one; of one alone every device is.
    """
    if len(models) == 1:
        return models[0], None
    try:
        name = _named_in_values(device, models)
    except OSError as error:
        return None, unreadable(f"{path}/{VALUES}/{_MODEL}", _MODEL, error)
    if name is None:
        own = _read(device, path, DEVICE_GROUP).models
        name = own[0].get("model") if len(own) == 1 else None
    chosen = next((m for m in models if name is not None and m.get("model") == name), None)
    if chosen is not None:
        return chosen, None
    message = f"{path}/{VALUES}/{_MODEL}: {_undecided(models, name)}"
    return None, Unreadable(path=f"{path}/{VALUES}/{_MODEL}", name=_MODEL, errno="", message=message)


def parameter_names(models: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The files below a device's ``migration/`` that are parameters of one of these models."""
    return frozenset(parameter["name"] for model in models for parameter in model.get("parameters", ()))


def read_values(
    device: Directory, path: str, published: Mapping[str, Any]
) -> tuple[dict[str, str], tuple[Unreadable, ...]]:
    """Canonical value of each published parameter of a device, and what could not be read. Never raises OSError."""
    values: dict[str, str] = {}
    told: list[Unreadable] = []
    parameters = published.get("parameters", [])
    path = f"{path}/{VALUES}"
    if not parameters:
        return values, ()
    try:
        group = device.open(VALUES)
    except OSError as error:
        return values, tuple(unreadable(f"{path}/{p['name']}", p["name"], error) for p in parameters)
    with group:
        for parameter in parameters:
            value = _value(group, f"{path}/{parameter['name']}", parameter)
            if isinstance(value, str):
                values[parameter["name"]] = value
            else:
                told.append(value)
    return values, tuple(told)


def _read(directory: Directory, path: str, group: str) -> Publications:
    """The first form that is there."""
    tree = hierarchy.read_published(directory, path, group)
    if tree is not None and tree.published is not None:
        return Publications(models=(tree.published,), unreadable=tree.unreadable, warnings=tree.warnings)
    return read_info_file(directory, path) or Publications()


def _named_in_values(device: Directory, models: Sequence[Mapping[str, Any]]) -> str | None:
    """The model that ``migration/model`` names; None: there is no such file, or it is a parameter. OSError."""
    if _MODEL in parameter_names(models):
        return None
    try:
        with device.open(VALUES) as group:
            return contents(group, _MODEL).removesuffix("\n")
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def _undecided(models: Sequence[Mapping[str, Any]], name: str | None) -> str:
    names = ", ".join(shown(model["model"]) for model in models if "model" in model)
    said = "the device does not say which it is" if name is None else f"the device says that it is {shown(name)}"
    return f"it may be any of the models {names}, and {said}"


def _value(group: Directory, path: str, parameter: Mapping[str, Any]) -> str | Unreadable:
    name = parameter["name"]
    if "type" not in parameter:
        return Unreadable(path=path, name=name, errno="", message=f"{path}: the driver publishes no type for it")
    try:
        return from_sysfs(ValueType(parameter["type"]), contents(group, name))
    except OSError as error:
        return unreadable(path, name, error)
    except ValueFault as fault:
        return Unreadable(path=path, name=name, errno="", message=f"{path}: {fault}")
