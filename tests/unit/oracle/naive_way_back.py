"""The way back, a second time: a new device of the destination is the source; see :mod:`naive`."""

from __future__ import annotations

from typing import Any

from tests.unit.oracle.naive_reading import Object, is_model_name, load, read_destination


def fresh(destination: str, model: str | None) -> dict[str, Any]:
    """A new device there as a source. Where ``model`` is not offered, which one is meant is not said: the first by
    name is taken, so that no order matters."""
    read = read_destination(destination, meant(destination, model))
    assert read is not None
    return {
        "model": None if read["hidden"] else read["model"],
        "broken": read["broken"],
        "params": {
            name: {"type": d["type"], "value": d["init"], "off": d["off"], "broken": d["broken"]}
            for name, d in read["params"].items()
        },
    }


def is_said(destination: str, model: str | None) -> bool:
    """The text says nothing of faults around a model that is not the one meant."""
    if not isinstance(load(destination), Object) or meant(destination, model) == model:
        return True
    read = read_destination(destination, meant(destination, model))
    return read is None or read["hidden"] or not read["broken"]


def meant(destination: str, model: str | None) -> str | None:
    documents = load(destination).all("models")
    models = documents[0] if len(documents) == 1 and isinstance(documents[0], Object) else Object()
    if model is not None and models.all(model):
        return model
    return min((name for name, _ in models if is_model_name(name)), default=model)
