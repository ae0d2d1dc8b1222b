"""Versions of a model as aliases, beside a naive reading: what is explicit overrides, what is unknown is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given

from mdev_api.kinds.device_migration import ExplicitDevice
from mdev_api.kinds.device_model import DeviceModel
from mdev_operator.migration.versions import source_of_version
from tests.unit.oracle import naive, naive_versions, plain_worlds, said
from tests.unit.oracle.effort import at_most
from tests.unit.oracle.tape import Tape, between, chance, from_tape, one_of, reached, some_of

Case = tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]

VERSIONS = ["v1", "v2", "v3"]
BAD = {"int": ["01", "-1", "on", ""], "bool": ["yes", "On", "2", ""], "str": ["a\nb"]}
SPELLED = {"on": ["on", "true", "1"], "off": ["off", "false", "0"]}


def case(tape: Tape) -> Case:
    """An explicit device with a version, the DeviceModels that there are, and a destination near both."""
    there = plain_worlds.destination(tape)
    source = plain_worlds.source_near(tape, there)
    models = [model_near(tape, source) for _ in range(between(tape, 1, 2))]
    if len(models) == 2:
        models[one_of(tape, [0, 1])][one_of(tape, ["model", "valid"])] = False
    device = {"model": "m", "version": one_of(tape, ["v1", *VERSIONS]), "values": {}}
    for name in some_of(tape, plain_worlds.NAMES, 0, 2):
        device["values"][name] = given_near(tape, source["params"].get(name))
    for model in models:
        model["model"] = model["model"] or "n"
    return device, models, there


def model_near(tape: Tape, source: dict[str, Any]) -> dict[str, Any]:
    """A DeviceModel of the source's parameters, with one or two versions; one of them may leave a parameter out."""
    params = {
        n: {"type": p["type"], "off": None if p["off"] is None else naive.text(p["off"])}
        for n, p in source["params"].items()
    }
    versions = {}
    for version in some_of(tape, VERSIONS[:2], 1, 2):
        alias = {
            n: written(tape, p["type"], naive.text(p["value"]))
            for n, p in source["params"].items()
            if not chance(tape, 8)
        }
        versions[version] = alias
    return {"model": "m", "valid": not chance(tape, 10), "params": params, "versions": versions}


def given_near(tape: Tape, p: dict[str, Any] | None) -> dict[str, Any]:
    kind = p["type"] if p is not None and not chance(tape, 15) else one_of(tape, plain_worlds.KINDS)
    texts = [naive.text(value) for value in plain_worlds.VALUES[kind]]
    off = one_of(tape, texts) if chance(tape, 40) else None
    return {"type": kind, "value": written(tape, kind, one_of(tape, texts)), "off": off}


def written(tape: Tape, kind: str, text: str) -> str:
    """As people write it, now and then wrongly."""
    if chance(tape, 4):
        return str(one_of(tape, BAD[kind]))
    return str(one_of(tape, SPELLED[text])) if kind == "bool" else text


def by_operator(device: dict[str, Any], models: list[dict[str, Any]], there: dict[str, Any]) -> said.Said:
    values = [
        {"name": name, "type": each["type"], "value": each["value"]}
        | ({} if each["off"] is None else {"offValue": each["off"]})
        for name, each in device["values"].items()
    ]
    asked = ExplicitDevice.model_validate(
        {"name": "gpu", "model": device["model"], "version": device["version"], "values": values}
    )
    return said.asked(
        source_of_version(asked, [device_model(n, each) for n, each in enumerate(models)]), said.engine_metadata(there)
    )


def device_model(number: int, model: dict[str, Any]) -> DeviceModel:
    valid = {
        "type": "Valid",
        "status": str(model["valid"]),
        "reason": "Because",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return DeviceModel.model_validate(
        {
            "metadata": {"name": f"model-{number}"},
            "spec": {
                "model": model["model"],
                "parameters": [
                    {"name": name, "type": p["type"]} | ({} if p["off"] is None else {"offValue": p["off"]})
                    for name, p in model["params"].items()
                ],
                "versions": [
                    {"name": version, "values": [{"name": name, "value": value} for name, value in alias.items()]}
                    for version, alias in model["versions"].items()
                ],
            },
            "status": {"conditions": [valid]},
        }
    )


cases = from_tape(case)


@at_most(800)
@given(cases)
def test_a_version_means_what_a_naive_reading_makes_of_it(made: Case) -> None:
    device, models, there = made
    assert by_operator(*made) == said.judged(naive_versions.source_of(device, models), there)


@at_most(200)
@given(cases)
def test_a_version_that_nobody_defines_is_incompatible_whatever_is_given_beside_it(made: Case) -> None:
    device, models, there = made
    answer = by_operator({**device, "version": "v9"}, models, there)
    assert answer.verdict == "Incompatible" and ("UnknownVersion", None) in answer.findings


@at_most(200)
@given(cases)
def test_a_version_repeated_value_by_value_says_the_same(made: Case) -> None:
    device, models, there = made
    source = naive_versions.source_of(device, models)
    assume(not source["unknown_version"] and not any(p["broken"] for p in source["params"].values()))
    spelled = {
        name: {
            "type": p["type"],
            "value": naive.text(p["value"]),
            "off": None if p["off"] is None else naive.text(p["off"]),
        }
        for name, p in source["params"].items()
    }
    assert by_operator({**device, "values": spelled}, models, there) == by_operator(*made)


@pytest.mark.parametrize("verdict", ["Compatible", "Incompatible", "Unknown"])
@pytest.mark.parametrize("overridden", [True, False])
def test_every_verdict_of_a_version_is_among_what_is_tried(verdict: str, overridden: bool) -> None:
    def has(made: Case) -> bool:
        device, models, there = made
        source = naive_versions.source_of(device, models)
        sound = not source["unknown_version"] and bool(device["values"]) == overridden
        return sound and said.judged(source, there).verdict == verdict

    assert reached(case, has)
