"""Requests to the API server as values: built here without any I/O, sent by :class:`mdev_api.kube.client.Client`.

A request can be compared, printed and checked in a test before anything goes over the wire. Its body is serialised
when it is built, so nothing that happens to the caller's dicts later changes it. Names become one percent-encoded path
segment each; what cannot be one (empty, ``.``, ``..``, or with ``/`` or ``%``) is a ValueError, as is a namespace that
is missing for a namespaced resource or given for a cluster-scoped one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from mdev_api.kube.resources import Resource

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request. ``path`` is encoded already; ``query`` is not."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str | None = None

    @property
    def target(self) -> str:
        """Path and encoded query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


def get(resource: Resource, name: str, namespace: str | None = None) -> Request:
    """Read one object."""
    return Request(method="GET", path=_object_path(resource, name, namespace))


def list_page(
    resource: Resource,
    *,
    namespace: str | None = None,
    limit: int | None = 500,
    continue_token: str | None = None,
    field_selector: str | None = None,
    label_selector: str | None = None,
) -> Request:
    """Read one page; ``namespace=None`` reads all namespaces, ``limit=None`` everything at once.

    ``metadata.continue`` of the answer is the next page's ``continue_token``; it expires (410) after some minutes.
    """
    query = _query(
        limit=None if limit is None else str(limit),
        **{"continue": continue_token},
        fieldSelector=field_selector,
        labelSelector=label_selector,
    )
    return Request(method="GET", path=_collection_path(resource, namespace, all_namespaces=True), query=query)


def watch(
    resource: Resource,
    *,
    resource_version: str,
    timeout_seconds: int,
    field_selector: str | None = None,
    label_selector: str | None = None,
    namespace: str | None = None,
) -> Request:
    """Follow changes after ``resource_version`` with bookmarks; the server ends it after ``timeout_seconds``."""
    query = _query(
        watch="true",
        allowWatchBookmarks="true",
        resourceVersion=resource_version,
        timeoutSeconds=str(timeout_seconds),
        fieldSelector=field_selector,
        labelSelector=label_selector,
    )
    return Request(method="GET", path=_collection_path(resource, namespace, all_namespaces=True), query=query)


def create(resource: Resource, body: Mapping[str, Any], namespace: str | None = None) -> Request:
    """Create an object; apiVersion and kind are filled in."""
    path = _collection_path(resource, namespace, all_namespaces=False)
    return _write("POST", path, _typed(resource, body), JSON)


def replace(
    resource: Resource,
    name: str,
    body: Mapping[str, Any],
    namespace: str | None = None,
    subresource: str | None = None,
) -> Request:
    """Replace an object whole. With ``metadata.resourceVersion`` in the body it is a compare-and-swap (409)."""
    path = _object_path(resource, name, namespace, subresource)
    return _write("PUT", path, _typed(resource, body), JSON)


def apply(
    resource: Resource, name: str, body: Mapping[str, Any], field_manager: str, namespace: str | None = None
) -> Request:
    """Server-side apply of ``body`` (metadata.name is filled in), forced: the manager owns what it applies.

    Creates the object if it is not there. What the manager applied before and leaves out now is removed.
    """
    return _apply(resource, name, body, field_manager, namespace, subresource=None)


def apply_status(
    resource: Resource,
    name: str,
    status: Mapping[str, Any],
    field_manager: str,
    namespace: str | None = None,
    resource_version: str | None = None,
) -> Request:
    """Server-side apply of the whole status that ``field_manager`` writes, forced; 404 if there is no object.

    With ``resource_version`` only while the object has it (else 409).
    """
    metadata = {} if resource_version is None else {"resourceVersion": resource_version}
    body = {"metadata": metadata, "status": status}
    return _apply(resource, name, body, field_manager, namespace, subresource="status")


def json_patch(
    resource: Resource,
    name: str,
    operations: Sequence[Mapping[str, Any]],
    namespace: str | None = None,
    subresource: str | None = None,
) -> Request:
    """RFC 6902 operations, all or none. A ``test`` that does not hold is answered with 422, not 409."""
    return _write("PATCH", _object_path(resource, name, namespace, subresource), list(operations), JSON_PATCH)


def merge_patch(
    resource: Resource,
    name: str,
    body: Mapping[str, Any],
    namespace: str | None = None,
    subresource: str | None = None,
) -> Request:
    """RFC 7386 merge patch (null removes). ``metadata.resourceVersion`` in it makes it a compare-and-swap (409)."""
    return _write("PATCH", _object_path(resource, name, namespace, subresource), dict(body), MERGE_PATCH)


def delete(
    resource: Resource,
    name: str,
    namespace: str | None = None,
    uid: str | None = None,
    resource_version: str | None = None,
) -> Request:
    """Delete an object, if given only while it has this ``uid`` and ``resource_version`` (else 409)."""
    preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v is not None}
    path = _object_path(resource, name, namespace)
    if not preconditions:
        return Request(method="DELETE", path=path)
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
    return _write("DELETE", path, options, JSON)


def _apply(
    resource: Resource,
    name: str,
    body: Mapping[str, Any],
    field_manager: str,
    namespace: str | None,
    subresource: str | None,
) -> Request:
    metadata = {**body.get("metadata", {}), "name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    applied = _typed(resource, {**body, "metadata": metadata})
    path = _object_path(resource, name, namespace, subresource)
    return _write("PATCH", path, applied, APPLY_PATCH, _query(fieldManager=field_manager, force="true"))


def _write(method: str, path: str, body: Any, content_type: str, query: tuple[tuple[str, str], ...] = ()) -> Request:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Request(method=method, path=path, query=query, body=text.encode(), content_type=content_type)


def _typed(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    return {**body, "apiVersion": resource.api_version, "kind": resource.kind}


def _query(**given: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in given.items() if value is not None)


def _collection_path(resource: Resource, namespace: str | None, *, all_namespaces: bool) -> str:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    if namespace is None:
        if resource.namespaced and not all_namespaces:
            raise ValueError(f"{resource} is namespaced: a namespace is needed")
        return f"{root}/{resource.plural}"
    if not resource.namespaced:
        raise ValueError(f"{resource} is cluster-scoped: namespace {namespace!r} makes no sense")
    return f"{root}/namespaces/{_segment(namespace, 'namespace')}/{resource.plural}"


def _object_path(resource: Resource, name: str, namespace: str | None, subresource: str | None = None) -> str:
    path = f"{_collection_path(resource, namespace, all_namespaces=False)}/{_segment(name, 'name')}"
    return path if subresource is None else f"{path}/{_segment(subresource, 'subresource')}"


def _segment(text: str, what: str) -> str:
    if text in ("", ".", "..") or "/" in text or "%" in text:
        raise ValueError(f"{text!r} cannot be the {what} of an object: empty, '.', '..', or with '/' or '%'")
    return quote(text, safe="")
