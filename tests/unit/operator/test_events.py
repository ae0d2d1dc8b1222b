"""Posting Events: each once, and a refusal never stands in the way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import Request
from mdev_api.kube.resources import DEVICE_MIGRATIONS
from mdev_operator.context import Context
from mdev_operator.telling.events import post
from mdev_operator.telling.notes import Note, Regarding
from mdev_operator.tidying.orphans import regarding

ABOUT = Regarding(resource=DEVICE_MIGRATIONS, namespace="team", name="m", uid="u-1")
NOTE = Note(key="finished", reason="Expired", text="not started in time")


class Server:
    """Takes Events, or refuses each with ``refusal``."""

    def __init__(self, refusal: ApiError | None = None) -> None:
        self.refusal = refusal
        self.asked: list[str] = []
        self.ctx = cast(Context, SimpleNamespace(send=self.send, told={}))

    async def send(self, request: Request) -> dict[str, Any]:
        self.asked.append(request.path)
        if self.refusal is not None:
            raise self.refusal
        return {}


async def test_what_was_told_is_not_even_asked_about_again() -> None:
    server = Server()
    for _ in range(3):
        await post(server.ctx, "migration/team/m", ABOUT, [NOTE])
    assert server.asked == ["/apis/events.k8s.io/v1/namespaces/team/events"]


async def test_that_another_process_has_told_it_is_learnt_once() -> None:
    server = Server(ApiError(409, "AlreadyExists", "it is there"))
    for _ in range(3):
        await post(server.ctx, "k", ABOUT, [NOTE])
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [403, 404, 422])
async def test_a_refusal_is_logged_and_does_not_come_back_each_round(status: int) -> None:
    server = Server(ApiError(status, "No", "you may not"))
    for _ in range(3):
        await post(server.ctx, "k", ABOUT, [NOTE])
    assert len(server.asked) == 1


async def test_what_may_pass_is_tried_again() -> None:
    server = Server(ApiError(500, "InternalError", "etcd is away"))
    with pytest.raises(ApiError):
        await post(server.ctx, "k", ABOUT, [NOTE])
    server.refusal = None
    await post(server.ctx, "k", ABOUT, [NOTE])
    assert len(server.asked) == 2


async def test_what_is_told_of_a_node_is_in_the_namespace_default() -> None:
    server = Server()
    await post(server.ctx, "k", regarding("node-a"), [NOTE])
    assert server.asked == ["/apis/events.k8s.io/v1/namespaces/default/events"]
