"""The text of a kubeconfig that needs no other file, so it can be copied into a guest."""

from __future__ import annotations

import base64
import json

from tests.controlplane.certificates import Pair


def kubeconfig_text(*, server: str, authority: bytes, user: str, credentials: Pair | str) -> str:
    """Return a kubeconfig (JSON, which is YAML) for one user at one server.

    ``credentials`` is a client certificate with its key, or a bearer token.
    """
    if isinstance(credentials, str):
        proof = {"token": credentials}
    else:
        proof = {
            "client-certificate-data": _base64(credentials.certificate),
            "client-key-data": _base64(credentials.key),
        }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "cluster", "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
        ],
        "users": [{"name": user, "user": proof}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": user}}],
        "current-context": "context",
    }
    return json.dumps(config, indent=2) + "\n"


def _base64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
