"""A process that is killed in a thread: nothing of it happens any more, and what is in the kernel goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.chaos.life import KilledError, Life, Snare, Snares
from tests.waiting import wait_until

STEP = "before create"


def snared(step: str, *, nth: int = 1) -> Life:
    snares = Snares()
    snares.arm(Snare(step=step, nth=nth, hold=0.3))
    return Life(snares)


def in_thread(call: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        with pytest.raises(KilledError):
            call()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_a_step_that_is_snared_does_not_return_until_the_process_is_gone() -> None:
    life, after = snared(STEP), threading.Event()

    def act() -> None:
        life.step(STEP)
        after.set()

    thread = in_thread(act)
    wait_until(life.dead.is_set, timeout=20, what="the process to die")
    assert thread.is_alive()
    life.wait_last_call()
    thread.join(timeout=20)
    assert not thread.is_alive() and not after.is_set()


def test_the_snare_waits_for_the_time_that_it_was_set_for_and_catches_once() -> None:
    life = snared(STEP, nth=3)
    life.step(STEP)
    life.step(STEP)
    assert not life.dead.is_set()
    thread = in_thread(lambda: life.step(STEP))
    wait_until(life.dead.is_set, timeout=20, what="the process to die")
    life.wait_last_call()
    thread.join(timeout=20)
    other = Life(life.snares)
    other.step(STEP)
    assert not other.dead.is_set()


def test_a_call_that_is_in_the_kernel_is_done_after_the_death_and_only_then_is_the_process_gone() -> None:
    life, happened = snared("inside create"), list[str]()

    def call() -> None:
        with life.in_kernel("inside create"):
            happened.append("the kernel is done")

    thread = in_thread(call)
    wait_until(life.dead.is_set, timeout=20, what="the process to die")
    happened.append("it is dead")
    life.wait_last_call()
    happened.append("it is gone")
    thread.join(timeout=20)
    assert happened == ["it is dead", "the kernel is done", "it is gone"]


def test_a_dead_process_begins_no_call() -> None:
    life, called = Life(Snares()), threading.Event()
    life.kill()

    def call() -> None:
        with life.in_kernel():
            called.set()

    thread = in_thread(call)
    life.wait_last_call()
    thread.join(timeout=20)
    assert not called.is_set()
