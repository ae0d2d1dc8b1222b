"""Devices that nobody's migration tells of any more: an undo that fails or waits is told on the Node itself."""

from __future__ import annotations

from collections.abc import Iterable

from mdev_api.kinds.node_reservations import Owner
from mdev_api.kube.resources import NODES
from mdev_operator.context import Context
from mdev_operator.inventory.cluster import Held
from mdev_operator.migration.overdue import why_held
from mdev_operator.telling.events import post
from mdev_operator.telling.notes import Note, Regarding, name_of
from mdev_operator.tidying.collect import is_gone


def note_of(held: Held) -> Note | None:
    """What is to be told of an entry that does not end; None: nothing."""
    why = why_held(held)
    if why is None:
        return None
    reason, text = why
    owner = held.entry.owner
    whose = f"{owner.kind} {owner.namespace}/{owner.name}" if owner.namespace else f"{owner.kind} {owner.name}"
    return Note(
        key=f"{reason.lower()}-{held.entry.id}", reason=reason, text=f"{text} (reservation {held.entry.id} of {whose})"
    )


def regarding(node: str) -> Regarding:
    """The Node as its own kubelet names it in Events, which is where ``kubectl describe node`` looks."""
    return Regarding(resource=NODES, namespace=None, name=node, uid=node)


async def tell_of_orphans(ctx: Context, node: str) -> None:
    """Tell of each stuck entry of this node whose owner is gone, as a live GET says."""
    key, about = f"owners/{node}", regarding(node)
    held = ctx.inventory.cluster().held_on(node)
    if not held:
        ctx.told.pop(key, None)
    for owner, notes in _by_owner(held).items():
        untold = [note for note in notes if name_of(about, note) not in ctx.told.get(key, ())]
        if untold and (owner.kind != "DeviceMigration" or await is_gone(ctx, owner)):
            await post(ctx, key, about, untold)


def _by_owner(held: Iterable[Held]) -> dict[Owner, list[Note]]:
    found: dict[Owner, list[Note]] = {}
    for one in held:
        note = note_of(one)
        if note is not None:
            found.setdefault(one.entry.owner, []).append(note)
    return found
