"""What is decided from, and what a decision says: values only, so that a decision can be tested without a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mdev_api.kinds.device_migration import DeviceMigration, DeviceMigrationStatus
from mdev_api.kinds.node_reservations import Entry, Intent, Role
from mdev_operator.inventory.cluster import Cluster, Held, VmView
from mdev_operator.kubevirt.pod_fit import PodConstraints
from mdev_operator.migration.source import NoSource
from mdev_operator.migration.status import condition_of, since, with_condition

LOOK_AGAIN = 30.0
"""Seconds after which silence alone may change a decision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """All that one decision looks at. ``held``: every entry anywhere that names this migration's uid.

    ``vm``: what ``source.vm`` names, ``pod``: the pod that waits for the destination; None where there is none, and
    where the decision does not look for a destination (:func:`mdev_operator.migration.decide.looks_for_destination`).
    ``gone``: Nodes that live GETs have not found for so long that they count as gone for good.
    """

    migration: DeviceMigration
    cluster: Cluster
    held: tuple[Held, ...]
    now: datetime
    vm: VmView | NoSource | None = None
    pod: PodConstraints | NoSource | None = None
    gone: frozenset[str] = frozenset()

    @property
    def destinations(self) -> tuple[Held, ...]:
        """Entries for a destination."""
        return tuple(h for h in self.held if h.entry.role is Role.DESTINATION)

    @property
    def sources(self) -> tuple[Held, ...]:
        """Entries that pin the source."""
        return tuple(h for h in self.held if h.entry.role is Role.SOURCE)

    def seconds_since(self, kind: str) -> float:
        """For how long the condition has its status; 0 if it is not there yet."""
        moment = since(condition_of(self.migration.status.conditions, kind))
        return (self.now - moment).total_seconds() if moment is not None else 0.0

    def with_condition(
        self, status: DeviceMigrationStatus, kind: str, value: bool, reason: str, message: str
    ) -> DeviceMigrationStatus:
        """The status with this condition set at this time for this generation."""
        conditions = with_condition(
            status.conditions,
            kind,
            value,
            reason,
            message,
            generation=self.migration.metadata.generation,
            now=self.now,
        )
        return status.model_copy(update={"conditions": conditions})


@dataclass(frozen=True, kw_only=True, slots=True)
class Reserve:
    """Add entries to one node, all or none."""

    node: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tell:
    """Change the intents of entries of one node, by id."""

    node: str
    intents: Mapping[str, Intent]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to do, in this order: finalizer on, status, ``tell``, ``reserve`` (in order, stop at the first that is
    refused), finalizer off.

    ``look_again``: seconds until time alone may change the decision. ``follow``: decide again when the cluster changes.
    """

    status: DeviceMigrationStatus
    finalizer: bool = True
    tell: tuple[Tell, ...] = ()
    reserve: tuple[Reserve, ...] = ()
    look_again: float | None = None
    follow: bool = False


def wait(s: Situation, reason: str, message: str) -> Decision:
    """Not Ready yet, and nothing to do but to look again."""
    status = s.with_condition(s.migration.status, "Ready", False, reason, message)
    return Decision(status=status, look_again=LOOK_AGAIN)
