"""One document, three readers: the agent from files, the agent from JSON, and the offline check."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.engine.metadata import Metadata
from mdev_api.hashing import profile_name
from mdev_api.kinds.common import dump
from mdev_api.kinds.device_profile import DeviceProfile, DeviceProfileSpec
from mdev_api.meaning import metadata_of
from mdev_api.migration_info import parse_destination
from mdev_api.names import model_name_fault, parameter_name_fault
from mdev_api.reading.profiles import read_profile
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.seeing.discovery import observe
from mdev_operator.profiles.profiles import profile_status
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.tree import Dir, constant

NOW = datetime(2026, 11, 25, tzinfo=UTC)
NAMES = st.text(min_size=1, max_size=12).filter(lambda name: parameter_name_fault(name) is None)
MODELS = st.text(min_size=1, max_size=12).filter(lambda name: model_name_fault(name) is None)
LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"), max_size=12)
INTS = st.integers(0, 10**30)
VALUES = {"bool": st.booleans(), "int": INTS, "str": LINES}


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    """A parameter without fault, as JSON has it; an off value may be outside of what is allowed."""
    value_type = draw(st.sampled_from(sorted(VALUES)))
    values = VALUES[value_type]
    init = draw(values)
    found: dict[str, Any] = {"type": value_type, "init_value": init}
    if draw(st.booleans()):
        found["off_value"] = draw(values)
    if draw(st.booleans()):
        ranges = st.tuples(INTS, INTS).map(lambda ends: f"{min(ends)}-{max(ends)}")
        others = draw(st.lists(values | ranges if value_type == "int" else values, max_size=4))
        allowed = draw(st.permutations([init, *others]))
        # One file cannot tell a list of the empty string alone from an empty list.
        if set(map(str, allowed)) != {""}:
            found["allowed_values"] = allowed
    if draw(st.booleans()):
        found["description"] = draw(LINES)
    return found


PARAMETERS = st.dictionaries(NAMES, parameters(), max_size=4)


def as_json(models: dict[str, dict[str, Any]], *, ascii_only: bool = True) -> bytes:
    document = {"models": {model: {"params": params} for model, params in models.items()}}
    return json.dumps(document, ensure_ascii=ascii_only).encode()


def text(value: Any) -> str:
    """A value as a driver shows it in a file."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def as_files(home: Dir, model: str, params: dict[str, Any]) -> None:
    """The same as one value per file."""
    home.directory("migration").fill({"model": constant(model)})
    parent = home.directory("migration/params")
    for name, parameter in params.items():
        files = {member: text(value) for member, value in parameter.items() if member != "allowed_values"}
        if "allowed_values" in parameter:
            blank = "\n" if parameter["type"] == "str" else " "
            files["allowed_values"] = blank.join(map(text, parameter["allowed_values"]))
        directory = parent.entries[name] = Dir(name=name, above=parent)
        directory.fill({member: constant(content) for member, content in files.items()})


class Card:
    """A kernel whose types publish what a test gives them."""

    def __init__(self) -> None:
        self.kernel = MemoryKernel(drivers=[Gfx(metadata=False)])
        self._types = self.kernel._machine.root.directory("devices/virtual/gfx/gfx0/mdev_supported_types")

    def type(self, name: str) -> Dir:
        return self._types.directory(name)

    def profiles(self, type_id: str) -> list[dict[str, Any]]:
        """The profiles of a type's offers, as the agent sees them."""
        return [dict(o.profile) for o in observe(self.kernel, [MdevBackend()]).offers("gfx0", type_id)]


def meaning(spec: dict[str, Any]) -> Metadata:
    """What the operator makes of a profile."""
    parsed = DeviceProfileSpec.model_validate(spec)
    profile = DeviceProfile.model_validate({"metadata": {"name": profile_name(dump(parsed))}, "spec": spec})
    return metadata_of(profile.model_copy(update={"status": profile_status(profile, read_profile(parsed, ()), NOW)}))


@given(st.dictionaries(MODELS, PARAMETERS, min_size=1, max_size=3), st.booleans())
@settings(deadline=None)
def test_agent_and_offline_check_read_the_same_in_one_json(models: dict[str, dict[str, Any]], ascii_only: bool) -> None:
    data = as_json(models, ascii_only=ascii_only)
    card = Card()
    card.type("gfx-4GB").fill({"migration_info.json": constant(data.decode())})
    seen = {(m := meaning(spec)).model: m for spec in card.profiles("gfx-4GB")}
    assert seen == {model: parse_destination(data).metadata_for(model) for model in models}


@given(MODELS, PARAMETERS)
@settings(deadline=None)
def test_files_and_json_of_the_same_metadata_are_published_alike(model: str, params: dict[str, Any]) -> None:
    card = Card()
    by_name = dict(sorted(params.items()))
    card.type("gfx-4GB").fill({"migration_info.json": constant(as_json({model: by_name}).decode())})
    as_files(card.type("gfx-8GB"), model, params)
    (from_json,), (from_files,) = card.profiles("gfx-4GB"), card.profiles("gfx-8GB")
    assert from_files["published"] == from_json["published"]
    assert all("schemaError" not in p for p in from_files["published"].get("parameters", ()))
