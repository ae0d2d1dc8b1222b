from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mdev_api.kube import requests
from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.reflector import Reflector
from mdev_api.kube.resources import LEASES
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.cuttable import Cuttable
from tests.waiting import eventually

SPACE = "test-reflector"


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    control_plane.kubectl("create", "namespace", SPACE)
    yield control_plane
    control_plane.kubectl("delete", "namespace", SPACE, "--wait=false")


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[Client]:
    async with Client(load(plane.kubeconfig)) as client:
        yield client


@pytest.fixture
def line(plane: ControlPlane) -> Iterator[Cuttable]:
    with Cuttable(plane.port) as line:
        yield line


@pytest.fixture
def behind_the_line(plane: ControlPlane, line: Cuttable) -> Path:
    return plane.kubeconfig_for("watcher", ["system:masters"], server=line.server)


class View:
    """A running reflector of this file's Leases and the changes that it told."""

    def __init__(self, client: Client, **options: Any) -> None:
        self.changes: list[tuple[str, str]] = []
        backoff = Backoff(initial=0.05, maximum=0.2)
        self.reflector = Reflector(client, LEASES, self._note, namespace=SPACE, backoff=backoff, **options)

    def _note(self, key: str, new: dict[str, Any] | None, old: dict[str, Any] | None) -> None:
        what = "deleted" if new is None else "changed" if old else "added"
        self.changes.append((what, key.removeprefix(f"{SPACE}/")))

    async def told(self, what: str, name: str) -> None:
        async def look() -> bool:
            return (what, name) in self.changes

        await eventually(look, timeout=20, what=f"{name} {what}, not only {self.changes}")


@asynccontextmanager
async def view(kubeconfig: Path, **options: Any) -> AsyncIterator[View]:
    async with Client(load(kubeconfig)) as client:
        running = View(client, **options)
        task = asyncio.create_task(running.reflector.run())
        try:
            await asyncio.wait_for(running.reflector.synced.wait(), 20)
            yield running
            assert not task.done(), "a reflector must run for ever"
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                await task


async def make(admin: Client, name: str) -> None:
    await admin.send(requests.create(LEASES, {"metadata": {"name": name}, "spec": {}}, SPACE))


async def touch(admin: Client, name: str, transitions: int) -> None:
    await admin.send(requests.merge_patch(LEASES, name, {"spec": {"leaseTransitions": transitions}}, SPACE))


async def remove(admin: Client, name: str) -> None:
    await admin.send(requests.delete(LEASES, name, SPACE))


async def test_every_change_is_told(plane: ControlPlane, admin: Client) -> None:
    async with view(plane.kubeconfig) as seen:
        await make(admin, "lived")
        await seen.told("added", "lived")
        await touch(admin, "lived", 1)
        await seen.told("changed", "lived")
        await remove(admin, "lived")
        await seen.told("deleted", "lived")
        assert f"{SPACE}/lived" not in seen.reflector.objects


async def test_an_object_is_there_only_while_the_label_selector_selects_it(plane: ControlPlane, admin: Client) -> None:
    def labels(value: str | None) -> dict[str, Any]:
        return {"metadata": {"labels": {"chosen": value}}}

    await make(admin, "listed")
    await admin.send(requests.merge_patch(LEASES, "listed", labels("yes"), SPACE))
    await make(admin, "never")
    async with view(plane.kubeconfig, label_selector="chosen") as seen:
        assert set(seen.reflector.objects) == {f"{SPACE}/listed"}
        await make(admin, "later")
        await admin.send(requests.merge_patch(LEASES, "later", labels("yes"), SPACE))
        await seen.told("added", "later")
        await admin.send(requests.merge_patch(LEASES, "later", labels(None), SPACE))
        await seen.told("deleted", "later")
        assert set(seen.reflector.objects) == {f"{SPACE}/listed"}


async def test_more_objects_than_a_page_holds_are_all_there_when_synced(plane: ControlPlane, admin: Client) -> None:
    names = {f"many-{number}" for number in range(7)}
    for name in names:
        await make(admin, name)
    async with view(plane.kubeconfig, page_size=3) as seen:
        assert {f"{SPACE}/{name}" for name in names} <= set(seen.reflector.objects)


async def test_an_object_deleted_while_the_line_was_cut_is_told_as_deleted(
    line: Cuttable, behind_the_line: Path, admin: Client
) -> None:
    await make(admin, "cut-away")
    async with view(behind_the_line) as seen:
        line.cut()
        await remove(admin, "cut-away")
        await make(admin, "new-meanwhile")
        line.mend()
        await seen.told("added", "new-meanwhile")
        await seen.told("deleted", "cut-away")


async def test_an_object_deleted_while_the_line_was_cut_is_told_even_when_the_server_forgot_the_event(
    plane: ControlPlane, line: Cuttable, behind_the_line: Path, admin: Client
) -> None:
    await make(admin, "forgotten")
    with capture_logs() as logs:
        async with view(behind_the_line) as seen:
            line.cut()
            await remove(admin, "forgotten")
            await asyncio.to_thread(plane.restart_apiserver)
            line.mend()
            await seen.told("deleted", "forgotten")
    assert any("version is gone" in entry["event"] for entry in logs), "without a relist this shows nothing"


async def test_a_line_that_died_silently_is_noticed(line: Cuttable, behind_the_line: Path, admin: Client) -> None:
    with capture_logs() as logs:
        async with view(behind_the_line, inactivity=0.5) as seen:
            line.cut(silently=True)
            logs.clear()

            async def noticed() -> bool:
                return any(entry["event"].startswith("cannot watch") for entry in logs)

            await eventually(noticed, timeout=10, what="a word about the silence")
            await make(admin, "in-silence")
            line.mend()
            await seen.told("added", "in-silence")
