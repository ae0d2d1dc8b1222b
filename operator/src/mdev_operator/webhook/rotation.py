"""Keeps the self-issued certificates right: a Secret holds them, the webhook configurations name their authorities.

Every replica does the same and none leads: what is due follows from the Secret alone, and each write is a
compare-and-swap, so whoever comes second reads again. Configurations are read *before* the Secret: a bundle that is
older than what another replica has published meanwhile is then refused by the version that was read with it.
A certificate is handed to the server only after its authority is published.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import Request, create, get, json_patch, replace
from mdev_api.kube.resources import Resource
from mdev_operator.webhook import certificates
from mdev_operator.webhook.certificates import Lifetimes, Pair, State

log = structlog.get_logger(__name__)

Send = Callable[[Request], Awaitable[dict[str, Any]]]
Object = Mapping[str, Any]

SECRETS = Resource(group="", version="v1", plural="secrets", kind="Secret", namespaced=True)
MUTATING_WEBHOOKS = Resource(
    group="admissionregistration.k8s.io",
    version="v1",
    plural="mutatingwebhookconfigurations",
    kind="MutatingWebhookConfiguration",
    namespaced=False,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RotationSettings:
    """``configurations``: the MutatingWebhookConfigurations to keep trusting us; one that is not there is left out."""

    namespace: str
    secret: str
    configurations: Sequence[str]
    hosts: Sequence[str]
    lifetimes: Lifetimes = field(default_factory=Lifetimes)


async def turn(send: Send, settings: RotationSettings, now: datetime) -> Pair:
    """Do what is due at ``now`` and return the certificate to serve.

    Raises ApiError (a conflict: another replica was first, turn again) and Unreachable.
    """
    configurations = [found for name in settings.configurations if (found := await _read(send, name)) is not None]
    secret = await _secret(send, settings)
    state = _state(secret)
    due = certificates.next_state(
        state,
        now=now,
        published=_published(configurations),
        hosts=settings.hosts,
        lifetimes=settings.lifetimes,
    )
    if due != state:
        await _keep(send, settings, secret, due)
        log.info("certificates renewed", authorities=len(due.authorities), new_authority=_new(state, due))
    for configuration in configurations:
        await _publish(send, configuration, due.bundle)
    assert due.serving is not None
    return due.serving


def _new(before: State, after: State) -> bool:
    return after.authorities[-1:] != before.authorities[-1:]


async def _read(send: Send, name: str) -> dict[str, Any] | None:
    try:
        return await send(get(MUTATING_WEBHOOKS, name))
    except ApiError as error:
        if not error.not_found:
            raise
        return None


async def _secret(send: Send, settings: RotationSettings) -> dict[str, Any] | None:
    try:
        return await send(get(SECRETS, settings.secret, settings.namespace))
    except ApiError as error:
        if not error.not_found:
            raise
        return None


def _state(secret: Object | None) -> State:
    """What the Secret holds. One that was damaged is replaced: nobody can serve by it."""
    if secret is None:
        return State()
    try:
        return certificates.parse({k: base64.b64decode(v) for k, v in (secret.get("data") or {}).items()})
    except ValueError as error:
        where = f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"
        log.error(
            "the Secret is damaged and written anew; requests may fail for a moment", secret=where, why=str(error)
        )
        return State()


def _published(configurations: Sequence[Object]) -> frozenset[bytes]:
    """The authorities that all webhooks of all configurations name."""
    bundles = [_bundle(webhook) for c in configurations for webhook in c.get("webhooks") or ()]
    named = [certificates.split_bundle(bundle) for bundle in bundles]
    return frozenset.intersection(*named) if named else frozenset()


def _bundle(webhook: Object) -> bytes:
    try:
        return base64.b64decode(webhook["clientConfig"].get("caBundle") or "")
    except binascii.Error:
        return b""


async def _keep(send: Send, settings: RotationSettings, before: Object | None, state: State) -> None:
    data = {key: base64.b64encode(value).decode() for key, value in certificates.dump(state).items()}
    metadata = {"name": settings.secret, "namespace": settings.namespace}
    if before is None:
        await send(create(SECRETS, {"metadata": metadata, "type": "Opaque", "data": data}, settings.namespace))
        return
    body = {**before, "data": data}  # with the version that was read, so that a second writer gets a conflict
    await send(replace(SECRETS, settings.secret, body, settings.namespace))


async def _publish(send: Send, configuration: Object, bundle: bytes) -> None:
    """Name ``bundle`` in every webhook of a configuration, if the configuration is still as it was read."""
    stale = [i for i, webhook in enumerate(configuration.get("webhooks") or ()) if _bundle(webhook) != bundle]
    if not stale:
        return
    meta, text = configuration["metadata"], base64.b64encode(bundle).decode()
    unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}
    named = [{"op": "add", "path": f"/webhooks/{i}/clientConfig/caBundle", "value": text} for i in stale]
    await send(json_patch(MUTATING_WEBHOOKS, meta["name"], [unchanged, *named]))
    log.info("authorities published", configuration=meta["name"])
