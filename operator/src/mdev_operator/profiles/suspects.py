"""A device that refuses a value which its profile allows: the profile is Suspect and ranks last for an hour.

Evidence is in the agents' answers: a write that the kernel answered with EINVAL, or a value that read back as another
(the driver took something else). It is a fault of what the profile says, not of one node's room or reach, so it counts
for all nodes that share the profile; and since the reason may be of a moment, it ends by the clock.

An hour is counted from the condition's own transition time, so it survives a restart, and costs two writes: one when it
begins and one when it ends. More evidence within the hour changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from mdev_api.kinds.device_profile import DeviceProfile, DeviceProfileStatus
from mdev_api.kinds.node_reservations import Entry, EntryAnswer, FailureReason, NodeReservations, Step
from mdev_operator.migration.status import condition_of, is_true, since, with_condition

SUSPECT = "Suspect"
SUSPECT_SECONDS = 3600.0
"""For how long a profile ranks last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A device of ``profile`` on ``node`` did not take ``value`` for ``parameter``, as entry ``entry`` was told."""

    entry: str
    node: str
    profile: str
    parameter: str
    value: str
    how: str

    @property
    def message(self) -> str:
        """For people."""
        where = f"a device on node {self.node} did not take {self.parameter}={self.value}"
        return f"{where}, which this profile allows: {self.how} (reservation {self.entry}); it ranks last for an hour"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What this process knows: refusals that no condition tells of yet, by profile, and entries that one does."""

    pending: dict[str, dict[str, Refusal]] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)

    def take(self, found: Iterable[Refusal]) -> list[Refusal]:
        """Take in what a node's answers show; those that no condition tells of yet."""
        news = [refusal for refusal in found if refusal.entry not in self.settled]
        for refusal in news:
            self.pending.setdefault(refusal.profile, {})[refusal.entry] = refusal
        return news

    def of(self, profile: str) -> tuple[Refusal, ...]:
        """What speaks against a profile and is not told yet, in a stable order."""
        return tuple(refusal for _, refusal in sorted(self.pending.get(profile, {}).items()))

    def settle(self, profile: str) -> frozenset[str]:
        """Nothing more is to be told of what is pending for this profile; the nodes that it came from."""
        done = self.pending.pop(profile, {})
        self.settled.update(done)
        return frozenset(refusal.node for refusal in done.values())

    def forget(self, entries: Iterable[str]) -> None:
        """These entries do not stand any more."""
        self.settled.difference_update(entries)


def refusals(seen: NodeReservations) -> tuple[Refusal, ...]:
    """What the answers of one node say against profiles."""
    pairs = ((entry, seen.answer(entry.id)) for entry in seen.spec.reservations)
    found = (_refusal(seen.metadata.name, entry, answer) for entry, answer in pairs if answer is not None)
    return tuple(refusal for refusal in found if refusal is not None)


def _refusal(node: str, entry: Entry, answer: EntryAnswer) -> Refusal | None:
    failure = answer.failure
    profile = entry.device.create.profile if entry.device.create is not None else entry.device.profile
    if failure is None or failure.parameter is None or profile is None:
        return None
    refused = failure.step is Step.WRITE and failure.errno == "EINVAL"
    clamped = failure.step is Step.READ_BACK and failure.reason is FailureReason.READBACK_MISMATCH
    value = next((v.value for v in entry.values if v.name == failure.parameter), None)
    if value is None or not (refused or clamped):
        return None
    return Refusal(
        entry=entry.id,
        node=node,
        profile=profile,
        parameter=failure.parameter,
        value=value if len(value) <= 64 else f"{value[:63]}…",
        how="EINVAL" if refused else "it read back as another value",
    )


def is_suspect(profile: DeviceProfile) -> bool:
    """Whether the condition stands."""
    return profile.status is not None and is_true(profile.status.conditions, SUSPECT)


def with_suspicion(
    profile: DeviceProfile, status: DeviceProfileStatus, evidence: Iterable[Refusal], now: datetime
) -> DeviceProfileStatus:
    """The status with what is to be said of this profile now."""
    if is_suspect(profile):
        if seconds_left(profile, now) > 0:
            return status
        return _with(profile, status, False, "HourOver", "nothing was refused lately", now)
    first = next(iter(evidence), None)
    if first is None:
        return status
    reason = "WriteRefused" if first.how == "EINVAL" else "ReadbackMismatch"
    return _with(profile, status, True, reason, first.message, now)


def seconds_left(profile: DeviceProfile, now: datetime) -> float:
    """Until a suspicion that stands is over."""
    conditions = profile.status.conditions if profile.status is not None else ()
    began = since(condition_of(conditions, SUSPECT))
    return 0.0 if began is None else SUSPECT_SECONDS - (now - began).total_seconds()


def _with(
    profile: DeviceProfile, status: DeviceProfileStatus, value: bool, reason: str, message: str, now: datetime
) -> DeviceProfileStatus:
    generation = profile.metadata.generation
    conditions = with_condition(status.conditions, SUSPECT, value, reason, message, generation=generation, now=now)
    return status.model_copy(update={"conditions": conditions})
