"""The shipped webhook configurations, called on loopback instead of through a Service."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import yaml

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import create, delete
from mdev_operator.webhook.rotation import MUTATING_WEBHOOKS

HOST = "127.0.0.1"


def shipped(manifest: Path, port: int) -> dict[str, Any]:
    """The MutatingWebhookConfiguration of a manifest; its server is on ``port`` of this machine."""
    documents = yaml.safe_load_all(manifest.read_text(encoding="utf-8"))
    configuration: dict[str, Any] = next(d for d in documents if d["kind"] == MUTATING_WEBHOOKS.kind)
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
