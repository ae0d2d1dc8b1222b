"""Changes of NodeReservations.spec: always a compare-and-swap on ``metadata.generation``, always with our fence.

The JSON patch tests the generation that the decision was made from, so of two writers with one view one is refused
(422), and a stale cache can at worst lose. Every patch writes the fence as well, and the API server's own rule refuses
one that is lower than what is there: a leader of yesterday cannot write, whatever it believes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from mdev_api.kinds.common import dump
from mdev_api.kinds.node_reservations import Entry, Intent, NodeReservations
from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import Request, create, get, json_patch
from mdev_api.kube.resources import NODE_RESERVATIONS

Send = Callable[[Request], Awaitable[dict[str, Any]]]
Operation = dict[str, Any]


class Raced(Exception):  # noqa: N818  (an ordinary answer, not a fault)
    """Somebody else wrote first. ``current`` is the object as it is now: decide again from it."""

    def __init__(self, message: str, current: dict[str, Any] | None) -> None:
        super().__init__(message)
        self.current = current


class Superseded(Exception):  # noqa: N818
    """The object carries a higher fence than ours: another operator leads, and this one must stop."""


async def add(send: Send, node: str, seen: NodeReservations | None, fence: int, entries: Iterable[Entry]) -> Operation:
    """Add entries, all or none, and return the object as stored. An id that is there already is left as it is."""
    known = {entry.id for entry in seen.spec.reservations} if seen is not None else set()
    new = [dump(entry) for entry in entries if entry.id not in known]
    if seen is None:
        body = {"metadata": {"name": node}, "spec": {"fence": fence, "reservations": new}}
        return await _create(send, node, fence, body)
    return await _patch(send, seen, fence, [{"op": "add", "path": "/spec/reservations/-", "value": e} for e in new])


async def tell(send: Send, seen: NodeReservations, fence: int, intents: Mapping[str, Intent]) -> Operation:
    """Change intents by entry id; ids that are not there are passed over."""
    operations: list[Operation] = []
    for index, entry in enumerate(seen.spec.reservations):
        if entry.id in intents and entry.intent is not intents[entry.id]:
            path = f"/spec/reservations/{index}"
            operations.append({"op": "test", "path": f"{path}/id", "value": entry.id})
            operations.append({"op": "replace", "path": f"{path}/intent", "value": str(intents[entry.id])})
    return await _patch(send, seen, fence, operations)


async def remove(send: Send, seen: NodeReservations, fence: int, ids: Iterable[str]) -> Operation:
    """Remove entries by id. The API server refuses it for one whose device may still be held."""
    doomed = set(ids)
    operations: list[Operation] = []
    for index, entry in reversed(list(enumerate(seen.spec.reservations))):
        if entry.id in doomed:
            path = f"/spec/reservations/{index}"
            operations.append({"op": "test", "path": f"{path}/id", "value": entry.id})
            operations.append({"op": "remove", "path": path})
    return await _patch(send, seen, fence, operations)


async def raise_fence(send: Send, seen: NodeReservations, fence: int) -> Operation:
    """Write our fence, so that no older leader can write this object any more."""
    return await _patch(send, seen, fence, [])


async def _create(send: Send, node: str, fence: int, body: Mapping[str, Any]) -> Operation:
    try:
        return await send(create(NODE_RESERVATIONS, body))
    except ApiError as error:
        if not error.already_exists:
            raise
        raise await _raced(send, node, fence, f"NodeReservations {node} was created by another writer") from error


async def _patch(send: Send, seen: NodeReservations, fence: int, operations: list[Operation]) -> Operation:
    name = seen.metadata.name
    swap: list[Operation] = [
        {"op": "test", "path": "/metadata/uid", "value": seen.metadata.uid},
        {"op": "test", "path": "/metadata/generation", "value": seen.metadata.generation},
        {"op": "add", "path": "/spec/fence", "value": fence},
    ]
    try:
        return await send(json_patch(NODE_RESERVATIONS, name, [*swap, *operations]))
    except ApiError as error:
        if not (error.invalid or error.conflict or error.not_found):
            raise
        raced = await _raced(send, name, fence, f"NodeReservations {name}: {error.message}")
        if isinstance(raced, Raced) and _same(raced.current, seen):
            # Nobody was first: a rule refused the change itself, and deciding again would ask for the same.
            raise
        raise raced from error


def _same(current: dict[str, Any] | None, seen: NodeReservations) -> bool:
    meta = (current or {}).get("metadata") or {}
    return bool(meta.get("uid") == seen.metadata.uid and meta.get("generation") == seen.metadata.generation)


async def _raced(send: Send, node: str, fence: int, message: str) -> Raced | Superseded:
    """The server's message does not say which test failed, so look at the object itself."""
    try:
        current = await send(get(NODE_RESERVATIONS, node))
    except ApiError as error:
        if not error.not_found:
            raise
        return Raced(f"{message}; it does not exist any more", None)
    theirs = int((current.get("spec") or {}).get("fence") or 0)
    if theirs > fence:
        return Superseded(f"NodeReservations {node} has fence {theirs}, ours is {fence}: another operator leads")
    return Raced(message, current)
