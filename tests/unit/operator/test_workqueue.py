from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from mdev_api.kube.backoff import Backoff
from mdev_api.kube.client import ApiError
from mdev_operator.workqueue import WorkQueue
from tests.waiting import eventually


@asynccontextmanager
async def running(queue: WorkQueue, handler: Callable[[str], Awaitable[None]]) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(handler))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await task


async def drained(queue: WorkQueue) -> None:
    async def look() -> bool:
        return queue.idle()

    await eventually(look, timeout=5, what="an empty queue", interval=0.005)


async def until(look: Callable[[], object], what: str) -> None:
    async def ask() -> bool:
        return bool(look())

    await eventually(ask, timeout=5, what=what, interval=0.005)


class Gate:
    """A handler that notes its keys and waits to be let through."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.running = 0
        self.most = 0
        self._let = asyncio.Semaphore(0)

    def let(self, count: int) -> None:
        for _ in range(count):
            self._let.release()

    async def __call__(self, key: str) -> None:
        self.begun.append(key)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self._let.acquire()
        finally:
            self.running -= 1


def at_once() -> Backoff:
    return Backoff(initial=0.001, maximum=0.001)


async def test_keys_are_handled_in_the_order_of_their_coming() -> None:
    queue, gate = WorkQueue(concurrency=1), Gate()
    gate.let(3)
    for key in "cab":
        queue.add(key)
    async with running(queue, gate):
        await drained(queue)
    assert gate.begun == ["c", "a", "b"]


async def test_a_key_that_is_to_be_first_is_handled_before_what_waits_already_even_if_it_waits_itself() -> None:
    queue, gate = WorkQueue(concurrency=1), Gate()
    gate.let(4)
    for key in "abc":
        queue.add(key)
    queue.add("c", first=True)
    queue.add("d", first=True)
    async with running(queue, gate):
        await drained(queue)
    assert gate.begun == ["d", "c", "a", "b"]


async def test_a_key_that_is_to_be_first_while_it_runs_runs_again_before_what_waits() -> None:
    queue, gate = WorkQueue(concurrency=1), Gate()
    for key in "abc":
        queue.add(key)
    async with running(queue, gate):
        await until(lambda: gate.begun == ["a"], "a to run")
        queue.add("a", first=True)
        gate.let(4)
        await drained(queue)
    assert gate.begun == ["a", "a", "b", "c"]


async def test_a_key_that_waits_already_is_handled_once() -> None:
    queue, gate = WorkQueue(), Gate()
    gate.let(5)
    for _ in range(5):
        queue.add("a")
    async with running(queue, gate):
        await drained(queue)
    assert gate.begun == ["a"]


async def test_a_key_added_while_it_runs_runs_once_more_and_never_twice_at_once() -> None:
    queue, gate = WorkQueue(), Gate()
    async with running(queue, gate):
        queue.add("a")
        await until(lambda: gate.begun, "the first run")
        for _ in range(3):
            queue.add("a")
        gate.let(5)
        await drained(queue)
    assert (gate.begun, gate.most) == (["a", "a"], 1)


async def test_no_more_handlers_run_at_once_than_allowed() -> None:
    queue, gate = WorkQueue(concurrency=3), Gate()
    async with running(queue, gate):
        for key in range(10):
            queue.add(str(key))
        await until(lambda: gate.running == 3, "three handlers")
        gate.let(10)
        await drained(queue)
    assert (len(gate.begun), gate.most) == (10, 3)


async def test_a_key_that_waits_for_a_slow_one_does_not_hold_up_others() -> None:
    queue, gate = WorkQueue(concurrency=2), Gate()
    async with running(queue, gate):
        queue.add("slow")
        await until(lambda: gate.begun, "the slow key")
        queue.add("slow")
        queue.add("other")
        await until(lambda: "other" in gate.begun, "the other key")


async def test_a_failing_key_is_tried_until_it_works_and_the_reason_is_told() -> None:
    queue = WorkQueue(new_backoff=at_once)
    tries: list[str] = []

    async def handler(key: str) -> None:
        tries.append(key)
        if len(tries) < 3:
            raise ApiError(409, "Conflict", "somebody was faster")

    with capture_logs() as logs:
        async with running(queue, handler):
            queue.add("ns/a")
            await until(lambda: len(tries) == 3, "three tries")
    assert [(entry["key"], entry["failures"]) for entry in logs] == [("ns/a", 1), ("ns/a", 2)]
    assert all("somebody was faster" in entry["reason"] for entry in logs)


async def test_success_makes_the_next_failure_a_first_one() -> None:
    queue = WorkQueue(new_backoff=at_once)
    results = iter([True, True, False, True, False])
    done = asyncio.Event()

    async def handler(key: str) -> None:
        fails = next(results, None)
        if fails is None:
            done.set()
        elif fails:
            raise ValueError("again")
        else:
            queue.add(key)

    with capture_logs() as logs:
        async with running(queue, handler):
            queue.add("a")
            await asyncio.wait_for(done.wait(), 5)
    assert [entry["failures"] for entry in logs] == [1, 2, 1]


async def test_each_key_fails_on_its_own_account() -> None:
    queue = WorkQueue(new_backoff=lambda: Backoff(initial=60, maximum=60))

    async def handler(key: str) -> None:
        raise ValueError("no")

    with capture_logs() as logs:
        async with running(queue, handler):
            queue.add("a")
            queue.add("b")
            await until(lambda: len(logs) == 2, "two failures")
    assert {(entry["key"], entry["failures"]) for entry in logs} == {("a", 1), ("b", 1)}


async def test_a_server_that_asks_for_time_is_given_it() -> None:
    queue = WorkQueue(new_backoff=at_once)

    async def handler(key: str) -> None:
        raise ApiError(429, "TooManyRequests", "busy", retry_after=9)

    with capture_logs() as logs:
        async with running(queue, handler):
            queue.add("a")
            await until(lambda: logs, "the failure")
    assert logs[0]["retry_in"] >= 9


async def test_a_key_that_is_to_wait_is_not_brought_forward_by_whatever_changes_meanwhile() -> None:
    queue, loop, begun = WorkQueue(), asyncio.get_running_loop(), []

    async def handle(key: str) -> None:
        begun.append(loop.time())
        if len(begun) == 1:
            queue.add(key)  # It changes while it runs,
            queue.add_after(key, 0.05)
            raise ApiError(429, "TooManyRequests", "later", retry_after=0.4)

    async with running(queue, handle):
        queue.add("a")
        await until(lambda: begun, "the first try")
        queue.add("a")  # and while it waits.
        await until(lambda: len(begun) > 1, "the second try")
        await drained(queue)
    assert begun[1] - begun[0] >= 0.4
    assert len(begun) == 2


async def test_a_handler_that_waited_for_something_cancelled_is_a_failure_not_the_end_of_a_worker() -> None:
    queue = WorkQueue(concurrency=1, new_backoff=at_once)
    tries: list[str] = []

    async def handler(key: str) -> None:
        tries.append(key)
        if len(tries) == 1:
            raise asyncio.CancelledError

    with capture_logs():
        async with running(queue, handler):
            queue.add("a")
            await until(lambda: len(tries) == 2, "a second try")


async def test_of_several_delays_the_earliest_holds() -> None:
    queue, gate = WorkQueue(), Gate()
    gate.let(9)
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    queue.add_after("a", 30)
    async with running(queue, gate):
        await until(lambda: gate.begun, "the earliest")


async def test_a_delay_passes_before_the_key_is_handled() -> None:
    queue, gate = WorkQueue(), Gate()
    gate.let(1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    queue.add_after("a", 0.1)
    async with running(queue, gate):
        await until(lambda: gate.begun, "the delayed key")
    assert loop.time() - began >= 0.1


async def test_a_delay_stays_when_the_key_runs_for_another_reason() -> None:
    queue, gate = WorkQueue(), Gate()
    gate.let(2)
    queue.add_after("a", 0.1)
    queue.add("a")
    async with running(queue, gate):
        await until(lambda: len(gate.begun) == 2, "both runs")


async def test_a_cancelled_queue_cancels_its_handlers_and_forgets_its_delays() -> None:
    queue, gate = WorkQueue(), Gate()
    loop = asyncio.get_running_loop()
    async with running(queue, gate):
        queue.add("a")
        queue.add_after("b", 0.05)
        due = loop.time() + 0.06
        await until(lambda: gate.begun, "the handler")
    assert gate.running == 0
    await until(lambda: loop.time() > due, "the end of the delay")
    assert queue.idle()


async def test_what_was_added_before_the_start_is_handled() -> None:
    queue, gate = WorkQueue(), Gate()
    gate.let(1)
    queue.add("a")
    assert not queue.idle()
    async with running(queue, gate):
        await drained(queue)
    assert gate.begun == ["a"]
