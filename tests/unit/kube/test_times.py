from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_api.kube import times

NEW_YORK = timezone(timedelta(hours=-5))


def test_a_micro_time_is_utc_whatever_the_zone_of_the_moment() -> None:
    assert times.micro_time(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=NEW_YORK)) == "2026-01-02T08:04:05.000006Z"


def test_a_time_has_whole_seconds() -> None:
    assert times.time(datetime(2026, 1, 2, 3, 4, 5, 999999, tzinfo=UTC)) == "2026-01-02T03:04:05Z"


def test_a_moment_without_zone_never_reaches_the_api_server() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        times.micro_time(datetime(2026, 1, 2))


def test_a_text_without_zone_is_no_time() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        times.parse("2026-01-02T03:04:05")


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))
def test_a_micro_time_is_read_back_exactly(moment: datetime) -> None:
    assert times.parse(times.micro_time(moment)) == moment
