"""How the test of DeviceModels looks: JSON for programs, tables for people."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.text import Text

from mdev_api.kinds.common import dump
from mdev_api.kinds.values import ReadParameter
from mdev_cli.model_trial import Tried, TriedProfile
from mdev_cli.output import cell, console_to, print_table


def as_json(tried: Tried) -> str:
    """One JSON object, in ASCII: ``models`` with what is wrong, ``profiles`` as their status would be."""
    document = {
        "models": [
            {
                "name": model.name,
                "model": model.spec.model,
                "valid": model.problem is None,
                "matchedProfiles": sum(p.reading.matched_by == model.name for p in tried.profiles),
                **({"reason": model.problem.reason, "message": model.problem.message} if model.problem else {}),
            }
            for model in tried.models
        ],
        "profiles": [_profile(profile) for profile in tried.profiles],
    }
    return json.dumps(document, indent=2) + "\n"


def as_table(tried: Tried, *, terminal: bool) -> str:
    """The models, the profiles, and the parameters that were derived."""
    text = io.StringIO()
    console = console_to(text, terminal=terminal)
    for model in tried.models:
        said = "can be used" if model.problem is None else f"{model.problem.reason}: {model.problem.message}"
        console.print(Text(f"DeviceModel {model.name}: {said}", style="" if model.problem is None else "bold red"))
    profiles = [
        (
            cell(", ".join(profile.offers) or profile.name),
            profile.reading.reason,
            cell(profile.reading.model or "-"),
            profile.reading.message,
        )
        for profile in tried.profiles
    ]
    if profiles:
        print_table(console, "Profiles", ("OFFERED AS", "READING", "MODEL", "WHY"), profiles)
    parameters = [
        (cell(", ".join(profile.offers) or profile.name), *_row(parameter))
        for profile in tried.profiles
        for parameter in profile.reading.parameters
    ]
    if parameters:
        columns = ("OFFERED AS", "PARAMETER", "IS", "INIT", "OFF", "ALLOWED", "FILE", "FAULT")
        print_table(console, "Parameters", columns, parameters)
    return text.getvalue()


def _profile(profile: TriedProfile) -> dict[str, Any]:
    reading = profile.reading
    members: dict[str, Any] = {
        "name": profile.name,
        "offers": list(profile.offers),
        "resolved": reading.resolved,
        "reason": reading.reason,
        "message": reading.message,
        "model": reading.model,
        "from": reading.origin,
        "writeStrategy": reading.write_strategy,
        "parameters": [dump(parameter) for parameter in reading.parameters],
    }
    return {name: value for name, value in members.items() if value is not None}


def _row(parameter: ReadParameter) -> tuple[str, ...]:
    allowed = "any" if parameter.allowed_values is None else ", ".join(parameter.allowed_values)
    return (
        cell(parameter.name),
        parameter.type or "?",
        "?" if parameter.init_value is None else cell(parameter.init_value),
        "-" if parameter.off_value is None else cell(parameter.off_value),
        cell(allowed) if parameter.schema_error is None else "?",
        cell(parameter.attribute or "-"),
        parameter.schema_error or "",
    )
