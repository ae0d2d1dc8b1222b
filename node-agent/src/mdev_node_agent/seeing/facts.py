"""What sysfs does not tell (ECC, firmware, the host driver's branch): small JSON files on the node, ``facts.d``.

Each file ``*.json`` (a name that begins with a dot is none) is one statement or a list of them::

    {"parents": "0000:65:00.0", "facts": {"ecc": "on", "host-driver": "550.90.05"}}

* ``parents``: ``"*"`` for every parent of the node; the name of one, or a list of names; or what must be equal of its
  driver and hardware: ``{"vendor": "0x10de", "device": "0x2235"}``, with ``driver``, ``vendor``, ``device``,
  ``subsystemVendor`` and ``subsystemDevice`` as DeviceProfiles spell them.
* ``facts``: names and raw texts, always strings, so that no reader has to guess what ``on`` or ``550.90`` means.

They become ``facts`` of the DeviceProfiles of these parents' offers. The files are read afresh at each look at the
node, so a change counts at the latest at the next rescan. A file that is wrong in any point counts not at all, and that
is told with the place; the other files still count. Two files that say different things of one parent are told, and
that fact counts not at all: nobody knows which is right.

Whoever writes such a file writes it beside and renames it, so that no look meets half of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mdev_api.strict_json import JsonObject, UnusableError, duplicates, load
from mdev_api.values import shown
from mdev_node_agent.seeing.observation import Instance, Observation, Offer, Parent, Unreadable
from mdev_node_agent.sysfs.attribute import errno_name, reason

MAX_FILES = 64
MAX_BYTES = 64 * 1024
MAX_FACTS = 32
"""Of one parent, as the API bounds them."""
MAX_NAME = 255
MAX_TEXT = 1024

_SELECTORS = ("driver", "vendor", "device", "subsystemVendor", "subsystemDevice")

Facts = Callable[[], "Statements"]
"""What the files say now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """Facts of some parents: those of ``names`` (None: any) of which everything in ``alike`` holds."""

    file: str
    names: frozenset[str] | None = None
    alike: Mapping[str, str] | None = None
    facts: Mapping[str, str]

    def is_about(self, parent: str, profile: Mapping[str, Any]) -> bool:
        """Is it about an offer of this parent with this profile?"""
        if self.names is not None and parent not in self.names:
            return False
        known = {"driver": profile.get("driver", {}).get("name"), **profile.get("hardware", {})}
        return all(known.get(member) == text for member, text in (self.alike or {}).items())


@dataclass(frozen=True, kw_only=True, slots=True)
class Statements:
    """All that can be believed, in the order of the files' names, and what is wrong with the others."""

    statements: tuple[Statement, ...] = ()
    told: tuple[Unreadable, ...] = ()


class _FactsError(Exception):
    """What is wrong, and where in the document."""


def read_facts(directory: Path) -> Statements:
    """What the files of ``directory`` say. Raises nothing: what is wrong is told in the answer."""
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if _is_facts_file(entry.name))
    except OSError as error:
        return Statements(told=(_told(directory, f"the facts cannot be read: {reason(error)}", errno_name(error)),))
    statements: list[Statement] = []
    told: list[Unreadable] = []
    for name in names[:MAX_FILES]:
        try:
            statements += _statements(name, _contents(directory / name))
        except OSError as error:
            told.append(_told(directory / name, f"its facts do not count: {reason(error)}", errno_name(error)))
        except (UnusableError, _FactsError) as error:
            told.append(_told(directory / name, f"its facts do not count: {error}"))
    if len(names) > MAX_FILES:
        told.append(_told(directory, f"{len(names)} facts files: only the first {MAX_FILES} count"))
    return Statements(statements=tuple(statements), told=tuple(told))


def with_facts(observation: Observation, said: Statements) -> Observation:
    """The observation with these facts in the profiles of its offers and instances, and what is wrong told."""
    told = dict.fromkeys(said.told)

    def stated(parent: str, profile: Mapping[str, Any]) -> Mapping[str, Any]:
        facts, faults = _facts_of(parent, profile, said.statements)
        told.update(dict.fromkeys(faults))
        return {**profile, "facts": facts} if facts else profile

    def offer(parent: Parent, offer: Offer) -> Offer:
        return replace(offer, profile=stated(parent.name, offer.profile))

    def instance(instance: Instance) -> Instance:
        if instance.profile is None:
            return instance
        return replace(instance, profile=stated(instance.parent, instance.profile))

    parents = tuple(replace(p, offers=tuple(offer(p, o) for o in p.offers)) for p in observation.parents)
    instances = tuple(instance(i) for i in observation.instances)
    return replace(observation, parents=parents, instances=instances, unreadable=(*observation.unreadable, *told))


def _facts_of(
    parent: str, profile: Mapping[str, Any], statements: Iterable[Statement]
) -> tuple[list[dict[str, str]], list[Unreadable]]:
    """``spec.facts`` of the profile, by name, so that every node has the same order."""
    said: dict[str, dict[str, str]] = {}
    for statement in statements:
        if statement.is_about(parent, profile):
            for name, text in statement.facts.items():
                said.setdefault(name, {}).setdefault(text, statement.file)
    told = []
    for name, texts in said.items():
        if len(texts) > 1:
            words = " and ".join(f"{shown(text)} in {file}" for text, file in texts.items())
            told.append(_of_parent(parent, f"its fact {shown(name)} does not count: it is {words}"))
    facts = [{"name": name, "value": next(iter(texts))} for name, texts in sorted(said.items()) if len(texts) == 1]
    if len(facts) > MAX_FACTS:
        told.append(_of_parent(parent, f"its facts do not count: {len(facts)}, at most {MAX_FACTS} are expected"))
        return [], told
    return facts, told


def _is_facts_file(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _contents(path: Path) -> bytes:
    """Opened so that neither a pipe nor a device can hold up the look."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _FactsError("it is no regular file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _FactsError(f"it has more than {MAX_BYTES} bytes")
    return data


def _statements(file: str, data: bytes) -> list[Statement]:
    document = load(data)
    if (twice := next(duplicates(document), None)) is not None:
        raise _FactsError(f"the key {shown(twice)} occurs twice in one object")
    if isinstance(document, list):
        return [_statement(file, body, f"statement {number}: ") for number, body in enumerate(document, start=1)]
    return [_statement(file, document, "")]


def _statement(file: str, body: Any, where: str) -> Statement:
    members = _members(body, f"{where}an object with parents and facts")
    for name in ("parents", "facts"):
        if name not in members:
            raise _FactsError(f"{where}the member {name} is missing")
    unknown = next((name for name in members if name not in ("parents", "facts")), None)
    if unknown is not None:
        raise _FactsError(f"{where}the member {shown(unknown)} is unknown: parents and facts are expected")
    names, alike = _parents(members["parents"], f"{where}parents: ")
    facts = _members(members["facts"], f"{where}facts: an object of names and texts")
    for name, text in facts.items():
        _check_fact(name, text, f"{where}facts: ")
    return Statement(file=file, names=names, alike=alike, facts=facts)


def _parents(said: Any, where: str) -> tuple[frozenset[str] | None, Mapping[str, str] | None]:
    if said == "*":
        return None, None
    if isinstance(said, JsonObject):
        for member, text in said.members.items():
            if member not in _SELECTORS:
                raise _FactsError(f"{where}{shown(member)} is unknown: {', '.join(_SELECTORS)} are expected")
            if not isinstance(text, str):
                raise _FactsError(f"{where}{member}: {_kind(text)}: a string is expected")
        if not said.members:
            raise _FactsError(f'{where}an empty object names nothing: write "*" for every parent')
        return None, said.members
    names = [said] if isinstance(said, str) else said
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise _FactsError(f'{where}{_kind(said)}: "*", a name, a list of names or an object is expected')
    return frozenset(names), None


def _check_fact(name: str, text: Any, where: str) -> None:
    if not 0 < len(name) <= MAX_NAME:
        raise _FactsError(f"{where}the name {shown(name)}: 1 to {MAX_NAME} characters are expected")
    if not isinstance(text, str):
        raise _FactsError(f"{where}{shown(name)} is {_kind(text)}: a string is expected, so write it in quotes")
    if len(text) > MAX_TEXT:
        raise _FactsError(f"{where}{shown(name)} has {len(text)} characters: at most {MAX_TEXT} are expected")
    for part in (name, text):
        if "\0" in part or any("\ud800" <= character <= "\udfff" for character in part):
            raise _FactsError(f"{where}{shown(name)} has a NUL or half a character, which no text can hold")


def _members(body: Any, expected: str) -> dict[str, Any]:
    if not isinstance(body, JsonObject):
        raise _FactsError(f"{expected} is expected, not {_kind(body)}")
    return body.members


def _kind(value: Any) -> str:
    if isinstance(value, JsonObject):
        return "an object"
    return "a list" if isinstance(value, Sequence) and not isinstance(value, str) else shown(value)


def _told(path: Path, why: str, errno: str = "") -> Unreadable:
    return Unreadable(path=str(path), name=path.name, errno=errno, message=f"{path}: {why}")


def _of_parent(parent: str, why: str) -> Unreadable:
    return Unreadable(path=parent, name="facts", errno="", message=f"{parent}: {why}")
