"""kopf takes SIGTERM over while it runs; the process hears the signal also between two of kopf's lives."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from mdev_api.kube.credentials import Credentials
from mdev_operator import run
from mdev_operator.workqueue import WorkQueue


async def test_a_process_told_to_end_while_kopf_pauses_before_it_begins_anew_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    begun: list[None] = []

    async def fails(**_: Any) -> None:
        loop.add_signal_handler(signal.SIGTERM, begun.clear)
        begun.append(None)
        if len(begun) == 1:
            loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
        raise RuntimeError("watching failed")

    monkeypatch.setattr(run.kopf, "operator", fails)
    credentials = Credentials(server="https://nowhere.invalid", origin="test")
    work = asyncio.create_task(run._kopf(run.OperatorSettings(), credentials, WorkQueue(concurrency=1), stop))
    try:
        await asyncio.wait_for(stop.wait(), 10)
    finally:
        work.cancel()
        await asyncio.wait([work])
        loop.remove_signal_handler(signal.SIGTERM)
