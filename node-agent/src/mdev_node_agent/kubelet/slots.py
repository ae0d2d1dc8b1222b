"""What is behind the slot ids that our device plugin gives the kubelet, and when a slot is free again.

A slot id says nothing and is never used for a second device, so whoever still lists an old one means the old device.
The kubelet learns ids before there is a device; at Allocate one is bound to an instance, on disk before the kubelet
hears of it, so that an agent that restarts still knows which pod has which device. Bindings of another boot are dropped
when the file is read: mdevs do not survive one.

No call tells that a pod has ended. A slot is released when PodResources, asked anew each time, no longer lists it: at
two looks that are at least :data:`GONE_SECONDS` apart, or :data:`UNSEEN_SECONDS` if it never did (the kubelet takes a
moment from Allocate to the list, and a pod that fails its admission never gets there). Released is not forgotten:
the binding stays until the device is gone or handed out anew, and a pod that is listed after all has its device again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from mdev_node_agent.memory.durable import write_whole

FILE = "slots.json"
GONE_SECONDS = 5.0
UNSEEN_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A slot that was given to a pod, and the instance behind it."""

    id: str
    resource: str
    instance: str
    boot_id: str


class Slots:
    """The bound slots of this boot. Its methods may be called from any thread."""

    def __init__(self, state_dir: Path, boot_id: str) -> None:
        self._path = state_dir / FILE
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._bound: dict[str, Slot] = {}
        self.damage: str | None = None
        """A sentence, if the file was there and could not be read: what is behind older slots is unknown."""
        self._read()

    def _read(self) -> None:
        try:
            listed = [Slot(**slot) for slot in json.loads(self._path.read_bytes())["slots"]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.damage = f"slots {self._path} cannot be read ({error}): which pod has which device is not known"
            return
        self._bound = {slot.id: slot for slot in listed if slot.boot_id == self._boot_id}

    @property
    def bound(self) -> Mapping[str, Slot]:
        """The bound slots, by id."""
        return MappingProxyType(self._bound)

    def bind(self, slot: str, resource: str, instance: str) -> None:
        """This instance is behind the slot, and behind no other; on disk before this returns. OSError: nothing is."""
        with self._lock:
            others = {key: bound for key, bound in self._bound.items() if bound.instance != instance}
            made = Slot(id=slot, resource=resource, instance=instance, boot_id=self._boot_id)
            self._replace({**others, slot: made})

    def unbind(self, slots: Collection[str]) -> None:
        """Nothing is behind these any more. OSError if the disk does not take it: then they stay bound."""
        with self._lock:
            if self._bound.keys() & set(slots):
                self._replace({key: bound for key, bound in self._bound.items() if key not in slots})

    def _replace(self, bound: dict[str, Slot]) -> None:
        content = {"slots": [asdict(slot) for slot in bound.values()]}
        write_whole(self._path, json.dumps(content, indent=1).encode() + b"\n")
        self._bound = bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Presence:
    """Of one bound slot: ``seen`` in a list of the kubelet, ``looks`` without it since, the first at ``since``."""

    instance: str
    seen: bool = False
    looks: int = 0
    since: float = 0.0

    def is_released(self, now: float) -> bool:
        """Has it been missing for long enough?"""
        return self.looks >= 2 and now - self.since >= (GONE_SECONDS if self.seen else UNSEEN_SECONDS)


def presences(
    earlier: Mapping[str, Presence], bound: Mapping[str, Slot], listed: Collection[str], now: float
) -> dict[str, Presence]:
    """After one more answer of the kubelet. ``listed``: instances that pods have; ``now``: of a monotonic clock."""
    found = {}
    for key, slot in bound.items():
        before = earlier.get(key)
        if before is None or before.instance != slot.instance:
            before = Presence(instance=slot.instance)
        if slot.instance in listed:
            found[key] = Presence(instance=slot.instance, seen=True)
        else:
            since = before.since if before.looks else now
            found[key] = Presence(instance=slot.instance, seen=before.seen, looks=before.looks + 1, since=since)
    return found
