"""What DeviceModels make of the profiles that an agent saw, without a cluster: the operator's own reading of them.

No I/O. Unlike the API server, which refuses an object, everything that is wrong with a file is told here: its YAML with
line and column, members that no DeviceModel has, and (:mod:`mdev_api.reading`) expressions with their position.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mdev_api.kinds.common import API_VERSION
from mdev_api.kinds.device_model import DeviceModel, DeviceModelSpec
from mdev_api.kinds.device_profile import DeviceProfileSpec
from mdev_api.meaning import NO_MODEL
from mdev_api.reading import CompiledModel, Reading, compile_models, read_profile
from mdev_api.strict_json import UnusableError
from mdev_api.values import shown


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedProfile:
    """One profile and what it is read as. ``offers``: the types of parents that have it, for people."""

    name: str
    spec: DeviceProfileSpec
    offers: tuple[str, ...]
    reading: Reading


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """The DeviceModels, with what is wrong of each, and every profile as they read it together."""

    models: tuple[CompiledModel, ...]
    profiles: tuple[TriedProfile, ...]

    @property
    def failed(self) -> bool:
        """Is a model not usable, or did a reading come to no end? A profile that no model matches is no failure."""
        problems = any(model.problem is not None for model in self.models)
        readings = [profile.reading for profile in self.profiles]
        return problems or any(not reading.resolved and reading.reason != NO_MODEL for reading in readings)

    @property
    def matched(self) -> bool:
        """Is there a profile that one of the models describes?"""
        return any(profile.reading.matched_by is not None for profile in self.profiles)


_MEMBERS = ("kind", "apiVersion", "metadata", "spec", "status")


class _Seen(BaseModel):
    """The members of what ``mdev-node-agent discover -o json`` prints that count here."""

    model_config = ConfigDict(extra="ignore")


class _Offer(_Seen):
    type: str
    profile: str


class _Parent(_Seen):
    name: str
    offers: tuple[_Offer, ...] = ()


class _Profile(_Seen):
    name: str
    spec: DeviceProfileSpec


class _Document(_Seen):
    parents: tuple[_Parent, ...] = ()
    profiles: tuple[_Profile, ...]


def try_models(files: Mapping[str, bytes], profiles_json: bytes) -> Tried:
    """Read every profile by the DeviceModels of all ``files`` (by name). Raises UnusableError.

    Of two DeviceModels with one ``model`` the first given counts as the older.
    """
    document = _discovered(profiles_json)
    models = [model for name, data in files.items() for model in _device_models(name, data)]
    names = [model.metadata.name for model in models]
    twice = next((name for position, name in enumerate(names) if name in names[:position]), None)
    if twice is not None:
        raise UnusableError(f"two DeviceModels are named {shown(twice)}")
    compiled = compile_models(_in_their_order(models))
    offers: dict[str, list[str]] = {}
    for parent in document.parents:
        for offer in parent.offers:
            offers.setdefault(offer.profile, []).append(f"{offer.type} on {parent.name}")
    profiles = tuple(
        TriedProfile(
            name=profile.name,
            spec=profile.spec,
            offers=tuple(offers.get(profile.name, ())),
            reading=read_profile(profile.spec, compiled),
        )
        for profile in document.profiles
    )
    return Tried(models=compiled, profiles=profiles)


def _in_their_order(models: Sequence[DeviceModel]) -> list[DeviceModel]:
    """The oldest first is how the operator takes them; in files it is the first one."""
    return [
        model.model_copy(update={"metadata": model.metadata.model_copy(update={"creation_timestamp": f"{number:09}"})})
        for number, model in enumerate(models)
    ]


def _discovered(data: bytes) -> _Document:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        why = error if isinstance(error, ValueError) else "it is nested too deeply"
        raise UnusableError(f"profiles: it is not JSON, as mdev-node-agent discover -o json prints it: {why}") from None
    try:
        return _Document.model_validate(content)
    except ValidationError as error:
        where, message = _first(error)
        raise UnusableError(
            f"profiles: it is not what mdev-node-agent discover -o json prints: {where}: {message}"
        ) from None


def _device_models(file: str, data: bytes) -> list[DeviceModel]:
    try:
        documents = [document for document in yaml.load_all(data, _Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UnusableError(f"{file}: {place}it is not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnusableError(f"{file}: it is not YAML: {' '.join(str(error).split())}") from None
    if not documents:
        raise UnusableError(f"{file}: it is empty: a DeviceModel is expected")
    return [_device_model(file, document) for document in documents]


def _device_model(file: str, document: Any) -> DeviceModel:
    if not isinstance(document, dict):
        raise UnusableError(f"{file}: a DeviceModel is expected, not {shown(document)}")
    kind, version = document.get("kind"), document.get("apiVersion")
    if (kind, version) != ("DeviceModel", API_VERSION):
        raise UnusableError(
            f"{file}: a DeviceModel of {API_VERSION} is expected, not {shown(kind)} of {shown(version)}"
        )
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise UnusableError(f"{file}: metadata.name is missing")
    unknown = next((str(key) for key in document if key not in _MEMBERS), None)
    if unknown is not None:
        raise UnusableError(f"{file}: DeviceModel {name}: {unknown}: no DeviceModel has such a member")
    try:
        spec = DeviceModelSpec.model_validate(document.get("spec"), extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        where, message = _first(error, "spec")
        raise UnusableError(f"{file}: DeviceModel {name}: {where}: {message}") from None
    return DeviceModel.model_validate({"metadata": {"name": name}, "spec": spec})


def _first(error: ValidationError, above: str = "") -> tuple[str, str]:
    """Where the first fault is, as people write paths, and what it is."""
    fault = next((each for each in error.errors() if each["type"] == "extra_forbidden"), error.errors()[0])
    path = above + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    message = str(fault["msg"])
    if fault["type"] == "extra_forbidden":
        message = "there is no such member"
    elif fault["type"] == "string_type" and isinstance(fault["input"], bool | int | float):
        message = f"{shown(fault['input'])}: a string is expected, so write it in quotes"
    return path.removeprefix(".") or "the document", message


class _Loader(yaml.SafeLoader):
    """YAML in which a key that occurs twice is an error, as it is for the API server."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} occurs twice", key.start_mark)
            seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
