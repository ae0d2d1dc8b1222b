"""vGPUs on VFs, carried out by the real preparer: whose they are.

An address says nothing about who configured what is there. So what was claimed is given back, what was made is cleared,
and what somebody else has configured is never touched.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdev_api.kinds.node_reservations import FailureReason, State, Waiting
from mdev_node_agent.memory.ledger import Ledger
from tests.agent.cards import (
    EIGHT,
    FIRST,
    FOURTH,
    GPU,
    SECOND,
    THIRD,
    TWO,
    WHOLE,
    claims,
    gpus,
    lives_on,
    prepare,
)
from tests.agent.preparing import Lifeline, preparing


async def test_the_first_free_function_is_configured_and_answered(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        answer = await one.settles(State.PREPARED)
        assert (answer.instance, answer.created) == (FIRST, True)
        assert driver.configured() == {FIRST: EIGHT}
        made = Ledger(tmp_path, kernel.boot_id()).instances[FIRST]
        assert (made.reservation, made.type, made.made) == ("move-1", EIGHT, True)


async def test_the_claim_is_on_disk_before_the_driver_is_asked(tmp_path: Path) -> None:
    kernel, driver = gpus()
    found: list[tuple[bool, bool]] = []

    def look(address: str, text: str) -> None:
        journal = (tmp_path / "journal.jsonl").read_text()
        found.append((address in claims(tmp_path, kernel), f'"instance":"{address}"' in journal))

    driver.before_write = look
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        await one.settles(State.PREPARED)
    assert found == [(True, True)]


async def test_undo_clears_the_function_and_ends_the_claim(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        await one.settles(State.PREPARED)
        one.told(one.new(GPU, EIGHT, intent="Undo"))
        answer = await one.settles(State.UNDONE)
        assert answer.instance == FIRST
    assert (driver.configured(), claims(tmp_path, kernel)) == ({}, set())
    assert driver.writes[-1] == (FIRST, "0")


async def test_what_is_free_again_is_seen_before_it_is_answered(tmp_path: Path) -> None:
    kernel, _ = gpus()
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        await one.settles(State.PREPARED)
        one.told(one.new(GPU, EIGHT, intent="Undo"))
        await one.settles(State.UNDONE)
        assert one.eye.latest is not None and one.eye.latest.observation.instance(FIRST) is None


async def test_a_function_that_somebody_else_configured_is_passed_over(tmp_path: Path) -> None:
    kernel, driver = gpus()
    driver.configure(FIRST, EIGHT)
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        assert (await one.settles(State.PREPARED)).instance == SECOND


async def test_who_is_faster_keeps_the_function_and_another_one_is_taken(tmp_path: Path) -> None:
    kernel, driver = gpus()
    faster = {FIRST: EIGHT}

    def configure(address: str, text: str) -> None:
        if address in faster:
            driver.configure(address, faster.pop(address))

    driver.before_write = configure
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        assert (await one.settles(State.PREPARED)).instance == SECOND
        one.told(one.new(GPU, EIGHT, intent="Undo"))
        await one.settles(State.UNDONE)
    assert (driver.configured(), claims(tmp_path, kernel)) == ({FIRST: EIGHT}, set())


async def test_of_a_driver_that_always_says_taken_each_function_is_tried_once(tmp_path: Path) -> None:
    kernel, driver = gpus(mixed=True)
    tried: list[str] = []

    def flicker(address: str, text: str) -> None:
        tried.append(address)
        driver.vf(address).type = 941

    driver.before_write = flicker
    async with preparing(kernel, tmp_path) as one:
        one.eye.on_look = lambda sight: [driver.clear(a) for a in driver.configured()] and one.preparer.poke()
        one.told(one.new(GPU, EIGHT))
        failure = await one.fails()
    assert (failure.reason, tried) == (FailureReason.NO_CAPACITY, [FIRST, SECOND, THIRD, FOURTH])


async def test_a_full_card_has_no_room_whatever_its_driver_calls_it(tmp_path: Path) -> None:
    kernel, driver = gpus()
    driver.before_write = lambda address, text: driver.configure(FOURTH, WHOLE) if address == FIRST else None
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        failure = await one.fails()
        assert (failure.reason, failure.errno) == (FailureReason.NO_CAPACITY, "ENOSPC")
        one.told(one.new(GPU, EIGHT, intent="Undo"))
        await one.settles(State.UNDONE)
    assert (driver.configured(), claims(tmp_path, kernel)) == ({FOURTH: WHOLE}, set())


async def test_functions_are_never_given_twice(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        keys = [f"move-{n}" for n in range(1, 6)]
        one.told(*(one.new(GPU, TWO, key) for key in keys))
        ended = (State.PREPARED, State.FAILED)
        answers = [await one.comes(lambda answer: answer.state in ended, key) for key in keys]
        prepared = [answer.instance for answer in answers if answer.state is State.PREPARED]
        failures = [answer.failure for answer in answers if answer.failure is not None]
    assert sorted(prepared, key=str) == [FIRST, SECOND, THIRD, FOURTH]
    assert [failure.reason for failure in failures] == [FailureReason.NO_CAPACITY]
    assert driver.configured() == dict.fromkeys((FIRST, SECOND, THIRD, FOURTH), TWO)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(foreign=st.sets(st.sampled_from((FIRST, SECOND, THIRD, FOURTH)), max_size=4), wanted=st.integers(1, 6))
def test_whatever_is_taken_before_no_function_has_two_owners(
    tmp_path_factory: Any, foreign: set[str], wanted: int
) -> None:
    async def work() -> None:
        kernel, driver = gpus()
        async with preparing(kernel, tmp_path_factory.mktemp("state")) as one:
            for address in foreign:
                driver.configure(address, TWO)
            keys = [f"move-{n}" for n in range(wanted)]
            one.told(*(one.new(GPU, TWO, key) for key in keys))
            ended = (State.PREPARED, State.FAILED)
            answers = [await one.comes(lambda answer: answer.state in ended, key) for key in keys]
        ours = [answer.instance for answer in answers if answer.state is State.PREPARED]
        assert len(ours) == len(set(ours)) == min(wanted, 4 - len(foreign))
        assert not foreign & set(ours)
        assert set(driver.configured()) == foreign | set(ours)

    asyncio.run(work())


async def test_a_function_that_was_cleared_and_configured_again_by_others_is_lost_and_left(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        await one.settles(State.PREPARED)
        driver.clear(FIRST)
        driver.configure(FIRST, TWO)
        await one.eye.look()
        answer = await one.settles(State.LOST)
        assert answer.failure is not None and TWO in answer.failure.message
    assert driver.configured() == {FIRST: TWO}


async def test_undo_leaves_a_function_that_is_another_type_by_now(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        await one.settles(State.PREPARED)
    driver.clear(FIRST)
    driver.configure(FIRST, TWO)
    async with preparing(kernel, tmp_path) as two:
        two.told(two.new(GPU, EIGHT, intent="Undo"))
        await two.settles(State.UNDONE)
    assert driver.configured() == {FIRST: TWO}


async def test_undo_waits_while_the_function_is_in_use(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        await one.settles(State.PREPARED)
        kernel.open_device(FIRST)
        one.told(one.new(GPU, EIGHT, intent="Undo"))
        await one.comes(lambda answer: answer.waiting is Waiting.IN_USE)
        assert driver.configured() == {FIRST: EIGHT}
        kernel.close_device(FIRST)
        await one.eye.look()
        await one.settles(State.UNDONE)
    assert driver.configured() == {}


async def test_a_clear_that_is_refused_is_tainted_and_tried_again(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        await one.settles(State.PREPARED)
        driver.lingering = True
        one.told(one.new(GPU, EIGHT, intent="Undo"))
        answer = await one.settles(State.TAINTED)
        assert answer.failure is not None and answer.failure.errno == "EBUSY"
        driver.lingering = False
        one.preparer.poke(retry=True)
        await one.comes(lambda answer: answer.state is State.UNDONE)
    assert (driver.configured(), claims(tmp_path, kernel)) == ({}, set())


async def test_claims_of_another_boot_are_void(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        hold = one.new(GPU, EIGHT)
        one.told(hold)
        await one.settles(State.PREPARED)
    kernel.reboot()
    driver.configure(FIRST, EIGHT)
    async with preparing(kernel, tmp_path) as two:
        two.told(hold)
        assert (await two.fails()).reason is FailureReason.NODE_REBOOTED
        two.told({**hold, "intent": "Undo"})
        await two.settles(State.UNDONE)
        assert two.ledger.instances == {}
    assert driver.configured() == {FIRST: EIGHT}


async def test_what_was_handed_over_keeps_its_function_for_itself(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path) as one:
        one.told(one.new(GPU, EIGHT))
        await one.settles(State.PREPARED)
        one.told(one.new(GPU, EIGHT, intent="HandOver"))
        assert (await one.settles(State.HANDED_OVER)).instance == FIRST
        one.told(one.new(GPU, EIGHT, "move-2"))
        assert (await one.settles(State.PREPARED, "move-2")).instance == SECOND
    assert driver.configured() == {FIRST: EIGHT, SECOND: EIGHT}


# Collecting


async def test_what_nobody_holds_or_uses_is_cleared_after_ten_minutes(tmp_path: Path) -> None:
    kernel, driver = gpus()
    now = [0.0]
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        one.told(one.new(GPU, EIGHT, intent="HandOver"))
        await one.settles(State.HANDED_OVER)
        one.told()
        collector = one.collector(lambda: now[0])
        for now[0] in (0.0, 700.0):
            await one.eye.look()
            await collector.collect()
        await asyncio.gather(*collector._removing.values())
    assert (driver.configured(), claims(tmp_path, kernel)) == ({}, set())


async def test_a_function_that_others_have_by_now_is_forgotten_and_never_cleared(tmp_path: Path) -> None:
    kernel, driver = gpus()
    now = [0.0]
    async with preparing(kernel, tmp_path) as one:
        await prepare(one)
        one.told(one.new(GPU, EIGHT, intent="HandOver"))
        await one.settles(State.HANDED_OVER)
        one.told()
        driver.clear(FIRST)
        driver.configure(FIRST, TWO)
        collector = one.collector(lambda: now[0])
        for now[0] in (0.0, 700.0):
            await one.eye.look()
            await collector.collect()
    assert (driver.configured(), claims(tmp_path, kernel)) == ({FIRST: TWO}, set())


async def test_a_mere_claim_that_others_configured_meanwhile_is_never_cleared(tmp_path: Path) -> None:
    kernel, driver = gpus()
    assert not await lives_on(kernel, tmp_path, Lifeline(5), prepare)
    assert claims(tmp_path, kernel) == {FIRST} and driver.configured() == {}
    driver.configure(FIRST, EIGHT)
    now = [0.0]
    async with preparing(kernel, tmp_path) as one:
        collector = one.collector(lambda: now[0])
        for now[0] in (0.0, 700.0):
            await one.eye.look()
            await collector.collect()
        await asyncio.gather(*collector._removing.values())
    assert driver.configured() == {FIRST: EIGHT}
