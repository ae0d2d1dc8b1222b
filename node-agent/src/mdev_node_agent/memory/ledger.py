"""Which instances this agent has made: the only ones that it may ever remove by itself.

One JSON file, replaced whole and synced *before* an instance is made, so no instance of ours is ever missing from it.
One that is listed and was never made is harmless: its UUID is derived from the reservation's id, so nobody else has it.
A VF's address is anybody's, so there ``made`` says whether it is more than a claim, and what is there must still be
what was made. Neither mdevs nor claims survive a boot: entries of another boot are dropped when the file is read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from mdev_node_agent.memory.durable import write_whole

FILE = "ledger.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One instance, the reservation that asked for it, the boot in which it was made, and the back-end that made it.

    ``parent``, ``type``: what it was made as. ``made`` False: a place (a VF) that is claimed while the driver has not
    yet said that it is made. The id of a place says nothing about who made what is there, so both count for places.
    """

    instance: str
    reservation: str
    boot_id: str
    backend: str
    parent: str = ""
    type: str = ""
    made: bool = True


class Ledger:
    """The instances of this boot that are ours, by id. Its methods may be called from any thread."""

    def __init__(self, state_dir: Path, boot_id: str) -> None:
        self._path = state_dir / FILE
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._made: dict[str, Made] = {}
        self.damage: str | None = None
        """A sentence, if the file was there and could not be read: what it listed is unknown."""
        self._read()

    def _read(self) -> None:
        try:
            listed = [Made(**made) for made in json.loads(self._path.read_bytes())["instances"]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.damage = (
                f"ledger {self._path} cannot be read ({error}): devices made before are only known by their "
                "reservations; what no reservation names is kept"
            )
            return
        self._made = {made.instance: made for made in listed if made.boot_id == self._boot_id}

    @property
    def instances(self) -> Mapping[str, Made]:
        """What is listed now."""
        return MappingProxyType(self._made)

    def add(self, made: Made) -> None:
        """List it, on disk before this returns. OSError if the disk does not take it: then nothing is listed."""
        with self._lock:
            if self._made.get(made.instance) != made:
                self._replace({**self._made, made.instance: made})

    def strike(self, instance: str) -> None:
        """It is gone, or was never made. OSError if the disk does not take it: then it stays listed."""
        with self._lock:
            if instance in self._made:
                self._replace({key: made for key, made in self._made.items() if key != instance})

    def _replace(self, made: dict[str, Made]) -> None:
        content = {"instances": [asdict(entry) for entry in made.values()]}
        write_whole(self._path, json.dumps(content, indent=1).encode() + b"\n")
        self._made = made
