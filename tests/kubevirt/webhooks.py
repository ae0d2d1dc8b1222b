"""The webhook server's shipped rights and configurations; it is called on loopback instead of through a Service."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import create, delete
from mdev_operator.webhook.rotation import MUTATING_WEBHOOKS
from tests.controlplane.control_plane import ControlPlane
from tests.kubevirt.gate_cases import DEPLOY

HOST = "127.0.0.1"
ACCOUNT = ("--namespace=mdev-operator", "mdev-operator-webhook")
NAMESPACES = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    for name in ("mdev-operator", "mdev-node-agent")
]
RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@contextmanager
def identity(plane: ControlPlane) -> Iterator[Path]:
    """A kubeconfig of the server's own service account, with the rights that the manifests give it and no others."""
    documents = [d for name in ("webhook", "migrations-webhook") for d in manifest(f"{name}.yaml")]
    rights = [d for d in documents if d["kind"] in RIGHTS]
    plane.kubectl("apply", "--server-side", "--filename=-", input=many([*NAMESPACES, *rights]))
    token = plane.kubectl("create", "token", *ACCOUNT).stdout.strip()
    try:
        yield plane.kubeconfig_for("webhook", token=token)
    finally:
        plane.kubectl("delete", "--ignore-not-found", "--filename=-", input=many(rights))
        plane.kubectl("delete", "--ignore-not-found", "secret", *ACCOUNT)


def manifest(name: str) -> list[dict[str, Any]]:
    """The objects of a shipped manifest."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def many(documents: list[dict[str, Any]]) -> str:
    """Several objects as kubectl takes them."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})


def shipped(name: str, port: int) -> dict[str, Any]:
    """The MutatingWebhookConfiguration of a manifest; its server is on ``port`` of this machine."""
    configuration = next(d for d in manifest(name) if d["kind"] == MUTATING_WEBHOOKS.kind)
    for webhook in configuration["webhooks"]:
        path = webhook["clientConfig"]["service"]["path"]
        webhook["clientConfig"] = {"url": f"https://{HOST}:{port}{path}"}
    return configuration


async def put(client: Client, configuration: dict[str, Any]) -> None:
    """Create it anew."""
    await drop(client, configuration["metadata"]["name"])
    await client.send(create(MUTATING_WEBHOOKS, configuration))


async def drop(client: Client, name: str) -> None:
    """Delete it if it is there."""
    try:
        await client.send(delete(MUTATING_WEBHOOKS, name))
    except ApiError as error:
        if not error.not_found:
            raise


async def shake_hands(port: int, bundle: bytes) -> bytes:
    """Open a new connection as an API server would that trusts ``bundle``; the certificate shown (DER).

    Raises ssl.SSLError if it is not to be trusted.
    """
    context = ssl.create_default_context(cadata=bundle.decode())
    _, writer = await asyncio.open_connection(HOST, port, ssl=context, server_hostname=HOST)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return bytes(shown)
