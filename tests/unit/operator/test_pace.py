"""Turns come at a steady rate, and a few at once after a quiet time."""

from __future__ import annotations

from mdev_operator.pace import Pace


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


async def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    clock = Clock()
    pace = Pace(per_second=10, burst=3, clock=clock, sleep=clock.sleep)

    for _ in range(6):
        await pace.turn()

    assert clock.slept == [0.1, 0.1, 0.1]


async def test_a_quiet_time_saves_up_no_more_than_the_burst() -> None:
    clock = Clock()
    pace = Pace(per_second=10, burst=2, clock=clock, sleep=clock.sleep)
    await pace.turn()
    clock.now += 1000

    for _ in range(3):
        await pace.turn()

    assert clock.slept == [0.1]
