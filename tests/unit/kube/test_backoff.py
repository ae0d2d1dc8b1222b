from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.kube.backoff import Backoff


def longest(low: float, high: float) -> float:
    return high


def test_delays_double_up_to_the_maximum() -> None:
    backoff = Backoff(initial=1, maximum=5, uniform=longest)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]


def test_a_reset_begins_again_at_the_initial_delay() -> None:
    backoff = Backoff(initial=1, maximum=60, uniform=longest)
    backoff.next()
    backoff.next()
    backoff.reset()
    assert (backoff.failures, backoff.next()) == (0, 1)


def test_a_server_that_asks_for_more_is_waited_for() -> None:
    assert Backoff(initial=1, maximum=2).next(at_least=10) > 10


def test_a_server_that_asks_for_a_day_is_asked_again_after_a_minute() -> None:
    assert Backoff(initial=1, maximum=2).next(at_least=86400) <= 62


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=200))
def test_no_number_of_failures_leaves_the_bounds(failures: int) -> None:
    backoff = Backoff(initial=0.2, maximum=30)
    for _ in range(failures):
        backoff.next()
    assert 0.1 <= backoff.next() <= 30


def test_two_that_fail_together_do_not_come_back_together() -> None:
    assert len({Backoff(initial=1, maximum=2).next() for _ in range(20)}) > 1
