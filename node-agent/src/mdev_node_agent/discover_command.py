"""What ``mdev-node-agent discover`` prints: everything this node's kernel says, without any cluster.

The document has the words of the API: values are canonical text beside their type, a profile stands once under its
name however many parents offer it, and what could not be read stands with its reason next to where it belongs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdev_api.hashing import profile_name
from mdev_node_agent.backends.every import every_backend
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.facts import read_facts
from mdev_node_agent.seeing.observation import Instance, Observation, Offer, Parent, Unreadable
from mdev_node_agent.sysfs.root import usable_port

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 200
_NO_DEVICES = (
    "no VFIO devices: class/mdev_bus has no parent of mediated devices, and no function in bus/pci/devices has "
    "nvidia/ or vfio-dev/\n"
)


class Format(StrEnum):
    """How to print it."""

    JSON = "json"
    YAML = "yaml"
    TABLE = "table"


@dataclass(frozen=True, kw_only=True, slots=True)
class Discovered:
    """What is there, as ``text``; and sentences about what drivers publish and nobody heeds."""

    text: str
    warnings: tuple[str, ...]


def discover(sysfs: Path, output: Format, *, facts_dir: Path | None = None, width: int | None = None) -> Discovered:
    """What is there, with the facts of ``facts_dir`` in the profiles.

    ``width``: columns of the terminal; None: nobody will wrap it. UnusableRootError.
    """
    facts = None if facts_dir is None else partial(read_facts, facts_dir)
    observation = observe(usable_port(sysfs), every_backend(), facts)
    return Discovered(text=_text(observation, output, width), warnings=_warnings(observation))


def _text(observation: Observation, output: Format, width: int | None) -> str:
    if output is Format.TABLE:
        return as_table(observation, width or _WIDE)
    text = json.dumps(as_document(observation), indent=2, ensure_ascii=False) + "\n"
    if output is Format.JSON:
        return text
    import yaml

    # Through JSON: what two places share would come out as an anchor and an alias.
    return yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True)


def _warnings(observation: Observation) -> tuple[str, ...]:
    offers = ((parent.name, offer) for parent in observation.parents for offer in parent.offers)
    return tuple(f"{offer.type} on {parent}: {warning}" for parent, offer in offers for warning in offer.warnings)


def as_document(observation: Observation) -> dict[str, Any]:
    """The observation as JSON types; below the lists of the first level, members without content are absent."""
    offers = [offer for parent in observation.parents for offer in parent.offers]
    profiles = {profile_name(offer.profile): offer.profile for offer in offers}
    return {
        "bootID": observation.boot_id,
        "parents": [_parent(parent) for parent in observation.parents],
        "instances": [_instance(i, observation.offer_of(i)) for i in observation.instances],
        "profiles": [{"name": name, "spec": dict(spec)} for name, spec in sorted(profiles.items())],
        "unreadable": _told(observation.unreadable),
    }


def as_table(observation: Observation, width: int) -> str:
    """The observation for people: offers, parameters, instances, and what could not be read."""
    from rich.console import Console

    text = StringIO()
    console = Console(file=text, width=width, color_system=None, highlight=False, markup=False, emoji=False)
    if not observation.parents:
        text.write(_NO_DEVICES)
    tables = (_offers, _parameters, _facts, _instances, _failures)
    for table in (make(observation) for make in tables):
        if table.row_count:
            console.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _parent(parent: Parent) -> dict[str, Any]:
    return _present(
        name=parent.name,
        driver=parent.driver,
        numaNode=parent.numa_node,
        offers=[_offer(offer) for offer in parent.offers],
        unreadable=_told(parent.unreadable),
    )


def _offer(offer: Offer) -> dict[str, Any]:
    published = offer.profile.get("published", {})
    return _present(
        type=offer.type,
        name=offer.profile.get("type", {}).get("name"),
        profile=profile_name(offer.profile),
        available=offer.available,
        model=published.get("model"),
        parameters=published.get("parameters"),
        schemaError=published.get("schemaError"),
        unreadable=_told(offer.unreadable),
        warnings=list(offer.warnings),
    )


def _instance(instance: Instance, offer: Offer | None) -> dict[str, Any]:
    spec = None if offer is None else offer.profile
    published = (spec or {}).get("published", {})
    types = {parameter["name"]: parameter.get("type") for parameter in published.get("parameters", [])}
    return _present(
        id=instance.id,
        parent=instance.parent,
        type=instance.type,
        profile=None if spec is None else profile_name(spec),
        model=published.get("model"),
        values=[{"name": name, "type": types[name], "value": value} for name, value in instance.values.items()],
        attributes=dict(instance.attributes),
        vfioGroup=instance.vfio_group,
        vfioDevice=instance.vfio_device,
        unreadable=_told(instance.unreadable),
    )


def _told(unreadable: Iterable[Unreadable]) -> list[dict[str, str]]:
    return [_present(name=u.name, path=u.path, errno=u.errno, message=u.message) for u in unreadable]


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "", [], {})}


def _offers(observation: Observation) -> Table:
    rows = [
        (
            parent.name,
            parent.driver,
            offer.type,
            offer.profile.get("type", {}).get("name", ""),
            "?" if offer.available is None else str(offer.available),
            _model(offer.profile),
        )
        for parent in observation.parents
        for offer in parent.offers
    ]
    return _table("Offers", ("PARENT", "DRIVER", "TYPE", "NAME", "FREE", "MODEL"), rows)


def _parameters(observation: Observation) -> Table:
    """One row for each parameter of each type: parents that offer the same have it once."""
    rows = {
        (
            offer.type,
            parameter["name"],
            parameter.get("type", "?"),
            parameter.get("initValue", "?"),
            parameter.get("offValue", "-"),
            _allowed(parameter),
            parameter.get("schemaError", ""),
        ): None
        for parent in observation.parents
        for offer in parent.offers
        for parameter in offer.profile.get("published", {}).get("parameters", [])
    }
    return _table("Parameters", ("TYPE", "PARAMETER", "IS", "INIT", "OFF", "ALLOWED", "FAULT"), list(rows))


def _facts(observation: Observation) -> Table:
    """One row for each fact of each parent, however many of its types have it."""
    rows = {
        (parent.name, fact["name"], fact["value"]): None
        for parent in observation.parents
        for offer in parent.offers
        for fact in offer.profile.get("facts", ())
    }
    return _table("Facts", ("PARENT", "FACT", "VALUE"), list(rows))


def _instances(observation: Observation) -> Table:
    rows = [
        (i.id, i.parent, i.type, ", ".join(f"{k}={v}" for k, v in {**i.values, **i.attributes}.items()))
        for i in observation.instances
    ]
    return _table("Instances", ("INSTANCE", "PARENT", "TYPE", "VALUES"), rows)


def _failures(observation: Observation) -> Table:
    told = [*observation.unreadable]
    for parent in observation.parents:
        told += [*parent.unreadable, *(u for offer in parent.offers for u in offer.unreadable)]
    told += [u for instance in observation.instances for u in instance.unreadable]
    return _table("Not readable", ("NAME", "WHY"), [(u.name, u.message) for u in told])


def _model(profile: Mapping[str, Any]) -> str:
    published = profile.get("published")
    if published is None:
        return "- (the driver publishes none)"
    model, fault = str(published.get("model", "?")), published.get("schemaError")
    return model if fault is None else f"{model} ({fault})"


def _allowed(parameter: Mapping[str, Any]) -> str:
    if "allowedValues" not in parameter:
        return "any"
    return (", " if parameter.get("type") == "str" else " ").join(parameter["allowedValues"])


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
