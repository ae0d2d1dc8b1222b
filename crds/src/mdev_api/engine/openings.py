"""What the plan chooses from and what it answers.

An *opening* is one way to get a device: a new instance of an offer, an idle instance that is there already, or one of
the free devices of an extended resource, whichever the kubelet picks.
Openings of one profile share one :class:`Metadata` object, so the verdict is computed once per profile and not once
per node (design section 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mdev_api.engine.capacity import Pool
from mdev_api.engine.metadata import Answer, Metadata, Reason, Write

Criteria = tuple[int, int, int, int, tuple[int, int], int, int]
"""What a candidate is ranked by, most weighty first, less is better (:mod:`mdev_api.engine.plan`): changes to the
source, suspect, writes, new, flexibility, another type, less room. Of several devices it holds the sums.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """One place for a device. ``instance`` and ``slot`` None: create one; then ``values`` is None (init values hold).

    ``free``: instances that can still be created here, reservations in flight already taken off; for an idle
    instance 1, or 0 when it is reserved. ``suspect``: a value of this profile was refused lately, so it ranks last.
    ``slot``: an extended resource, of whose free devices somebody else picks one; they are of one profile, ``free``
    counts them, ``values`` has what all of them agree in, and ``parent`` is None where they are of several.
    ``pool``: what openings of one parent share by their types (the same object in each); None: this one's instances
    are of its own profile, and it shares them with none. ``alone``: of the openings of a node with this name, one
    device at a time takes one; None: any number.
    """

    node: str
    parent: str | None
    type: str
    profile: str
    metadata: Metadata
    free: int
    instance: str | None = None
    slot: str | None = None
    values: Mapping[str, str] | None = None
    suspect: bool = False
    pool: Pool | None = None
    alone: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An opening that can take the source, with what must be written and one sentence why it stands where it does.

    ``adjust``: what must be written to the running source first; the answer is for the source as it is then.
    """

    opening: Opening
    answer: Answer
    why: str
    criteria: Criteria
    adjust: tuple[Write, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """An opening that cannot, and every finding that says why; ``no_capacity`` where it only lacks room."""

    opening: Opening
    reasons: tuple[Reason, ...]
    no_capacity: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Candidates best first, and the rest with reasons. Independent of the order of the openings given."""

    candidates: tuple[Candidate, ...]
    rejections: tuple[Rejection, ...]
