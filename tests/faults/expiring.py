"""A ServiceAccount's token that the API server itself will refuse in a moment, signed by the key that it trusts.

TokenRequest gives none for less than ten minutes. The server allows for a minute between clocks (go-jose's leeway), and
believes for ten seconds more what it has just checked.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.controlplane.control_plane import ControlPlane

LEEWAY = 60


def expiring(plane: ControlPlane, token: str, *, seconds: int) -> str:
    """The same token of this control plane, at its end after so many seconds."""
    key = plane.ca_file.with_name("service-accounts.key")
    header, claims, _ = (part.encode() for part in token.split("."))
    now = int(time.time())
    begun = {"iat": now - LEEWAY - 1, "nbf": now - LEEWAY - 1, "exp": now - LEEWAY + seconds}
    signed = header + b"." + _encoded(json.dumps(json.loads(_decoded(claims)) | begun).encode())
    return (signed + b"." + _encoded(_signature(key, signed))).decode()


def _signature(key: Path, signed: bytes) -> bytes:
    private = load_pem_private_key(key.read_bytes(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(private.sign(signed, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
