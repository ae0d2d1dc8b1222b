"""Reservations as an operator writes them, for tests of the agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OWNER = {"kind": "DeviceMigration", "namespace": "default", "name": "move", "uid": "6b8a7f0e"}


def value(
    name: str, text: str, *, kind: str = "int", attribute: str | None = None, off: str | None = None
) -> dict[str, str]:
    """A desired value of a published parameter, or of ``attribute``; ``off``: written first with OffFirst."""
    content = {"name": name, "type": kind, "value": text, "attribute": attribute or f"migration/{name}"}
    return content if off is None else {**content, "offValue": off}


def entry(
    entry_id: str,
    *,
    boot_id: str,
    device: dict[str, Any],
    values: Sequence[dict[str, str]] = (),
    intent: str = "Hold",
    role: str = "Destination",
) -> dict[str, Any]:
    """One entry of NodeReservations' spec."""
    content: dict[str, Any] = {
        "id": entry_id,
        "role": role,
        "intent": intent,
        "group": "group-1",
        "owner": OWNER,
        "bootID": boot_id,
        "device": device,
        "writeStrategy": "Direct",
    }
    if values:
        content["values"] = list(values)
    return content
