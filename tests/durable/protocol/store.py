"""The API server, in memory: what it does with the requests of :mod:`mdev_api.kube.requests` and tells its watchers.

Only what this project asks of it. Objects are never changed, always replaced. As in the real one: a write that changes
nothing is none, ``generation`` counts changes of spec alone, a status has its own path, a ``test`` that does not hold
is 422, an object with finalizers is only marked when it is deleted, and the rules of our CRDs decide last.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import APPLY_PATCH, JSON_PATCH, Request
from mdev_api.kube.resources import DEVICE_MIGRATIONS, NODE_RESERVATIONS
from tests.durable.protocol.rules import Rules

Object = dict[str, Any]
RULES = {resource.plural: Rules(resource.plural) for resource in (NODE_RESERVATIONS, DEVICE_MIGRATIONS)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """Where an object is; ``name`` empty: the collection."""

    plural: str
    namespace: str | None
    name: str
    subresource: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Author:
    """Who sent a write, as he was when he sent it. ``fence`` None: he is no operator. ``seen``: uid and generation of
    the object, as he had last been shown it; None: never.
    """

    name: str
    fence: int | None
    seen: tuple[str, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One write that was stored. ``old`` None: created, ``new`` None: gone. ``by`` None: it is no program's of ours."""

    version: int
    plural: str
    old: Object | None
    new: Object | None
    by: Author | None = None

    @property
    def event(self) -> Object:
        """What a watcher is told."""
        if self.new is None:
            assert self.old is not None
            gone = {**self.old, "metadata": {**self.old["metadata"], "resourceVersion": str(self.version)}}
            return {"type": "DELETED", "object": gone}
        return {"type": "ADDED" if self.old is None else "MODIFIED", "object": self.new}


@dataclass(kw_only=True)
class Store:
    """``now``: the time of day as objects have it. ``refused``: changes that only a rule of a CRD has refused."""

    now: Callable[[], str]
    objects: dict[tuple[str, str | None, str], Object] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    watchers: list[Callable[[Change], None]] = field(default_factory=list)
    _uids: Iterator[int] = field(default_factory=itertools.count)
    _author: Author | None = None

    @property
    def version(self) -> int:
        """The resourceVersion of the last write."""
        return len(self.changes)

    def all(self, plural: str) -> list[Object]:
        """All objects of a kind, by name."""
        return [obj for key, obj in sorted(self.objects.items(), key=lambda item: str(item[0])) if key[0] == plural]

    def get(self, plural: str, name: str, namespace: str | None = None) -> Object | None:
        """One object as it is."""
        return self.objects.get((plural, namespace, name))

    def answer(self, request: Request, by: Author | None = None) -> Object:
        """Carry the request out. Raises ApiError."""
        key, self._author = key_of(request), by
        if request.method == "GET":
            return self._read(request, key)
        body = json.loads(request.body) if request.body else {}
        if request.method == "POST":
            return self._create(key, body)
        if request.method == "DELETE":
            return self._delete(key, body.get("preconditions", {}))
        return self._change(key, request, body)

    def _read(self, request: Request, key: Key) -> Object:
        if not key.name:
            selector = dict(request.query).get("fieldSelector")
            found = [o for o in self.all(key.plural) if selected(o, key.namespace, selector)]
            return {"metadata": {"resourceVersion": str(self.version)}, "items": [dict(obj) for obj in found]}
        return self._existing(key)

    def _existing(self, key: Key) -> Object:
        obj = self.get(key.plural, key.name, key.namespace)
        if obj is None:
            raise ApiError(404, "NotFound", f"{key.plural} {key.name} not found")
        return obj

    def _create(self, key: Key, body: Object) -> Object:
        name = body["metadata"]["name"]
        if self.get(key.plural, name, key.namespace) is not None:
            raise ApiError(409, "AlreadyExists", f"{key.plural} {name} exists")
        meta = {**body["metadata"], "uid": f"uid-{next(self._uids)}", "generation": 1}
        if key.namespace is not None:
            meta["namespace"] = key.namespace
        return self._put(key.plural, None, {**body, "metadata": {**meta, "creationTimestamp": self.now()}})

    def _delete(self, key: Key, preconditions: Object) -> Object:
        old = self._existing(key)
        for member in ("uid", "resourceVersion"):
            if preconditions.get(member, old["metadata"][member]) != old["metadata"][member]:
                raise ApiError(409, "Conflict", f"{member} is another by now")
        if not old["metadata"].get("finalizers"):
            return self._gone(key.plural, old)
        if "deletionTimestamp" in old["metadata"]:
            return old
        return self._put(key.plural, old, {**old, "metadata": {**old["metadata"], "deletionTimestamp": self.now()}})

    def _change(self, key: Key, request: Request, body: Any) -> Object:
        if request.content_type == APPLY_PATCH and key.subresource is None:
            if self.get(key.plural, key.name, key.namespace) is None:
                return self._create(key, body)
            old = self._existing(key)
            return self._put(key.plural, old, {**old, **{k: v for k, v in body.items() if k != "metadata"}})
        old = self._existing(key)
        if request.content_type == JSON_PATCH:
            new = json_patched(old, body)
        else:
            expected = body.get("metadata", {}).get("resourceVersion", old["metadata"]["resourceVersion"])
            if expected != old["metadata"]["resourceVersion"]:
                raise ApiError(409, "Conflict", "the object has been modified")
            # A status has one manager, which applies all of it.
            new = {**old, "status": body["status"]} if request.content_type == APPLY_PATCH else merged(old, body)
        if key.subresource == "status":
            return self._put(key.plural, old, {**old, "status": new.get("status", {})})
        return self._put(key.plural, old, {**new, **({"status": old["status"]} if "status" in old else {})})

    def _put(self, plural: str, old: Object | None, new: Object) -> Object:
        rules = RULES.get(plural)
        if rules is not None:
            new = rules.defaulted(new)
        if old is not None and new == old:
            return old
        if rules is not None:
            broken = rules.broken(new, old)
            if broken:
                self.refused.append(f"{plural} {new['metadata']['name']}: {'; '.join(broken)}")
                raise ApiError(422, "Invalid", "; ".join(broken))
        meta = {**new["metadata"], "resourceVersion": str(self.version + 1)}
        if old is not None and old.get("spec") != new.get("spec"):
            meta["generation"] = old["metadata"]["generation"] + 1
        new = {**new, "metadata": meta}
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            return self._gone(plural, new)
        self.objects[plural, meta.get("namespace"), meta["name"]] = new
        self._tell(Change(version=self.version + 1, plural=plural, old=old, new=new, by=self._author))
        return new

    def _gone(self, plural: str, old: Object) -> Object:
        del self.objects[plural, old["metadata"].get("namespace"), old["metadata"]["name"]]
        self._tell(Change(version=self.version + 1, plural=plural, old=old, new=None, by=self._author))
        return old

    def _tell(self, change: Change) -> None:
        self.changes.append(change)
        for watcher in tuple(self.watchers):
            watcher(change)


def key_of(request: Request) -> Key:
    """What the path of a request names. ApiError (404): only the list of a group's resources, which we do not have."""
    parts = [unquote(part) for part in request.path.strip("/").split("/")]
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if not rest:
        raise ApiError(404, "NotFound", "this group is not served")
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, None, None)[:3]
    return Key(plural=str(plural), namespace=namespace, name=name or "", subresource=subresource)


def selected(obj: Object, namespace: str | None, field_selector: str | None) -> bool:
    """Is the object of this namespace (None: of any) and of the name that a field selector may ask for?"""
    if namespace is not None and obj["metadata"].get("namespace") != namespace:
        return False
    return field_selector is None or field_selector == f"metadata.name={obj['metadata']['name']}"


def json_patched(old: Object, operations: list[Object]) -> Object:
    """RFC 6902, as far as this project uses it. ApiError (422): a ``test`` does not hold, or a path is not there."""
    new = copy.deepcopy(old)
    for operation in operations:
        *above, last = operation["path"].strip("/").split("/")
        try:
            at: Any = new
            for part in above:
                at = at[int(part)] if isinstance(at, list) else at[part]
            _operate(operation, at, last)
        except (KeyError, IndexError) as error:
            raise ApiError(422, "Invalid", f"{operation['path']} is not there: {error}") from None
    return new


def _operate(operation: Object, at: Any, last: str) -> None:
    place: Any = int(last) if isinstance(at, list) and last != "-" else last
    match operation["op"]:
        case "test":
            if at[place] != operation["value"]:
                raise ApiError(422, "Invalid", f"testing value {operation['path']} failed")
        case "remove":
            del at[place]
        case "add" if isinstance(at, list):
            at.insert(len(at) if last == "-" else place, operation["value"])
        case "add" | "replace":
            at[place] = operation["value"]
        case _:
            raise AssertionError(operation)


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    kept = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = merged(kept.get(key), value)
    return kept
