"""New devices on functions that are there (VFs), carried out by the real preparer: whose they are, whatever happens.

An address says nothing about who configured what is there. So: what was claimed is given back, what was made is cleared
after any crash, and what somebody else has configured is never touched.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdev_api.kinds.node_reservations import FailureReason, State, Waiting
from mdev_node_agent.in_use import InUse, NoSource
from mdev_node_agent.ledger import Ledger
from tests.agent.preparing import Bench, CutError, Lifeline, preparing
from tests.agent.reservations import entry, value
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.vfio_functions import CARD, VfioFunctions
from tests.memkernel.vgpu import Vgpu

GPU = "0000:65:00.0"
FIRST, SECOND, THIRD, FOURTH = (f"0000:65:00.{n}" for n in (4, 5, 6, 7))
NIC_FIRST, NIC_SECOND = "0000:81:00.4", "0000:81:00.5"
EIGHT, TWO, WHOLE = "NVIDIA RTX6000-Ada-8Q", "NVIDIA RTX6000-Ada-2Q", "NVIDIA RTX6000-Ada-48Q"
NIC = "mlx5_vfio_pci"


def gpus(**of_driver: Any) -> tuple[MemoryKernel, Vgpu]:
    driver = Vgpu(**of_driver)
    return MemoryKernel(drivers=[driver]), driver


def nics(**of_driver: Any) -> tuple[MemoryKernel, VfioFunctions]:
    driver = VfioFunctions(**{"values": {"queues": "4", "mtu": "1500"}, **of_driver})
    return MemoryKernel(drivers=[driver]), driver


def claims(state_dir: Path, kernel: MemoryKernel) -> set[str]:
    return set(Ledger(state_dir, kernel.boot_id()).instances)


# NVIDIA


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


# After a crash at any step


async def lives_on(kernel: MemoryKernel, state_dir: Path, lifeline: Lifeline, do: Callable[[Bench], Any]) -> bool:
    """Whether the process got through; it ends wherever its lifeline is cut."""
    try:
        async with preparing(kernel, state_dir, lifeline=lifeline) as one:
            await do(one)
    except CutError:
        return False
    return True


async def prepare(one: Bench) -> None:
    one.told(one.new(GPU, EIGHT))
    await one.settles(State.PREPARED)


async def take_back(one: Bench) -> None:
    one.told(one.new(GPU, EIGHT, intent="Undo"))
    await one.settles(State.UNDONE)


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


# Plain VFIO functions


def nic(one: Bench, *, intent: str = "Hold", entry_id: str = "move-1", **values: str) -> dict[str, Any]:
    return one.new(CARD, NIC, entry_id, intent=intent, values=[value(name, text) for name, text in values.items()])


async def test_a_plain_function_is_claimed_and_only_its_values_are_written(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path) as one:
        one.told(nic(one, queues="8", mtu="1500"))
        answer = await one.settles(State.PREPARED)
        assert (answer.instance, answer.created) == (NIC_FIRST, True)
    assert driver.writes == [(NIC_FIRST, "queues", "8")]
    assert claims(tmp_path, kernel) == {NIC_FIRST}


async def test_undo_restores_a_plain_function_s_values_last_first_and_ends_the_claim(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path) as one:
        one.told(nic(one, queues="8", mtu="9000"))
        await one.settles(State.PREPARED)
        one.told(nic(one, intent="Undo", queues="8", mtu="9000"))
        await one.settles(State.UNDONE)
    assert [write[1:] for write in driver.writes] == [
        ("queues", "8"),
        ("mtu", "9000"),
        ("mtu", "1500"),
        ("queues", "4"),
    ]
    assert claims(tmp_path, kernel) == set()


async def test_that_a_plain_function_is_free_again_is_seen_before_it_is_answered(tmp_path: Path) -> None:
    kernel, _ = nics()
    async with preparing(kernel, tmp_path) as one:
        one.told(nic(one, queues="8"))
        await one.settles(State.PREPARED)
        claimed: list[set[str]] = []
        one.eye.on_look = lambda sight: claimed.append(set(one.ledger.instances))
        one.told(nic(one, intent="Undo", queues="8"))
        await one.settles(State.UNDONE)
        assert claimed[-1] == set()


async def test_a_plain_function_in_use_is_passed_over(tmp_path: Path) -> None:
    kernel, _ = nics()
    kernel.open_device(NIC_FIRST)
    async with preparing(kernel, tmp_path) as one:
        one.told(nic(one))
        assert (await one.settles(State.PREPARED)).instance == NIC_SECOND


async def test_where_nobody_can_tell_what_is_in_use_no_plain_function_is_free(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path, source=NoSource()) as one:
        one.told(nic(one, queues="8"))
        failure = await one.fails()
    assert failure.reason is FailureReason.NO_CAPACITY and "of 4 that is not known" in failure.message
    assert (driver.writes, claims(tmp_path, kernel)) == ([], set())


async def test_plain_functions_are_never_given_twice(tmp_path: Path) -> None:
    kernel, _ = nics()
    async with preparing(kernel, tmp_path) as one:
        keys = [f"move-{n}" for n in range(1, 6)]
        one.told(*(nic(one, entry_id=key) for key in keys))
        ended = (State.PREPARED, State.FAILED)
        answers = [await one.comes(lambda answer: answer.state in ended, key) for key in keys]
    prepared = [answer.instance for answer in answers if answer.state is State.PREPARED]
    assert len(set(prepared)) == len(prepared) == 4


async def test_a_claim_without_writes_ends_though_the_function_is_in_use(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path) as one:
        one.told(nic(one))
        await one.settles(State.PREPARED)
        kernel.open_device(NIC_FIRST)
        one.told(nic(one, intent="Undo"))
        await one.settles(State.UNDONE)
    assert (driver.writes, claims(tmp_path, kernel)) == ([], set())


async def test_values_of_a_function_in_use_are_not_put_back_until_it_is_closed(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path) as one:
        one.told(nic(one, queues="8"))
        await one.settles(State.PREPARED)
        kernel.open_device(NIC_FIRST)
        one.told(nic(one, intent="Undo", queues="8"))
        await one.comes(lambda answer: answer.waiting is Waiting.IN_USE)
        assert driver.value(NIC_FIRST, "queues") == "8"


async def test_a_value_that_does_not_go_back_keeps_the_claim(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path) as one:
        one.told(nic(one, queues="8"))
        await one.settles(State.PREPARED)
        driver.fail_write = True
        one.told(nic(one, intent="Undo", queues="8"))
        await one.settles(State.TAINTED)
        assert claims(tmp_path, kernel) == {NIC_FIRST}
        driver.fail_write = False
        one.preparer.poke(retry=True)
        await one.comes(lambda answer: answer.state is State.UNDONE)
    assert (driver.value(NIC_FIRST, "queues"), claims(tmp_path, kernel)) == ("4", set())


async def test_a_function_that_its_driver_has_lost_is_lost(tmp_path: Path) -> None:
    kernel, driver = nics()
    async with preparing(kernel, tmp_path) as one:
        one.told(nic(one))
        await one.settles(State.PREPARED)
        driver.unbind(NIC_FIRST)
        await one.eye.look()
        await one.settles(State.LOST)


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


async def test_a_plain_function_that_runs_a_vm_can_be_a_source(tmp_path: Path) -> None:
    kernel, _ = nics()
    kernel.open_device(NIC_SECOND)
    async with preparing(kernel, tmp_path) as one:
        profile = one.new(CARD, NIC)["device"]["create"]["profile"]
        device = {"instance": NIC_SECOND, "profile": profile}
        one.told(entry("source-1", boot_id=kernel.boot_id(), device=device, role="Source"))
        answer = await one.settles(State.PREPARED, "source-1")
        assert answer.digest is not None and answer.writes == ()


async def test_a_function_is_seen_in_use_by_its_vfio_device(tmp_path: Path) -> None:
    kernel, _ = nics()
    kernel.open_device(NIC_FIRST)
    async with preparing(kernel, tmp_path) as one:
        assert one.eye.latest is not None
        assert [one.eye.latest.use(a).state for a in (NIC_FIRST, NIC_SECOND)] == [InUse.YES, InUse.NO]
