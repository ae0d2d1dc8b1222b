"""How old an agent's word is: by this program's clock, and only at first sight by the node's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mdev_operator.inventory.freshness import LeaseSeen, seen, silence

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def judged(lease: LeaseSeen | None, seconds: float) -> str | None:
    """Judged so many seconds after the operator began to watch."""
    return silence("n", lease, now=1000.0 + seconds, wall=BEGUN + timedelta(seconds=seconds))


def sight(before: LeaseSeen | None, seconds: float, *, renewed: float) -> LeaseSeen:
    """``renewed``: what the node's clock said when it renewed, in seconds after we began by ours."""
    text = (BEGUN + timedelta(seconds=renewed)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return seen({"spec": {"renewTime": text}}, before, 1000.0 + seconds)


@pytest.mark.parametrize("wrong", [-4000.0, -400.0, 400.0])
def test_a_node_with_a_wrong_clock_that_renews_is_not_silent(wrong: float) -> None:
    lease = sight(None, 0, renewed=wrong)
    for second in range(60, 1200, 60):
        lease = sight(lease, second, renewed=second + wrong)
        assert judged(lease, second + 59) is None


def test_an_agent_that_stops_renewing_is_silent_after_five_minutes_by_our_clock() -> None:
    lease = sight(sight(None, 0, renewed=-30), 30, renewed=30)
    lease = sight(lease, 200, renewed=30)  # The same again: somebody has labelled it.
    assert judged(lease, 329) is None
    assert "has not renewed its Lease for more than 300 s" in str(judged(lease, 330))


def test_a_lease_that_was_not_seen_to_change_counts_by_its_own_time() -> None:
    assert judged(sight(None, 0, renewed=-329), 1) is None
    assert "last renewed its Lease at" in str(judged(sight(None, 0, renewed=-330), 1))


def test_without_a_lease_or_a_time_in_it_nobody_has_spoken() -> None:
    assert "has no Lease" in str(judged(None, 0))
    assert "no readable renewTime" in str(judged(seen({"spec": {}}, None, 1000.0), 0))
