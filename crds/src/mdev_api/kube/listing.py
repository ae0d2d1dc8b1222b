"""All objects of a resource at one moment, read in pages.

The pages of one list show one version of the cluster. When that version is compacted between two pages (410), the list
starts anew; when that keeps happening the server is too slow for pages, and everything is read at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.requests import list_page
from mdev_api.kube.resources import Resource

PAGE_TIMEOUT = 60.0
_PAGED_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The objects, each with apiVersion and kind, and the version at which a watch goes on from here."""

    objects: list[dict[str, Any]]
    resource_version: str


async def list_all(
    client: Client,
    resource: Resource,
    *,
    namespace: str | None = None,
    field_selector: str | None = None,
    label_selector: str | None = None,
    page_size: int = 500,
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    on_page: Callable[[], None] | None = None,
) -> Listing:
    """Read everything; raises ApiError or Unreachable.

    ``transform`` is applied to each object as its page arrives (to drop what is not looked at before the next page
    needs memory); ``on_page`` is called after each page (a sign of life).
    """
    sizes: list[int | None] = [page_size] * _PAGED_ATTEMPTS
    objects: list[dict[str, Any]] = []
    token: str | None = None
    while True:
        size = sizes[0] if sizes else None
        request = list_page(
            resource,
            namespace=namespace,
            limit=size,
            continue_token=token,
            field_selector=field_selector,
            label_selector=label_selector,
        )
        try:
            page = await client.send(request, timeout=PAGE_TIMEOUT)
        except ApiError as error:
            if not error.gone or token is None:
                raise
            objects, token = [], None
            sizes.pop()
            continue
        version = (page.get("metadata") or {}).get("resourceVersion")
        if not version:
            raise Unreachable(str(request), "something else than a list came back", may_have_arrived=True)
        for item in page.get("items") or []:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
            objects.append(item if transform is None else transform(item))
        if on_page is not None:
            on_page()
        token = page["metadata"].get("continue") or None
        if token is None:
            return Listing(objects=objects, resource_version=version)
