"""What is told to people, as values, and the Event (events.k8s.io) that it becomes (pure).

An Event's name is made from what it is about and from what it says, so the API server refuses to take the same one
twice, whoever posts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mdev_api.kube import times
from mdev_api.kube.resources import Resource

CONTROLLER = "mdev-operator.io/operator"
NOTE_BYTES = 1024
"""The API server's bound."""

KEPT_SECONDS = 3600.0
"""For how long an API server keeps an Event by default: what is older is not told by a process that begins now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """One thing to tell. ``key``: tells it from all else that is told of the object; lower case, digits, dots, dashes.

    ``warning`` False: it is no trouble, only worth knowing.
    """

    key: str
    reason: str
    text: str
    warning: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Regarding:
    """The object that it is told of. ``namespace`` None: a cluster-scoped one, whose Events are in ``default``."""

    resource: Resource
    namespace: str | None
    name: str
    uid: str


def event(about: Regarding, note: Note, now: datetime) -> dict[str, Any]:
    """The Event, with a name that the same note of the same object always has."""
    namespaced = {} if about.namespace is None else {"namespace": about.namespace}
    return {
        "metadata": {"name": name_of(about, note), "namespace": namespace_of(about)},
        "eventTime": times.micro_time(now),
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "action": "Hold",
        "note": note.text.encode()[:NOTE_BYTES].decode(errors="ignore"),
        "regarding": {
            "apiVersion": about.resource.api_version,
            "kind": about.resource.kind,
            "name": about.name,
            "uid": about.uid,
            **namespaced,
        },
        "reportingController": CONTROLLER,
        "reportingInstance": "mdev-operator",
    }


def name_of(about: Regarding, note: Note) -> str:
    """The Event's name."""
    return f"{about.resource.kind.lower()}-{about.uid}.{note.key}"


def namespace_of(about: Regarding) -> str:
    """Where the Event is."""
    return about.namespace or "default"
