"""Which resources of the API server this project talks to, and how an object is named within one.

The key of an object is ``name`` for a cluster-scoped resource and ``namespace/name`` for a namespaced one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GROUP = "mdev-operator.io"
VERSION = "v1alpha1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource of one API version. ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """What objects of this resource say in ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


NODES = Resource(group="", version="v1", plural="nodes", kind="Node", namespaced=False)
NAMESPACES = Resource(group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False)
PODS = Resource(group="", version="v1", plural="pods", kind="Pod", namespaced=True)
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease", namespaced=True)
EVENTS = Resource(group="events.k8s.io", version="v1", plural="events", kind="Event", namespaced=True)


def _ours(plural: str, kind: str, *, namespaced: bool) -> Resource:
    return Resource(group=GROUP, version=VERSION, plural=plural, kind=kind, namespaced=namespaced)


DEVICE_MODELS = _ours("devicemodels", "DeviceModel", namespaced=False)
DEVICE_PROFILES = _ours("deviceprofiles", "DeviceProfile", namespaced=False)
NODE_DEVICES = _ours("nodedevices", "NodeDevices", namespaced=False)
NODE_RESERVATIONS = _ours("nodereservations", "NodeReservations", namespaced=False)
DEVICE_MIGRATIONS = _ours("devicemigrations", "DeviceMigration", namespaced=True)
COMPATIBILITY_CLASSES = _ours("compatibilityclasses", "CompatibilityClass", namespaced=False)


def key_of(obj: Mapping[str, Any]) -> str:
    """The key of an object as the API server stores it."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def split_key(key: str) -> tuple[str | None, str]:
    """``(namespace, name)`` of a key; the namespace is None for a cluster-scoped object."""
    namespace, slash, name = key.rpartition("/")
    return (namespace if slash else None), name
