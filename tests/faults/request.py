"""A request to an API server as Kubernetes sees it: verb, resource, name. And which requests somebody means.

The rules are those of the API server's own RequestInfo: ``GET`` is ``get``, ``list`` or ``watch``, a subresource
follows its resource after a slash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote

READS = ("get", "list", "watch")
WRITES = ("create", "update", "patch", "delete", "deletecollection")

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(slots=True, kw_only=True)
class Seen:
    """One request. ``at``: time.monotonic() of its arrival; ``program``: the name of the proxy that it came to.

    ``did``: what was done with it, ``forwarded`` or the name of a fault. ``status``: what the API server answered
    (also where that answer was then lost), None while it has not, or was not asked.
    """

    at: float
    program: str
    verb: str
    resource: str
    namespace: str | None
    name: str | None
    user_agent: str
    token: str | None
    did: str = "forwarded"
    status: int | None = None

    def __str__(self) -> str:
        what = f"{self.verb} {self.resource} {self.name or ''}".strip()
        return f"{self.at:.2f} {self.user_agent.partition('/')[0]}: {what}: {self.did} {self.status or ''}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which requests are meant; what is not given is any.

    ``resource``, ``name`` and ``user_agent`` are patterns as a shell has them: ``nodereservations`` is the object,
    ``nodereservations/status`` its status, ``nodereservations*`` both; requests that are for no resource (``/readyz``,
    discovery) have the path as ``resource``. ``token``: of requests that carry this bearer token.
    """

    verbs: tuple[str, ...] = ()
    resource: str = "*"
    name: str = "*"
    user_agent: str = "*"
    token: str | None = None

    def holds(self, seen: Seen) -> bool:
        """Whether this request is meant."""
        return (
            (not self.verbs or seen.verb in self.verbs)
            and fnmatchcase(seen.resource, self.resource)
            and fnmatchcase(seen.name or "", self.name)
            and fnmatchcase(seen.user_agent, self.user_agent)
            and self.token in (None, seen.token)
        )


EVERYTHING = Match()


def seen(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], *, at: float, program: str
) -> Seen:
    """What this HTTP request asks for. ``path`` is still encoded."""
    resource, namespace, name = _place(path)
    verb = _VERBS.get(method, method.lower())
    if method == "GET":
        watches = query.get("watch") in ("true", "1")
        verb = "watch" if watches else "get" if name is not None or resource.startswith("/") else "list"
    elif method == "DELETE" and name is None:
        verb = "deletecollection"
    kind, _, token = headers.get("Authorization", "").partition(" ")
    return Seen(
        at=at,
        program=program,
        verb=verb,
        resource=resource,
        namespace=namespace,
        name=name,
        user_agent=headers.get("User-Agent", ""),
        token=token if kind == "Bearer" else None,
    )


def _place(path: str) -> tuple[str, str | None, str | None]:
    """Resource with subresource, namespace, name. What is for no resource keeps its path as resource."""
    parts = [unquote(part) for part in path.split("/") if part]
    start = {"api": 2, "apis": 3}.get(parts[0] if parts else "", 0)
    if not start or len(parts) <= start:
        return path, None, None
    parts = parts[start:]
    namespace = None
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    resource = "/".join([parts[0], *parts[2:]])
    return resource, namespace, parts[1] if len(parts) > 1 else None
