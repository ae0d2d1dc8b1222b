"""Which sources have the same destinations: their compatibility class.

A verdict looks at a source's model, at name and type of each parameter, at the values of the listed ones and at the off
values of the others, and at nothing else. So sources that agree in all of that get the same answer from every
destination, and one representative speaks for them all (:func:`representative`): a cluster with thousands of devices
asks the engine once per class and profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mdev_api.engine.metadata import Source, SourceParameter, ValueType
from mdev_api.engine.parameter_list import is_listed
from mdev_api.hashing import content_hash


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassParameter:
    """One parameter of the class. ``value`` is the source's if it is listed, else the off value that it has."""

    name: str
    type: ValueType
    value: str
    listed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CompatibilityClass:
    """What all sources of one class agree in. ``name``: ``c-`` and the content hash of the rest."""

    name: str
    model: str
    parameters: tuple[ClassParameter, ...]


def class_of(source: Source) -> str | None:
    """Name of the class that the source belongs to; None: it has none (see :func:`compatibility_class`)."""
    found = compatibility_class(source)
    return found.name if found is not None else None


def compatibility_class(source: Source) -> CompatibilityClass | None:
    """The source's class; None for one that no destination can take as it is told.

    That is a source without a model (NoModel), one that could not be understood (SchemaError), one of an unknown
    version (UnknownVersion), and one with a parameter that could not be read (Unreadable).
    """
    if source.model is None or source.fault is not None or source.unknown_version is not None:
        return None
    parameters = []
    for parameter in source.parameters:
        if parameter.fault is not None or parameter.type is None or parameter.value is None:
            return None
        listed = is_listed(parameter)
        # A parameter that is not listed has its off value, so its value is that one in either case.
        parameters.append(
            ClassParameter(name=parameter.name, type=parameter.type, value=parameter.value, listed=listed)
        )
    return defined(source.model, parameters)


def defined(model: str, parameters: Sequence[ClassParameter]) -> CompatibilityClass:
    """The class with this content, in whatever order its parameters are given."""
    ordered = tuple(sorted(parameters, key=lambda p: p.name))
    content = [model, *([p.name, p.type.value, p.listed, p.value] for p in ordered)]
    return CompatibilityClass(name=f"c-{content_hash(content)}", model=model, parameters=ordered)


def representative(wanted: CompatibilityClass) -> Source:
    """A source of this class: what holds for it holds for every other."""
    return Source(
        model=wanted.model,
        parameters=tuple(
            SourceParameter(name=p.name, type=p.type, value=p.value, off=None if p.listed else p.value)
            for p in wanted.parameters
        ),
    )
