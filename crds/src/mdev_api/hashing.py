"""Names made from content: what two programs must compute alike without asking each other.

Canonical JSON is UTF-8 with sorted keys and no blanks; absent members are omitted and lists keep their order. A
content hash is the first 26 characters of lower-case base32(sha256(canonical JSON)): 130 bits, legal in object names
and label keys.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

HASH_LENGTH = 26
_INSTANCE_NAMESPACE = uuid.UUID("6d646576-6f70-5374-8b5e-6d6465766f70")


def canonical_json(content: Any) -> bytes:
    """The one spelling of ``content`` (JSON types only; the caller leaves absent members out)."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def content_hash(content: Any) -> str:
    """26 characters of ``[a-z2-7]`` that name ``content``."""
    digest = hashlib.sha256(canonical_json(content)).digest()
    return base64.b32encode(digest).decode().lower()[:HASH_LENGTH]


def profile_name(spec: Mapping[str, Any]) -> str:
    """Name of the DeviceProfile with this spec (as the API server stores it: JSON, absent members omitted)."""
    return f"p-{content_hash(spec)}"


def instance_uuid(reservation_id: str) -> str:
    """UUID of the mdev that a reservation creates: the same at every attempt to create it, after any crash."""
    return str(uuid.uuid5(_INSTANCE_NAMESPACE, reservation_id))


def reading_digest(
    *,
    boot_id: str,
    instance: str,
    profile: str,
    values: Mapping[str, str],
    attributes: Mapping[str, str],
    unreadable: Sequence[str],
) -> str:
    """What a device's reading amounts to: ``sha256:`` and hex. Agent and operator compute it alike.

    ``values`` and ``attributes`` as in NodeDevices (only what differs from the published init value; raw text of
    allow-listed files); ``unreadable`` the names of parameters that could not be read, in any order.
    """
    content = [boot_id, instance, profile, dict(values), dict(attributes), sorted(unreadable)]
    return "sha256:" + hashlib.sha256(canonical_json(content)).hexdigest()
