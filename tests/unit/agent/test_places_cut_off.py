"""An agent that ends at any step of work on a VF: nothing leaks, and nothing foreign is touched."""

from __future__ import annotations

import itertools
from pathlib import Path

from mdev_api.kinds.node_reservations import State
from tests.agent.cards import (
    EIGHT,
    FIRST,
    GPU,
    SECOND,
    TWO,
    claims,
    gpus,
    lives_on,
    nic,
    nics,
    prepare,
    take_back,
)
from tests.agent.preparing import Bench, Lifeline, preparing


async def test_cut_off_anywhere_it_is_prepared_once_and_undone(tmp_path: Path) -> None:
    for at in itertools.count(1):
        kernel, driver = gpus()
        state = tmp_path / f"{at}"
        through = await lives_on(kernel, state, Lifeline(at), prepare)
        async with preparing(kernel, state) as again:
            await prepare(again)
            assert list(driver.configured().values()) == [EIGHT], at
            await take_back(again)
        assert (driver.configured(), claims(state, kernel)) == ({}, set()), at
        if through:
            assert at > 10
            return


async def test_cut_off_anywhere_and_told_to_undo_nothing_is_left(tmp_path: Path) -> None:
    for at in itertools.count(1):
        kernel, driver = gpus()
        state = tmp_path / f"{at}"
        through = await lives_on(kernel, state, Lifeline(at), prepare)
        async with preparing(kernel, state) as again:
            await take_back(again)
        assert (driver.configured(), claims(state, kernel)) == ({}, set()), at
        if through:
            return


async def test_cut_off_anywhere_in_an_undo_it_is_finished_later(tmp_path: Path) -> None:
    for at in itertools.count(1):
        kernel, driver = gpus()
        state = tmp_path / f"{at}"
        async with preparing(kernel, state) as one:
            await prepare(one)
        through = await lives_on(kernel, state, Lifeline(at), take_back)
        async with preparing(kernel, state) as again:
            await take_back(again)
            await again.collector(lambda: 0.0).collect()
        assert (driver.configured(), claims(state, kernel)) == ({}, set()), at
        if through:
            assert at > 6
            return


async def test_cut_off_anywhere_what_others_configured_meanwhile_stays_theirs(tmp_path: Path) -> None:
    for at in itertools.count(1):
        kernel, driver = gpus()
        state = tmp_path / f"{at}"
        through = await lives_on(kernel, state, Lifeline(at), prepare)
        if not driver.configured():
            driver.configure(FIRST, TWO)
        theirs = {a: name for a, name in driver.configured().items() if name == TWO}
        async with preparing(kernel, state) as again:
            await prepare(again)
            await take_back(again)
        assert (driver.configured(), claims(state, kernel)) == (theirs, set()), at
        if through:
            return


async def test_cut_off_before_the_driver_was_asked_even_the_same_type_is_not_taken_for_ours(tmp_path: Path) -> None:
    kernel, driver = gpus()
    lifeline = Lifeline()

    async def until_claimed(one: Bench) -> None:
        # The claim is in journal (begin) and ledger; the next line would say that the driver is asked.
        lifeline.at = lifeline.acts + 5
        await prepare(one)

    assert not await lives_on(kernel, tmp_path, lifeline, until_claimed)
    assert claims(tmp_path, kernel) == {FIRST} and '"making"' not in (tmp_path / "journal.jsonl").read_text()
    driver.configure(FIRST, EIGHT)
    async with preparing(kernel, tmp_path) as again:
        again.told(again.new(GPU, EIGHT))
        assert (await again.settles(State.PREPARED)).instance == SECOND
        await take_back(again)
    assert (driver.configured(), claims(tmp_path, kernel)) == ({FIRST: EIGHT}, set())


async def test_cut_off_while_the_driver_was_asked_a_device_in_use_is_not_taken_for_ours(tmp_path: Path) -> None:
    for at in itertools.count(1):
        kernel, driver = gpus()
        state = tmp_path / f"{at}"
        through = await lives_on(kernel, state, Lifeline(at), prepare)
        if through:
            return
        if driver.configured():
            continue
        driver.configure(FIRST, EIGHT)
        kernel.open_device(FIRST)
        async with preparing(kernel, state) as again:
            await take_back(again)
        assert (driver.configured(), claims(state, kernel)) == ({FIRST: EIGHT}, set()), at


async def test_with_journal_and_status_lost_nobody_s_function_is_cleared(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path / "a") as one:
        await prepare(one)
    async with preparing(kernel, tmp_path / "b") as two:
        await take_back(two)
    assert driver.configured() == {FIRST: EIGHT}


async def test_with_the_journal_lost_our_own_status_still_proves_it(tmp_path: Path) -> None:
    kernel, driver = gpus()
    async with preparing(kernel, tmp_path / "a") as one:
        await prepare(one)
        answer = one.answers.given["move-1"]
    async with preparing(kernel, tmp_path / "b") as two:
        two.answers.adopt({"move-1": answer})
        await take_back(two)
    assert driver.configured() == {}


async def test_a_plain_function_cut_off_anywhere_gets_its_values_and_its_freedom_back(tmp_path: Path) -> None:
    async def hold(one: Bench) -> None:
        one.told(nic(one, queues="8", mtu="9000"))
        await one.settles(State.PREPARED)

    async def back(one: Bench) -> None:
        one.told(nic(one, intent="Undo", queues="8", mtu="9000"))
        await one.settles(State.UNDONE)

    for at in itertools.count(1):
        kernel, driver = nics()
        state = tmp_path / f"{at}"
        through = await lives_on(kernel, state, Lifeline(at), hold)
        async with preparing(kernel, state) as again:
            await back(again)
        assert {driver.value(a, "queues") for a in driver.homes} == {"4"}, at
        assert {driver.value(a, "mtu") for a in driver.homes} == {"1500"}, at
        assert claims(state, kernel) == set(), at
        if through:
            assert at > 14
            return
