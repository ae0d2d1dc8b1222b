"""What a driver says of a type or a device, in whichever form, as ``spec.published`` of a DeviceProfile.

The bounds are the API's: what is beyond them is a fault that is told, never an object that the API server refuses.
Nothing in a publication says where it was read, so nodes that see the same publish the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mdev_api.names import model_name_fault, parameter_name_fault
from mdev_api.values import shown
from mdev_node_agent.seeing.observation import Unreadable

MAX_PARAMETERS = 64
MAX_ENTRIES = 64
MAX_ENTRY = 256
MAX_MODEL = 512
MAX_DESCRIPTION = 256
MAX_FAULT = 1024
MAX_WARNINGS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """What is said of one model. ``published`` None: nothing, as every driver of today.

    ``warnings``: what is ignored, as sentences without a place.
    """

    published: Mapping[str, Any] | None
    unreadable: tuple[Unreadable, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Publications:
    """What is said of a type: one ``published`` for each of its models; none: it says nothing."""

    models: tuple[Mapping[str, Any], ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    warnings: tuple[str, ...] = ()


def faulty(fault: str) -> dict[str, Any]:
    """What is published where nothing can be understood."""
    return {"schemaError": fault[:MAX_FAULT]}


def model_fault(model: str) -> str | None:
    """Why ``model`` can name no model in the API; None: it can."""
    fault = model_name_fault(model)
    if fault is None and len(model) > MAX_MODEL:
        return f"model name {shown(model)}: at most {MAX_MODEL} characters are expected"
    return fault


def names_fault(names: Sequence[str]) -> str | None:
    """Why parameters of these names cannot stand in the API; None: they can."""
    if len(names) > MAX_PARAMETERS:
        return f"{len(names)} parameters, at most {MAX_PARAMETERS} are expected"
    return next((fault for fault in map(parameter_name_fault, names) if fault is not None), None)


def entries_fault(entries: Sequence[str]) -> str | None:
    """Why these allowed values cannot stand in the API; None: they can."""
    if len(entries) > MAX_ENTRIES:
        return f"{len(entries)} entries, at most {MAX_ENTRIES} are expected"
    longest = next((entry for entry in entries if len(entry) > MAX_ENTRY), None)
    return None if longest is None else f"{shown(longest)}: at most {MAX_ENTRY} characters are expected"


def description_text(text: str) -> str:
    """A description as far as the API takes it; lone surrogates are escaped."""
    return text.encode(errors="backslashreplace").decode()[:MAX_DESCRIPTION]
