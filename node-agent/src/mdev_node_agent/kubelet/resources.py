"""Which resources this agent's own device plugin serves, and of which types: ``--serve RESOURCE=TYPE``. Pure.

A type is named by its id or by what its ``name`` file says, compared as KubeVirt compares it (blanks as underscores),
so that what stands in the KubeVirt CR as ``mdevNameSelector`` can stand here too. A resource may be given several
types: a pod that asks for it gets a device of any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mdev_node_agent.seeing.observation import Observation, Offer

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_RESOURCE = re.compile(rf"{_LABEL}(\.{_LABEL})*/[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
_MAX_DOMAIN = 253 - len("requests.")
"""The kubelet also checks the name of the quota, which has this in front."""


class ServeError(Exception):
    """A resource cannot be served; the message says which and what to correct."""


def resources_of(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Types by resource, from ``RESOURCE=TYPE`` each, in their order. ServeError."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        resource, _, wanted = text.partition("=")
        if not resource or not wanted.strip():
            raise ServeError(f"--serve {text!r}: write RESOURCE=TYPE, such as vendor.com/gpu-4gb=nvidia-222")
        domain = resource.partition("/")[0]
        reserved = domain == "kubernetes.io" or domain.endswith(".kubernetes.io") or resource.startswith("requests.")
        if reserved or not _RESOURCE.fullmatch(resource) or len(domain) > _MAX_DOMAIN:
            raise ServeError(
                f"--serve {text!r}: {resource!r} is no name of an extended resource: write DOMAIN/NAME, such as "
                "vendor.com/gpu-4gb, with a domain that is not of kubernetes.io"
            )
        found[resource] = tuple(dict.fromkeys((*found.get(resource, ()), wanted)))
    return found


def types_of(wanted: Iterable[str], observation: Observation) -> tuple[str, ...]:
    """Ids of the types of this node that are wanted, sorted; only of those whose devices have ids of their own.

    A device on a place (a VF) is chosen by a reservation, never by a pod that has none.
    """
    names = set(wanted)
    spelled = {_as_kubevirt(name) for name in names}
    offers = (offer for parent in observation.parents for offer in parent.offers if offer.places is None)
    return tuple(sorted({offer.type for offer in offers if offer.type in names or _name(offer) in spelled}))


def _name(offer: Offer) -> str | None:
    about: Mapping[str, str] = offer.profile.get("type", {})
    return _as_kubevirt(about["name"]) if about.get("name") else None


def _as_kubevirt(name: str) -> str:
    return name.strip().replace(" ", "_")
