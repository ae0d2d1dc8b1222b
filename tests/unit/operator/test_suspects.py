"""A device that refuses an allowed value makes its profile Suspect for an hour, with one write at each end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from mdev_api.kinds.common import dump
from mdev_api.kinds.device_profile import DeviceProfile, DeviceProfileStatus
from mdev_api.kinds.node_reservations import Entry
from mdev_operator.migration.status import condition_of
from mdev_operator.profiles.suspects import Evidence, Refusal, is_suspect, refusals, seconds_left, with_suspicion
from tests.unit.operator.test_decide import BIG, entries_of
from tests.unit.operator.world import NOW, PROFILES, cluster, profile_name, reservations

EINVAL = {"reason": "Refused", "step": "Write", "parameter": "memory", "errno": "EINVAL", "message": "invalid"}
CLAMPED = {"reason": "ReadbackMismatch", "step": "ReadBack", "parameter": "memory", "message": "it reads 4096"}


@pytest.fixture
def entry() -> Entry:
    (made,) = entries_of(cluster(BIG))["b"]
    return made


def answered(entry: Entry, failure: Mapping[str, Any] | None, state: str = "Failed") -> tuple[Refusal, ...]:
    answer = {"id": entry.id, "state": state, **({"failure": failure} if failure else {})}
    return refusals(reservations("b", [entry], [answer]))


def refusal(entry_id: str = "e-1", node: str = "b") -> Refusal:
    return Refusal(entry=entry_id, node=node, profile="p", parameter="memory", value="8192", how="EINVAL")


def profile(status: DeviceProfileStatus | None = None) -> DeviceProfile:
    base = PROFILES[profile_name("gfx-8GB")].profile
    return base if status is None else base.model_copy(update={"status": status})


def judged(of: DeviceProfile, *evidence: Refusal, now: datetime = NOW) -> DeviceProfileStatus:
    assert of.status is not None
    return with_suspicion(of, of.status, evidence, now)


class TestRefusals:
    def test_a_write_that_the_kernel_calls_invalid_speaks_against_the_profile(self, entry: Entry) -> None:
        (found,) = answered(entry, EINVAL)
        assert (found.profile, found.node, found.parameter, found.value) == (
            profile_name("gfx-8GB"), "b", "memory", "8192",
        )  # fmt: skip

    def test_a_value_that_reads_back_as_another_does_too(self, entry: Entry) -> None:
        assert len(answered(entry, CLAMPED)) == 1

    def test_the_failure_that_stays_in_the_answer_through_the_undo_still_speaks(self, entry: Entry) -> None:
        assert len(answered(entry, EINVAL, state="Undone")) == 1

    @pytest.mark.parametrize(
        "change", [{"errno": "EIO"}, {"errno": "ENOSPC"}, {"step": "Create"}, {"step": "Undo"}, {"reason": "Deadline"}]
    )
    def test_what_is_no_refusal_of_a_value_does_not(self, entry: Entry, change: dict[str, str]) -> None:
        failure = {**EINVAL, **change, **({"errno": "EINTR"} if "reason" in change else {})}
        assert answered(entry, failure) == ()

    def test_a_device_that_took_its_values_does_not(self, entry: Entry) -> None:
        assert answered(entry, None, state="Prepared") == ()


class TestCondition:
    def test_it_names_node_and_value(self) -> None:
        found = condition_of(judged(profile(), refusal()).conditions, "Suspect")
        assert found is not None and (found.status.value, found.reason) == ("True", "WriteRefused")
        assert "node b" in found.message and "memory=8192" in found.message and "EINVAL" in found.message

    def test_other_conditions_stay(self) -> None:
        assert {c.type for c in judged(profile(), refusal()).conditions} == {"Resolved", "Suspect"}

    def test_without_evidence_nothing_is_said(self) -> None:
        assert judged(profile()) == profile().status

    def test_more_evidence_within_the_hour_writes_nothing(self) -> None:
        suspect = profile(judged(profile(), refusal()))
        later = NOW + timedelta(minutes=59)
        assert dump(judged(suspect, refusal("e-2", "c"), now=later)) == dump(suspect.status or DeviceProfileStatus())

    def test_after_an_hour_it_ends_by_the_clock(self) -> None:
        suspect = profile(judged(profile(), refusal()))
        after = profile(judged(suspect, now=NOW + timedelta(hours=1)))
        assert is_suspect(suspect) and not is_suspect(after)

    def test_the_hour_is_that_of_the_condition_so_a_restart_does_not_stretch_it(self) -> None:
        suspect = profile(judged(profile(), refusal()))
        assert seconds_left(suspect, NOW + timedelta(minutes=50)) == pytest.approx(600)

    def test_after_it_is_over_it_stays_over(self) -> None:
        over = profile(judged(profile(judged(profile(), refusal())), now=NOW + timedelta(hours=1)))
        assert judged(over, now=NOW + timedelta(hours=2)) == over.status

    def test_a_new_refusal_begins_a_new_hour(self) -> None:
        over = profile(judged(profile(judged(profile(), refusal())), now=NOW + timedelta(hours=1)))
        again = profile(judged(over, refusal("e-9"), now=NOW + timedelta(hours=2)))
        assert seconds_left(again, NOW + timedelta(hours=2)) == pytest.approx(3600)


class TestEvidence:
    def test_what_no_condition_tells_of_yet_is_pending_also_when_it_is_seen_again(self) -> None:
        evidence = Evidence()
        assert evidence.take([refusal()]) == evidence.take([refusal()]) == [refusal()]
        assert evidence.of("p") == (refusal(),)

    def test_what_is_told_is_settled_for_as_long_as_its_entry_stands(self) -> None:
        evidence = Evidence()
        evidence.take([refusal(), refusal("e-2", "c")])
        assert evidence.settle("p") == {"b", "c"}
        assert evidence.take([refusal()]) == [] and evidence.of("p") == ()
        evidence.forget(["e-1"])
        assert evidence.take([refusal()]) == [refusal()]
