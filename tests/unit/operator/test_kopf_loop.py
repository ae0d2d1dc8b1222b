"""kopf takes its loop, and SIGTERM, for its own; none of that is ours, and it ends without harm to anything of ours."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import Any

import pytest

from mdev_api.kube.credentials import Credentials
from mdev_operator import handlers, kopf_loop
from tests.waiting import eventually

NOWHERE = Credentials(server="https://127.0.0.1:1", origin="test")
operator = kopf_loop.kopf.operator


def kopfs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "kopf"]


async def until(holds: Any, what: str) -> None:
    async def look() -> bool:
        return bool(holds())

    await eventually(look, timeout=20, what=what)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not kopfs(), "kopf's thread to end")


async def test_when_kopf_has_ended_by_an_error_it_begins_anew_and_our_tasks_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lives: list[int] = []
    begun = threading.Event()

    async def ends(**_: Any) -> None:
        """As kopf does when an error within a watch ends it."""
        lives.append(1)
        before = asyncio.all_tasks()
        await asyncio.to_thread(begun.wait)
        for task in asyncio.all_tasks() - before:
            task.cancel()
        raise RuntimeError("watching failed")

    monkeypatch.setattr(kopf_loop.kopf, "operator", ends)
    following = asyncio.create_task(kopf_loop.follow(lambda key: None, NOWHERE))
    await until(lambda: lives, "kopf to begin")
    ours = asyncio.create_task(asyncio.sleep(600))
    begun.set()
    await until(lambda: len(lives) > 1, "kopf to begin anew")
    assert not ours.done()
    ours.cancel()
    await ended(following)


async def test_a_signal_is_ours_while_kopf_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, heard, loop = threading.Event(), asyncio.Event(), asyncio.get_running_loop()

    async def says_ready(**given: Any) -> None:
        await operator(**given, ready_flag=ready)

    monkeypatch.setattr(kopf_loop.kopf, "operator", says_ready)
    loop.add_signal_handler(signal.SIGTERM, heard.set)
    following = asyncio.create_task(kopf_loop.follow(lambda key: None, NOWHERE))
    try:
        await until(ready.is_set, "kopf to begin")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(heard.wait(), 20)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        await ended(following)


async def test_what_kopf_tells_is_done_in_our_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, threading.Thread]] = []
    real = handlers.registry

    def registry(add: Any, credentials: Credentials) -> Any:
        add("migration/default/m")
        return real(add, credentials)

    monkeypatch.setattr(handlers, "registry", registry)
    here = threading.current_thread()
    following = asyncio.create_task(
        kopf_loop.follow(lambda key: told.append((key, threading.current_thread())), NOWHERE)
    )
    await until(lambda: told, "a key")
    assert told == [("migration/default/m", here)]
    await ended(following)


def test_kopf_has_nobody_killed_after_its_end() -> None:
    assert handlers.settings().process.ultimate_exiting_timeout is None
