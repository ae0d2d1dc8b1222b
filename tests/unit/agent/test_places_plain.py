"""Plain VFIO functions, carried out by the real preparer: claimed, set, put back, and let go."""

from __future__ import annotations

from pathlib import Path

from mdev_api.kinds.node_reservations import FailureReason, State, Waiting
from mdev_node_agent.seeing.in_use import InUse, NoSource
from tests.agent.cards import (
    CARD,
    NIC,
    NIC_FIRST,
    NIC_SECOND,
    claims,
    nic,
    nics,
)
from tests.agent.preparing import preparing
from tests.agent.reservations import entry


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
